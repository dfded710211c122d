"""What a GPU's generation can do with a precision: whether the engine runs it there, and whether as weights only.

Sources, read for vLLM 0.32: docs.vllm.ai features/quantization (supported hardware), its llm_compressor/fp8 page (FP8
computes from 8.9, weights only from 7.5) and quantized_kvcache; the minimum capabilities of the quantisation classes in
vllm/model_executor/layers/quantization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apps.planning.gpu_types import GpuType

Runs = Literal["runs", "weights only", "does not run", "unknown"]
_NEVER = 999

# Beginnings of the keys of GPU_TYPES -> CUDA compute capability x 10, the narrow ones first.
_GENERATIONS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("p100",), 60),
    (("p40",), 61),
    (("v100",), 70),
    (("t4", "2080ti", "titan-rtx", "quadro-rtx"), 75),
    (("a100", "a800", "a30"), 80),
    (("rtx-6000-ada", "rtx-5000-ada", "rtx-4000-ada", "rtx-40", "l4", "l40", "l20"), 89),
    (("rtx-pro", "rtx-50"), 120),
    (("gb10",), 121),
    (("h100", "h200", "h800", "h20", "gh200"), 90),
    (("b200", "gb200"), 100),
    (("b300", "gb300"), 103),
    (("rtx-30", "rtx-a6000", "a40", "a10", "a16", "a2", "a55", "a45", "a50"), 86),
)
_AMD = ("mi", "w7900", "rx-")


@dataclass(frozen=True, slots=True)
class _Needs:
    """The least capability that computes with it, and the least that widens its weights to 16 bits first."""

    computes: int
    widens: int = _NEVER
    instead: str = "fp16"


_NEEDS: tuple[tuple[tuple[str, ...], _Needs], ...] = (
    (("fp32", "fp16"), _Needs(70, instead="an engine that supports it")),
    (("bf16",), _Needs(80, instead="fp16, which takes the same memory and which vLLM's dtype auto falls back to")),
    (("fp8",), _Needs(89, 75, "int4-gptq or fp16")),
    (("nvfp4",), _Needs(100, 75, "int4-gptq")),
    (("mxfp4",), _Needs(90, 80, "int4-gptq or a GGUF file with llama.cpp")),
    (("mxfp8",), _Needs(100, 80, "fp8 or fp16")),
    (("int4-awq",), _Needs(75, instead="int4-gptq")),
    (("nf4", "nf4-plain"), _Needs(70)),
    (("int8",), _Needs(75)),
)
_GPTQ, _SYMMETRIC = _Needs(70), _Needs(75, instead="int4-gptq")


@dataclass(frozen=True, slots=True)
class Capability:
    """`why` says in a sentence what to expect and what to use instead; empty where it simply runs."""

    runs: Runs
    why: str = ""


def capability(gpu: GpuType | None, precision: str, engine: str = "vllm", kv_cache_dtype: str = "auto") -> Capability:
    """Whether `engine` serves a model stored as `precision` (a name of PRECISIONS) on that GPU.

    "weights only": it runs, widened to 16 bits for each product, so memory is saved but no arithmetic. "unknown" for
    other engines, types and precisions than the sources name. Nothing is raised.
    """
    if engine.lower() in ("llama.cpp", "llama-cpp", "ollama"):
        return Capability("runs")
    generation, needs = _generation(gpu), _needs(precision)
    if gpu is None or generation is None or needs is None or engine.lower() not in ("", "vllm"):
        return Capability("unknown")
    title = f"{gpu.title} (compute capability {generation / 10:.1f})"
    cache = _cache_refusal(title, generation, kv_cache_dtype)
    if generation < min(needs.computes, needs.widens):
        least = min(needs.computes, needs.widens) / 10
        return Capability(
            "does not run", f"vLLM does not run {precision} on {title}: it needs {least:.1f}. Use {needs.instead}."
        )
    if cache:
        return Capability("does not run", cache)
    if generation < needs.computes:
        return Capability(
            "weights only", f"{precision} runs on {title} as weights only: memory is saved, arithmetic stays 16-bit."
        )
    return Capability("runs")


def refusal(gpu: GpuType | None, precision: str, engine: str = "vllm", kv_cache_dtype: str = "auto") -> str:
    """Why `engine` cannot serve that there, in a sentence; empty where it can, or where that is not known.

    16-bit weights are loaded as the kind that the GPU computes in: vLLM's dtype auto falls back to fp16.
    """
    found = capability(gpu, served_precision(gpu, precision), engine, kv_cache_dtype)
    return found.why if found.runs == "does not run" else ""


def served_precision(gpu: GpuType | None, precision: str) -> str:
    """bf16 as vLLM's dtype auto loads it: as fp16 where the GPU has no bf16; every other precision as it is."""
    falls_back = precision == "bf16" and capability(gpu, precision).runs == "does not run"
    return "fp16" if falls_back else precision


def _generation(gpu: GpuType | None) -> int | None:
    if gpu is None or gpu.key.startswith(_AMD):
        return None
    return next((value for keys, value in _GENERATIONS if gpu.key.startswith(keys)), None)


def _needs(precision: str) -> _Needs | None:
    named = next((needs for names, needs in _NEEDS if precision in names), None)
    if named:
        return named
    if "-gptq" in precision or precision in ("int2", "int3"):
        return _GPTQ
    return _SYMMETRIC if precision == "int4" or precision.startswith(("int4-g", "int8-g")) else None


def _cache_refusal(title: str, generation: int, kv_cache_dtype: str) -> str:
    """An 8-bit cache needs FP8 arithmetic (8.9); its e5m2 form is kept from 8.0 on."""
    asked = kv_cache_dtype.lower()
    if not asked.startswith("fp8") or generation >= (80 if "e5m2" in asked else 89):
        return ""
    return f"vLLM keeps no {asked} KV cache on {title}: it needs 8.9 (fp8_e5m2: 8.0). Use kv_cache_dtype auto."
