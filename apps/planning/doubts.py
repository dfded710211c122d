"""What makes an estimate doubtful though its arithmetic is right: files of an odd size, a GPU that cannot do it."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.capability import capability, refusal
from apps.planning.gpu_memory import NamedGpu
from apps.planning.other_engines import VLLM
from apps.planning.precisions import UNSTATED
from apps.planning.serving_plan import FitEstimate, ServingPlan
from apps.planning.shapes import CannotEstimate, Confidence
from apps.planning.weights import weights_bytes

_PLAUSIBLE, _ABSURD = 2.0, 10.0  # times more or less than the shape says
_SIXTEEN_BITS = ("bf16", "fp16", "fp32", UNSTATED)
_FEWEST_BITS, _GIB = 1.5, 2**30


def doubted(fit: FitEstimate, plan: ServingPlan, gpu: NamedGpu, engine: str, *, is_gguf: bool = False) -> FitEstimate:
    """The estimate with what is doubtful about it in its notes, and the confidence that leaves.

    A precision that the GPU cannot run does not fit, whatever the memory; `shortage` stays what memory lacks, if
    anything. Raises CannotEstimate for weights_bytes that no files of this model can have.
    """
    found = _odd_files(plan, is_gguf)
    notes, confidence = list(found), fit.confidence
    if found:
        confidence = "low"
    if gpu.note:
        notes.append(gpu.note)
        confidence = "low" if gpu.is_doubtful else _at_most_medium(confidence)
    engine = "llama.cpp" if is_gguf else engine
    refused = refusal(gpu.kind, plan.precision, engine)
    able = capability(gpu.kind, plan.precision, engine, plan.cache_dtype)
    if able.why:
        notes.append(able.why)
        confidence = "low" if able.runs == "does not run" else confidence
    elif able.runs == "unknown" and engine in ("", VLLM) and plan.precision not in _SIXTEEN_BITS:
        notes.append(f"Whether vLLM runs {plan.precision} on {gpu.title} is not known here.")
        confidence = _at_most_medium(confidence)
    fit = replace(fit, confidence=confidence, notes=(*fit.notes, *notes))
    if not refused:
        return replace(fit, reason=f"{able.why} {fit.reason}") if able.runs == "does not run" else fit
    return replace(fit, fits=False, verdict="too_big", reason=f"{refused} {fit.reason}")


def _at_most_medium(confidence: Confidence) -> Confidence:
    return "medium" if confidence == "high" else confidence


def _odd_files(plan: ServingPlan, is_gguf: bool) -> tuple[str, ...]:
    """GGUF and quantisers that do not state their bits are held against 1.5 to 16 bits a weight."""
    size = plan.file_bytes
    if size is None:
        return ()
    is_unstated = plan.precision == UNSTATED
    most = weights_bytes(shape=plan.shape, precision="bf16")
    least = round(most * _FEWEST_BITS / 16)
    if not (is_gguf or is_unstated):
        most = least = weights_bytes(shape=plan.shape, precision=plan.precision, quantization=plan.quantization)
    said = f"weights_bytes is {size:,} ({size / _GIB:.1f} GiB); the shape at this precision comes to {least / _GIB:.1f}"
    said += "" if most == least else f" to {most / _GIB:.1f}"
    if not least / _ABSURD <= size <= most * _ABSURD:
        raise CannotEstimate(f"{said} GiB. Give the bytes of all weight files of this model, or leave it out.")
    notes = [f"{said} GiB."] if not least / _PLAUSIBLE <= size <= most * _PLAUSIBLE else []
    if is_unstated:
        notes.append(
            "The bits of each matrix are not stated: weights rest on the size of the files alone, speed on a guess."
        )
    return tuple(notes)
