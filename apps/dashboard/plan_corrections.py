"""The planner's figures over REST as earlier runs here correct them: each with the estimate that it corrects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.calibration.ledger import precedent_for
from apps.evals.plans import FORMULA_VERSION as EVALUATION
from apps.planning.loading import FORMULA_VERSION as LOADING
from apps.planning.speeds import FORMULA_VERSION as ROOFLINE

# Figure of an answer -> quantity of the ledger that is the same thing in another unit, and its formula where that is
# not the answer's own. `max_concurrency` is none: the ledger's is for the context that users hold.
FIT = {
    "weights_gib_per_gpu": ("weights_bytes", ""),
    "kv_tokens": ("kv_cache_tokens", ""),
    "decode_tokens_per_s": ("decode_tokens_per_second", ROOFLINE),
    "load_s": ("start_seconds", LOADING),
}
TRAINING = {"peak_gib_per_gpu": ("peak_memory_bytes", ""), "hours": ("train_seconds", "")}
EVAL = {"seconds": ("eval_seconds", EVALUATION)}


def corrections(
    answer: Mapping[str, Any], figures: Mapping[str, tuple[str, str]], *, device: str, engine: str, family: str
) -> list[dict[str, Any]]:
    """One for each of the `figures` that three runs or more of that device, engine and formula have judged.

    `device` as its driver names it, empty where it is not known; `family` of the model, as its config names the
    architecture.
    """
    found = []
    for name, (quantity, own_formula) in figures.items():
        value = answer[name]["mid"] if isinstance(answer[name], Mapping) else answer[name]
        known = (
            value
            and device
            and precedent_for(
                quantity=quantity,
                device=device,
                engine=engine,
                formula_version=own_formula or answer["formula_version"],
                family=family,
            )
        )
        if known and known.accuracy.factor is not None:
            factor = known.accuracy.factor
            found.append(
                {
                    "figure": name,
                    "estimated": value,
                    "corrected": float(f"{value * factor:.4g}"),
                    "factor": factor,
                    "runs": known.accuracy.n,
                    "family": known.family,
                }
            )
    return found
