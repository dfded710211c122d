"""The question of serving a model and the answer to it: what would run, on what memory, and whether it fits.

Bytes on each GPU, or in RAM on the CPU device; a plain field is the middle estimate, `_low` and `_high` stand
beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from apps.planning.config_precision import fp8_block, has_fp8_cache
from apps.planning.overhead import parse_version
from apps.planning.shapes import CannotEstimate, Confidence, ModelShape

NEWEST = (99, 0)
Verdict = Literal["fits", "tight", "too_big"]
Shortage = Literal["weights", "kv_cache", "activation"]


@dataclass(frozen=True, slots=True)
class Memory:
    """The device: one GPU's memory as torch sees it (a little less than the driver's figure), or the RAM."""

    kind: Literal["gpu", "cpu"]
    total_bytes: int
    name: str = ""  # the GPU's product name: vLLM's defaults depend on it
    is_guessed: bool = False  # from a size in words such as "24GB class"


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What would be served and how; the fields mirror vLLM's options."""

    shape: ModelShape
    precision: str = "bf16"
    file_bytes: int | None = None  # of all weight files, at `stored_precision`
    stored_precision: str | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None  # the model's own when None
    tokens_per_user: int | None = None  # max_model_len when None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: bool = False  # experts are dealt out whole instead of cut
    gpu_memory_utilisation: float | None = None  # the engine version's own when None
    kv_space_bytes: int | None = None  # CPU only; what fits, up to two users, when None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    lora_slots: int = 0  # adapters loaded at once, each of `lora_rank`
    lora_rank: int = 16
    quantization: Mapping[str, Any] | None = None  # quantization_config of the model's config.json
    engine_version: str = ""

    @property
    def version(self) -> tuple[int, int]:
        return parse_version(self.engine_version) or NEWEST

    @property
    def cache_dtype(self) -> str:
        """What the KV cache is kept in; `auto` follows the checkpoint's own scheme where it has one."""
        scheme = self.quantization if isinstance(self.quantization, Mapping) else {}
        return "fp8" if self.kv_cache_dtype == "auto" and has_fp8_cache(scheme, self.version) else self.kv_cache_dtype

    @property
    def block(self) -> int:
        """Of weights that are stored in FP8 blocks, else 0."""
        return fp8_block(self.quantization if isinstance(self.quantization, Mapping) else {}, self.precision)

    @property
    def context(self) -> int:
        length = self.max_model_len or self.shape.max_context
        if length < 1:
            raise CannotEstimate("The model names no context length; give max_model_len.")
        return length

    @property
    def exceeds_model(self) -> bool:
        """True where more context is asked for than the model was made for."""
        return 0 < self.shape.max_context < self.context

    @property
    def longest_context(self) -> int:
        """The most that may be promised: the model's own; what was asked for where that is not known."""
        return self.shape.max_context or self.context

    @property
    def user_tokens(self) -> int:
        """Tokens that each user holds; never more than the context."""
        return min(self.tokens_per_user or self.context, self.context)


@dataclass(frozen=True, slots=True)
class FitEstimate:
    """The answer. `fits` is True for a tight fit too; `concurrent_users` each hold `tokens_per_user`.

    `max_context` is the longest context one request could have here, never more than the model's own.
    `spare_fraction` is the share of the budget left when one context is in use (below 0: short by that share).
    `shortage` names what did not fit. `max_concurrency` counts requests at full context, as vLLM prints it.
    """

    verdict: Verdict
    fits: bool
    reason: str
    shortage: Shortage | None
    weights_bytes: int
    kv_cache_bytes: int
    kv_cache_bytes_low: int
    kv_cache_bytes_high: int
    kv_room_bytes: int  # what weights and overhead leave of the budget; below 0 where they do not fit
    overhead_bytes: int
    overhead_bytes_low: int
    overhead_bytes_high: int
    activation_bytes: int
    buffer_bytes: int
    kv_bytes_per_token: int
    kv_tokens: int
    kv_tokens_low: int
    kv_tokens_high: int
    max_context: int
    max_concurrency: float
    tokens_per_user: int
    concurrent_users: float
    concurrent_users_low: float
    concurrent_users_high: float
    spare_fraction: float
    required_bytes: int  # weights, overhead and one context (on the CPU device: the RAM to reserve)
    confidence: Confidence
    formula_version: str
    notes: tuple[str, ...]

    @property
    def kv_room_bytes_low(self) -> int:
        return self.kv_room_bytes + self.overhead_bytes - self.overhead_bytes_high

    @property
    def kv_room_bytes_high(self) -> int:
        return self.kv_room_bytes + self.overhead_bytes - self.overhead_bytes_low

    @property
    def missing_bytes(self) -> int:
        """What weights, overhead and one context need beyond the budget; 0 where they fit."""
        return max(0, self.required_bytes - self.weights_bytes - self.overhead_bytes - self.kv_room_bytes)

    @property
    def parts(self) -> dict[str, float]:
        """What fills the device, in bytes, under the names of a memory strip."""
        return {"weights": self.weights_bytes, "kv": self.kv_cache_bytes, "overhead": self.overhead_bytes}
