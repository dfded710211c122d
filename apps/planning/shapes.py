"""The shape of a dense, llama-like model, read from its config.json, and its parameter count.

Sources: the architectures as the transformers library builds them; the counts are checked against
published totals in tests/planning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# model_type -> (query/key/value biases, per-head query/key norms), as these families build them.
DENSE_FAMILIES: dict[str, tuple[bool, bool]] = {
    "llama": (False, False),
    "mistral": (False, False),
    "ministral3": (False, False),
    "qwen2": (True, False),
    "qwen3": (False, True),
    "phi3": (False, False),
    "granite": (False, False),
    "smollm3": (False, False),
}


class CannotEstimate(ValueError):
    """This model or precision is outside what the formulas know; the message says what and why."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory depends on. `dense` is False where the weights cannot be counted from the config alone."""

    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    max_context: int
    tied_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    dense: bool = True
    notes: tuple[str, ...] = ()

    @property
    def embedding_parameters(self) -> int:
        """Input embedding and output head; one matrix where they are tied. No quantiser touches them."""
        return self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer: attention, gated MLP, two norms, and the biases it has."""
        query, kv = self.attention_heads * self.head_dim, self.kv_heads * self.head_dim
        hidden = self.hidden_size
        total = hidden * (query + 2 * kv) + query * hidden + 3 * hidden * self.ffn_size + 2 * hidden
        total += (query + 2 * kv) * self.qkv_bias + hidden * self.output_bias
        return total + (2 * self.ffn_size + hidden) * self.mlp_bias + 2 * self.head_dim * self.qk_norm

    @property
    def parameters(self) -> int:
        """All parameters; tied embeddings count once."""
        if not self.dense:
            raise CannotEstimate(
                "The parameters of this architecture cannot be counted from its config; its files are needed."
            )
        return self.embedding_parameters + self.layers * self.layer_parameters + self.hidden_size


def shape_from_config(config: Mapping[str, Any]) -> ModelShape:
    """Read a Hugging Face config.json. Raises CannotEstimate where even the KV cache is not known."""
    text = config.get("text_config") or config
    family = str(text.get("model_type") or config.get("model_type") or "")
    if text.get("kv_lora_rank"):
        raise CannotEstimate(f"{family} uses latent attention (MLA), which is not estimated yet.")
    if any(str(kind).startswith(("linear", "mamba", "conv")) for kind in text.get("layer_types") or ()):
        raise CannotEstimate(f"{family} mixes attention with linear layers, which is not estimated yet.")
    heads, hidden = _count(text, "num_attention_heads"), _count(text, "hidden_size")
    qkv_bias, qk_norm = DENSE_FAMILIES.get(family, (False, False))
    notes = []
    if _windowed(text):
        notes.append("Sliding-window layers are counted at full length, so the KV cache is an upper bound.")
    experts = text.get("num_local_experts") or text.get("num_experts") or 0
    dense = family in DENSE_FAMILIES and not experts and text is config
    if not dense:
        notes.append("This architecture is not counted from its config: weights are known from its files only.")
    ffn_size = text.get("intermediate_size") or 4 * hidden
    return ModelShape(
        layers=_count(text, "num_hidden_layers"),
        hidden_size=hidden,
        attention_heads=heads,
        kv_heads=int(text.get("num_key_value_heads") or heads),
        head_dim=int(text.get("head_dim") or hidden // heads),
        ffn_size=int(ffn_size),
        vocab_size=_count(text, "vocab_size"),
        max_context=int(text.get("max_position_embeddings") or 0),
        # The library's default is True, but every family listed above writes or overrides it to False.
        tied_embeddings=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        qkv_bias=qkv_bias or bool(text.get("attention_bias")),
        output_bias=bool(text.get("attention_bias")) and family != "qwen2",
        mlp_bias=bool(text.get("mlp_bias")),
        qk_norm=qk_norm,
        dense=dense,
        notes=tuple(notes),
    )


def _windowed(text: Mapping[str, Any]) -> bool:
    """True when some layers look back only over a window (Qwen's configs carry a window they do not use)."""
    window = int(text.get("sliding_window") or 0)
    reaches_all = window >= int(text.get("max_position_embeddings") or 0)
    return window > 0 and not reaches_all and text.get("use_sliding_window") is not False


def _count(text: Mapping[str, Any], field: str) -> int:
    value = text.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CannotEstimate(f"config.json has {field} = {value!r}; it must be a whole number above 0.")
    return value
