"""One question and one answer of `stackweb fit`, as plain dicts: GiB on each GPU, tokens, requests.

Keys of both are listed in docs/planner.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from apps.planning.changes import smallest_change
from apps.planning.config_precision import precision_of
from apps.planning.doubts import doubted
from apps.planning.gguf import gguf_file_bytes
from apps.planning.gpu_memory import NamedGpu, read_gpu
from apps.planning.line_fields import flag, model_of, number, text, whole
from apps.planning.llama_cpp import llama_cpp_fit
from apps.planning.loading import download_duration, load_duration
from apps.planning.memory import GIB, serving_fit
from apps.planning.other_engines import for_engine
from apps.planning.precisions import PRECISIONS, read_precision
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape
from apps.planning.speeds import serving_speed

_STORED = ("fp32", "bf16", "fp16")


def answer_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question. Raises CannotEstimate naming the key that is wrong."""
    plan, memory, file_bytes = read_line(line)
    fit = llama_cpp_fit(plan, memory, file_bytes) if file_bytes is not None else serving_fit(plan, memory)
    if file_bytes is None:
        fit = for_engine(fit, text(line, "engine"))
    fit = doubted(fit, plan, _gpu(line), text(line, "engine"), is_gguf=file_bytes is not None)
    stored = file_bytes or fit.weights_bytes * plan.tensor_parallel * plan.pipeline_parallel
    loader = "vllm" if file_bytes is None else "llama-cpp"
    answer = {"id": line.get("id")} | _answer(fit, file_bytes) | _speed(line, plan, fit) | _times(stored, loader)
    change = smallest_change(plan, memory) if file_bytes is None and not fit.fits else None
    return answer | {"smallest_change": change.words if change else None}


def read_line(line: Mapping[str, Any]) -> tuple[ServingPlan, Memory, int | None]:
    """The plan and the GPU that a line describes, and the bytes of the GGUF file where it means one."""
    shape, reference, config = model_of(line)
    asked = text(line, "precision") or (reference.precision if reference else "") or _own_precision(config)
    precision = read_precision(asked, is_sized=line.get("weights_bytes") is not None)
    if precision.name == "nf4-plain" and re.search("bnb-4bit|unsloth", text(line, "model_id").lower()):
        precision = PRECISIONS["nf4"]  # such releases are stored with double quantisation
    engine = text(line, "engine").lower() or "vllm"
    gpu = _gpu(line)
    tensor, pipeline = _parallel(line, gpu)
    file_bytes = _gguf_bytes(line, shape, precision.name) if precision.gguf else None
    plan = ServingPlan(
        shape=shape,
        precision="bf16" if precision.gguf else precision.name,
        file_bytes=whole(line, "weights_bytes", most=10**14),
        kv_cache_dtype=text(line, "kv_cache_dtype") or "auto",
        max_model_len=whole(line, "max_model_len"),
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpu_memory_utilisation=number(line, "gpu_memory_utilization", least=0.01, most=1.0),
        max_num_seqs=whole(line, "max_num_seqs", most=10**6),
        max_num_batched_tokens=whole(line, "max_num_batched_tokens", most=10**7),
        enforce_eager=bool(flag(line, "enforce_eager")),
        quantization=_quantization(config),
        engine_version=text(line, "engine_version"),
    )
    if engine.replace(".", "_").replace("-", "_") in ("llama_cpp", "llamacpp", "ollama") and file_bytes is None:
        file_bytes = whole(line, "weights_bytes", most=10**14) or gguf_file_bytes(shape, "BF16").middle
    is_guessed = gpu.kind is None and line.get("gpu_memory_gib") is None
    return plan, Memory("gpu", gpu.usable_bytes, text(line, "gpu"), is_guessed), file_bytes


def _gpu(line: Mapping[str, Any]) -> NamedGpu:
    memory_gib = number(line, "gpu_memory_gib", least=0.1, most=10_000)
    return read_gpu(text(line, "gpu") or _missing_gpu(line), memory_gib)


def _missing_gpu(line: Mapping[str, Any]) -> str:
    if line.get("gpu_memory_gib") is None:
        raise CannotEstimate("Give gpu, such as 'H100 80GB', or gpu_memory_gib.")
    return f"{line['gpu_memory_gib']}GB class"


def _parallel(line: Mapping[str, Any], gpu: NamedGpu) -> tuple[int, int]:
    """Tensor and pipeline parallel; all GPUs are used by tensor parallel where only their number is given."""
    tensor, pipeline = whole(line, "tensor_parallel", most=1024), whole(line, "pipeline_parallel", most=1024)
    asked = whole(line, "gpus", most=4096)
    gpus = gpu.gpus(asked) if asked or gpu.count > 1 else None
    if tensor is None:
        tensor = max(1, (gpus or 1) // (pipeline or 1))
    if pipeline is None:
        pipeline = 1
    if gpus is not None and tensor * pipeline > gpus:
        raise CannotEstimate(f"tensor_parallel {tensor} x pipeline_parallel {pipeline} is more than gpus = {gpus}.")
    return tensor, pipeline


def _gguf_bytes(line: Mapping[str, Any], shape: ModelShape, quantisation: str) -> int:
    return whole(line, "weights_bytes", most=10**14) or gguf_file_bytes(shape, quantisation).middle


def _own_precision(config: Mapping[str, Any]) -> str:
    """What a config.json says of its weights: the quantiser's method, else torch_dtype."""
    own = _quantization(config)
    if own:
        return precision_of(own)
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "").removeprefix("torch.")
    return "bf16" if dtype not in _STORED else dtype


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    own = config.get("quantization_config")
    return own if isinstance(own, Mapping) else None


def _answer(fit: FitEstimate, file_bytes: int | None) -> dict[str, Any]:
    return {
        "fits": fit.fits,
        "verdict": fit.verdict,
        "reason": fit.shortage,
        "weights_gib_per_gpu": _gib(fit.weights_bytes),
        "activation_peak_gib": _gib(fit.activation_bytes),
        "non_torch_gib": _gib(fit.buffer_bytes),
        "overhead_gib": _gib(fit.overhead_bytes),
        "overhead_gib_low": _gib(fit.overhead_bytes_low),
        "overhead_gib_high": _gib(fit.overhead_bytes_high),
        "kv_available_gib_per_gpu": _gib(fit.kv_room_bytes),
        "kv_available_gib_per_gpu_low": _gib(fit.kv_cache_bytes_low),
        "kv_available_gib_per_gpu_high": _gib(fit.kv_cache_bytes_high),
        "kv_bytes_per_token_per_gpu": fit.kv_bytes_per_token,
        "kv_tokens": fit.kv_tokens,
        "max_concurrency": round(fit.max_concurrency, 3),
        "max_model_len_possible": fit.max_context,
        "weights_file_gib": None if file_bytes is None else _gib(file_bytes),
        "confidence": fit.confidence,
        "formula_version": fit.formula_version,
        "explanation": fit.reason,
        "notes": list(fit.notes),
    }


def _speed(line: Mapping[str, Any], plan: ServingPlan, fit: FitEstimate) -> dict[str, Any]:
    """Of one request with 1,024 tokens of prompt; all null where it does not fit or the GPU's speed is not known."""
    kind = read_gpu(text(line, "gpu")).kind if fit.fits and line.get("gpu") else None
    speed = serving_speed(plan, kind) if kind else None
    names = ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s")
    ranges = (speed.decode, speed.prefill, speed.first_token_seconds) if speed else (None, None, None)
    answer: dict[str, Any] = {}
    for name, figures in zip(names, ranges, strict=True):
        low, middle, high = figures or (None, None, None)
        answer |= {name: _three(middle), f"{name}_low": _three(low), f"{name}_high": _three(high)}
    return answer


def _times(stored: int, engine: str) -> dict[str, Any]:
    """Seconds until the weights are on a disk, and from there until the engine answers."""
    answer: dict[str, Any] = {}
    for name, took in (("download_s", download_duration(stored)), ("load_s", load_duration(stored, engine))):
        low, middle, high = (_three(each) for each in (took.seconds_low, took.seconds, took.seconds_high))
        answer |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    return answer


def _three(figure: float | None) -> float | None:
    """To three digits: such estimates know no more."""
    return None if figure is None else float(f"{figure:.3g}")


def _gib(size: float) -> float:
    return round(size / GIB, 4)
