"""The shape of a model: its weight matrices, and what attention keeps of each token.

Everything that memory, speed and file sizes depend on follows from these two lists. `configs.py` fills them
from a config.json. Matrices carry llama.cpp's names (`attn_q`, `ffn_down_exps` ...), because GGUF's rules for
types go by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Confidence = Literal["low", "medium", "high"]
CacheKind = Literal["full", "sliding", "chunked", "latent", "state"]

EMBEDDING, OUTPUT, ROUTER = "token_embd", "output", "ffn_gate_inp"
EXPERTS = frozenset({"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"})
# Matrices that no quantiser of whole models touches, beside vectors.
UNQUANTISED = frozenset({
    EMBEDDING, OUTPUT, ROUTER, "position_embd", "per_layer_token_embd", "vision", "audio", "conv", "shared_gate",
})  # fmt: skip


class CannotEstimate(ValueError):
    """This model or precision is outside what the formulas know; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """`count` equal matrices of `rows` outputs and `columns` inputs (1: a vector); a token meets `used` of them."""

    name: str
    rows: int
    columns: int
    count: int
    used: int

    @property
    def parameters(self) -> int:
        return self.rows * self.columns * self.count

    @property
    def is_vector(self) -> bool:
        return self.columns == 1


def each_layer(sizes: Iterable[tuple[str, int, int]], layers: int) -> list[Matrix]:
    """One matrix of each (name, rows, columns) in every one of `layers` layers."""
    return [Matrix(name, rows, columns, layers, layers) for name, rows, columns in sizes]


@dataclass(frozen=True, slots=True)
class Cache:
    """What `layers` layers keep.

    `heads` x `width` values a token (keys and values together; for `latent` one vector that tensor parallel
    cannot split), up to `window` tokens for `sliding` and `chunked`; `state` keeps `state_bytes` a sequence and
    layer, whatever its length.
    """

    kind: CacheKind
    layers: int
    heads: int = 0
    width: int = 0
    window: int = 0
    state_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What memory depends on. `ffn_size` is the width of a dense layer, or of the experts a token meets together."""

    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    max_context: int
    family: str = ""
    tied_embeddings: bool = False
    matrices: tuple[Matrix, ...] = ()
    caches: tuple[Cache, ...] = ()
    experts: int = 0
    experts_used: int = 0
    expert_size: int = 0
    # Bytes that the vision part holds for the largest image; some engines profile one for each sequence.
    image_peak: int = 0
    image_for_each: bool = False
    confidence: Confidence = "high"
    notes: tuple[str, ...] = ()
    # Set once from `matrices`: a fit table asks for them hundreds of times.
    parameters: int = field(init=False, compare=False, default=0)
    active_parameters: int = field(init=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", sum(each.parameters for each in self.matrices))
        active = sum(each.rows * each.columns * each.used for each in self.matrices)
        object.__setattr__(self, "active_parameters", active)

    @property
    def is_moe(self) -> bool:
        return self.experts > 0

    @property
    def embedding_parameters(self) -> int:
        """Input embedding and output head; one matrix where they are tied."""
        return self.parameters_of((EMBEDDING, OUTPUT))

    def parameters_of(self, names: Iterable[str]) -> int:
        wanted = frozenset(names)
        return sum(each.parameters for each in self.matrices if each.name in wanted)

    def linear_matrices(self) -> list[Matrix]:
        """The matrices that quantisers and adapters work on: inside the layers, without vectors and router."""
        return [each for each in self.matrices if not each.is_vector and each.name not in UNQUANTISED]
