"""How fast a served model answers: tokens a second, time to the first token. A roofline with a stated range.

Decoding reads the weights that a batch touches and the cache of all its requests from memory once a step; reading a
prompt costs 2 FLOPs a parameter and token (Williams et al. 2009, the roofline model; Pope et al. 2022, arXiv
2211.05102). Of bandwidth and peak a server reaches a share; the range says how much that varies. llama.cpp reads its
file as it is stored, one GPU after the other. Checked against published tests in bench/planner_data/load_tests.json and
gguf_speeds.json.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apps.planning.gpu_types import GpuType
from apps.planning.kv_cache import kv_layout
from apps.planning.llama_cpp import cache_bytes, cache_value_bytes
from apps.planning.memory import kv_value_bytes, weights_on_each
from apps.planning.precisions import read_precision
from apps.planning.serving_plan import ServingPlan
from apps.planning.shapes import EXPERTS, ModelShape

FORMULA_VERSION = "roofline-2"
# Shares of bandwidth and of the peak that servers reach: low, middle, high.
_BANDWIDTH_SHARE = (0.35, 0.65, 0.9)
_FLOPS_SHARE = (0.18, 0.45, 0.75)
_EXPERTS_SHARE = 0.6  # of that, where tokens scatter over experts
_STEP_SECONDS = (0.006, 0.003, 0.001)  # scheduling, sampling and kernel launches between two steps
# llama.cpp reads more evenly, but each layer's dozen kernels take their time however little they read: the larger the
# bandwidth, the more that counts (a 27B file on RTX 4090 and H100: 47 and 74 tokens/s of 60 and 200 by bandwidth).
_LLAMA_CPP_BANDWIDTH_SHARE = (0.6, 0.8, 0.92)
_LLAMA_CPP_LAYER_SECONDS = (0.00018, 0.00009, 0.00003)
_TENSOR_PARALLEL_SHARE = 0.85  # of the speed-up that is left at each doubling


@dataclass(frozen=True, slots=True)
class ServingSpeed:
    """Low, middle and high. `decode` and `output` in tokens/s: of one request, and of all together."""

    decode: tuple[float, float, float]
    output: tuple[float, float, float]
    prefill: tuple[float, float, float]
    first_token_seconds: tuple[float, float, float]
    formula_version: str = FORMULA_VERSION


def serving_speed(
    plan: ServingPlan,
    kind: GpuType,
    *,
    requests: int = 1,
    prompt_tokens: int = 1024,
    output_tokens: int = 256,
    gguf_bytes: int | None = None,
) -> ServingSpeed | None:
    """With `requests` at a time, by vLLM, or by llama.cpp from a file of `gguf_bytes`.

    None for a GPU whose throughput is not known.
    """
    if kind.bf16_flops is None:
        return None
    gpus = plan.tensor_parallel if gguf_bytes is None else 1
    share = _TENSOR_PARALLEL_SHARE ** max(0, gpus.bit_length() - 1)
    flops = _peak(plan, kind) * gpus * share * (_EXPERTS_SHARE if plan.shape.is_moe else 1.0)
    read = _bytes_of_step(plan, requests, prompt_tokens + output_tokens // 2, gguf_bytes)
    shares, steps = _shares_and_steps(plan, gguf_bytes is not None)
    cases = []
    for bandwidth_share, flops_share, between in zip(shares, _FLOPS_SHARE, steps, strict=True):
        prefill = flops * flops_share / (2 * plan.shape.active_parameters)
        step = max(read / (kind.bandwidth * share * bandwidth_share), requests / prefill) + between
        request = prompt_tokens / prefill + output_tokens * step / requests
        cases.append((1 / step, output_tokens / request, prefill, prompt_tokens / prefill + step))
    decode, output, prefill_speed, first = zip(*cases, strict=True)
    return ServingSpeed(decode, output, prefill_speed, (first[2], first[1], first[0]))


def _shares_and_steps(plan: ServingPlan, is_gguf: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of the bandwidth that a step reaches, and the seconds it takes beside reading."""
    if is_gguf:
        return _LLAMA_CPP_BANDWIDTH_SHARE, tuple(plan.shape.layers * each for each in _LLAMA_CPP_LAYER_SECONDS)
    return _BANDWIDTH_SHARE, _STEP_SECONDS


def _peak(plan: ServingPlan, kind: GpuType) -> float:
    """FP8 weights compute at twice the rate where the GPU can; narrower ones are widened to 16 bits first."""
    plain = kind.bf16_flops or 0.0
    return kind.fp8_flops or plain if plan.precision in ("fp8", "int8", "nvfp4") else plain


def _bytes_of_step(plan: ServingPlan, requests: int, context: int, gguf_bytes: int | None) -> float:
    """What is read for one step of `requests` sequences, on each tensor-parallel GPU: weights and caches."""
    shape = plan.shape
    kept_tokens = min(context, shape.max_context or context)
    if gguf_bytes is not None:
        cache: float = cache_bytes(shape, kept_tokens, cache_value_bytes(plan.kv_cache_dtype))
        return gguf_bytes * _touched(shape, plan.precision, requests) + requests * cache
    whole = weights_on_each(replace(plan, pipeline_parallel=1))
    value_bytes = kv_value_bytes(plan.cache_dtype, plan.precision)
    layout = kv_layout(shape, value_bytes=value_bytes, tensor_parallel=plan.tensor_parallel)
    return whole * _touched(shape, plan.precision, requests) + requests * layout.request_bytes(kept_tokens)


def _touched(shape: ModelShape, precision: str, requests: int) -> float:
    """The share of the weights that a step reads: all of them, but only the experts somebody was sent to."""
    if not shape.is_moe:
        return 1.0
    bits = read_precision(precision).bits or 16
    experts = shape.parameters_of(EXPERTS) * bits
    rest = (shape.parameters - shape.parameters_of(EXPERTS)) * 16
    met = 1 - (1 - shape.experts_used / shape.experts) ** requests
    return (rest + experts * met) / (rest + experts)
