"""vLLM's start-up logs that were found after the formulas: a nearer sight of what a log unseen would show.

Some of them then led to corrections (vision encoders, kept modules, padded latent caches), so they are no pure test.
"""

from __future__ import annotations

from bench.planner_parts.rows import Row
from bench.planner_parts.serving import rows_of

TITLE = "Serving: start-up logs found later"


def rows() -> list[Row]:
    return rows_of("vllm_starts_later.json", "L")
