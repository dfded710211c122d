"""What makes an estimate doubtful though its arithmetic is right: files of an odd size, a GPU that cannot do it."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.capability import capability
from apps.planning.gpu_memory import NamedGpu
from apps.planning.precisions import UNSTATED
from apps.planning.serving_plan import FitEstimate, ServingPlan
from apps.planning.shapes import CannotEstimate, Confidence
from apps.planning.weights import weights_bytes

_PLAUSIBLE, _ABSURD = 2.0, 10.0  # times more or less than the shape says
_FEWEST_BITS, _GIB = 1.5, 2**30


def doubted(fit: FitEstimate, plan: ServingPlan, gpu: NamedGpu, engine: str, *, is_gguf: bool = False) -> FitEstimate:
    """The estimate with what is doubtful about it in its notes, and the confidence that leaves.

    Raises CannotEstimate for weights_bytes that no files of this model can have.
    """
    found = _odd_files(plan, is_gguf)
    notes, confidence = list(found), fit.confidence
    if found:
        confidence = "low"
    if gpu.note:
        notes.append(gpu.note)
        confidence = "low" if gpu.is_doubtful else _at_most_medium(confidence)
    able = capability(gpu.kind, plan.precision, "llama.cpp" if is_gguf else engine, plan.cache_dtype)
    if able.why:
        notes.append(able.why)
    if able.runs == "does not run":
        return replace(fit, confidence="low", reason=f"{able.why} {fit.reason}", notes=(*fit.notes, *notes))
    return replace(fit, confidence=confidence, notes=(*fit.notes, *notes)) if notes else fit


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
        notes.append("The quantiser does not state its bits: weights rest on weights_bytes alone, speed on a guess.")
    return tuple(notes)
