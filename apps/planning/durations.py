"""How long a job takes, as a range: seconds, with what the figure rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Basis = Literal["measured", "formula"]
_SPREAD = {"measured": 1.3, "formula": 3.0}  # measured speeds vary with load; formula speeds with everything


@dataclass(frozen=True, slots=True)
class Duration:
    """Middle estimate with its range, in seconds."""

    seconds: float
    seconds_low: float
    seconds_high: float
    basis: Basis


def evaluation_duration(
    *,
    items: int,
    prompt_tokens: float,
    output_tokens: float,
    prompt_tokens_per_second: float,
    output_tokens_per_second: float,
    basis: Basis = "formula",
    startup_seconds: float = 30.0,
) -> Duration:
    """Time to put `items` questions to a model.

    `prompt_tokens` and `output_tokens` are per item (a multiple-choice item is one prompt per choice, and
    no output); the speeds are of all requests together.
    """
    for name, speed in (("prompt", prompt_tokens_per_second), ("output", output_tokens_per_second)):
        if speed <= 0:
            raise ValueError(f"{name}_tokens_per_second is {speed}; it must be above 0")
    work = items * (prompt_tokens / prompt_tokens_per_second + output_tokens / output_tokens_per_second)
    spread = _SPREAD[basis]
    return Duration(
        startup_seconds + work,
        startup_seconds / 2 + work / spread,
        startup_seconds * 2 + work * spread,
        basis,
    )


def work_duration(
    *, tokens: float, tokens_per_second: tuple[float, float, float], basis: Basis, startup_seconds: float
) -> Duration:
    """Time for `tokens` at a low, middle and high speed."""
    slow, middle, fast = (tokens / speed for speed in tokens_per_second)
    return Duration(startup_seconds + middle, startup_seconds / 2 + fast, startup_seconds * 2 + slow, basis)
