"""Reads values out of a config.json that may lack fields, lie, or come from anywhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from apps.planning.shapes import CannotEstimate

LARGEST = 10**9  # no dimension of a real model comes near it

# Each family spells these in its own way; the first name is the one that errors give.
ALIASES: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "hidden_dim", "model_dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers", "num_decoder_layers", "decoder_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "decoder_attention_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "n_kv_heads", "kv_n_heads", "num_kv_head"),
    "head_dim": ("kv_channels", "attention_head_dim", "head_size", "attention_head_size"),
    "intermediate_size": (
        "n_inner", "ffn_hidden_size", "ffn_dim", "d_ff", "feed_forward_size", "decoder_ffn_dim", "ff_intermediate_size",
    ),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
    "max_position_embeddings": (
        "n_positions", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length", "model_max_length",
        "max_target_positions",
    ),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts", "n_experts"),
    "num_experts_per_tok": (
        "moe_k", "moe_topk", "num_experts_per_token", "top_k_experts", "moe_top_k", "num_selected_experts",
        "experts_per_token",
    ),
    "moe_intermediate_size": ("expert_ffn_hidden_size", "expert_intermediate_size", "moe_ffn_hidden_size"),
    "n_shared_experts": ("num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "first_k_dense_replace": ("num_dense_layers", "moe_layer_start_index", "first_dense_layers"),
}  # fmt: skip


class Fields:
    """One level of a config.json, with the family's defaults behind it. Values of a wrong type are refused.

    `ignored`: keys that the family's classes do not read. `within`: what errors put before a name, such as
    "ffn_config.".
    """

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any], ignored: Collection[str] = (), within: str = ""
    ) -> None:
        self._values = {key: value for key, value in values.items() if key not in ignored}
        self._defaults, self._within, self.ignored = defaults, within, ignored
        self.defaulted: list[str] = []

    def raw(self, name: str) -> Any:
        """The value under any spelling; None where there is none."""
        for spelling in (name, *ALIASES.get(name, ())):
            value = self._values.get(spelling)
            if value is not None:
                return value
        if name in self._defaults and name not in self._values:
            self.defaulted.append(name)
            return self._defaults[name]
        return None

    def filled(self, name: str, value: int) -> int:
        """`value` for a field that the config leaves out, which the answer then says."""
        self.defaulted.append(name)
        return value

    def raw_int(self, name: str) -> int | None:
        """A whole number as the config itself writes it; None for anything else, and nothing counts as defaulted."""
        for spelling in (name, *ALIASES.get(name, ())):
            value = self._values.get(spelling)
            if isinstance(value, float) and value.is_integer():
                return int(value)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    def count(self, name: str) -> int:
        """A whole number above 0. Raises CannotEstimate naming the field."""
        value = self.raw(name)
        if value is None:
            raise CannotEstimate(f"config.json lacks {name}; without it nothing can be estimated.")
        return _whole(self._within + name, value, least=1)

    def count_or(self, name: str, default: int) -> int:
        """As `count`, or `default` where the field is missing; 0 is allowed."""
        value = self.raw(name)
        return default if value is None else _whole(self._within + name, value, least=0)

    def first_or(self, name: str, default: int) -> int:
        """As `count_or`, for fields that some configs write as a list with one value a layer: the largest."""
        value = self.raw(name)
        if isinstance(value, list | tuple) and value:
            return max(_whole(self._within + name, each, least=0) for each in value)
        return self.count_or(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.raw(name)
        return default if value is None else value is True or value == 1

    def text(self, name: str) -> str:
        value = self.raw(name)
        return value if isinstance(value, str) else ""

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.raw(name)
        return value if isinstance(value, Mapping) else {}

    def inner(self, name: str) -> Fields:
        """What stands one level down; without fields where nothing does."""
        return Fields(self.mapping(name), {}, within=f"{self._within}{name}.")

    def list_of(self, name: str) -> list[Any]:
        value = self.raw(name)
        return list(value) if isinstance(value, list | tuple) else []


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        shown = repr(value)[:60]
        limits = f"a whole number from {least} to {LARGEST:,}"
        raise CannotEstimate(f"config.json has {name} = {shown}; it must be {limits}.")
    return value
