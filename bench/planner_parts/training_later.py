"""Fine-tunes that were found after the formulas: GiB and tokens a second on each GPU, each with the question asked.

They then led to corrections (what a step and DeepSpeed's buckets take, float32 embeddings of 4-bit bases, the second
forward pass of checkpointing, what a GPTQ base hands on), so they are no pure test. No key of a question names
fms-acceleration: its preparation of a 4-bit base on one GPU is asked as trl's, which casts nothing up, and under FSDP
as peft's, whose runs beside it measured the same within 1 %.
"""

from __future__ import annotations

from typing import Any

from apps.planning.train_lines import answer_line
from bench.planner_parts.rows import Row, error_rows, records
from bench.planner_parts.training import widest_range, within

TITLE = "Fine-tuning: measured runs found later"


def rows() -> list[Row]:
    found = [(each, answer_line(each["ask"])) for each in records("fine_tunes_later.json")]
    _print_apart([(each, answer) for each, answer in found if "left_out" in each])
    scored = [(each, answer) for each, answer in found if "left_out" not in each]
    peaks = [(each, answer) for each, answer in scored if "peak_gib" in each]
    outside = _outside(peaks)
    share = 100 * (1 - len(outside) / len(peaks))
    widest = widest_range([answer for _, answer in peaks])
    sources = len({each["source"].split()[0] for each, _ in scored})
    detail = f"n {len(peaks)} of {sources} sources, outside: {', '.join(outside)}"
    speeds = {
        each["name"]: answer["tokens_per_s_per_gpu"]["mid"] / each["tokens_per_s_per_gpu"] - 1
        for each, answer in scored
        if "tokens_per_s_per_gpu" in each
    }
    return [
        Row("T11", "measured peaks within the stated range", share, "%", ">= 100", share >= 100, detail),
        Row("T12", "widest stated range, to one side", widest, "%", "<= 25", widest <= 25, ""),
        *error_rows("T13", "training tokens a second", speeds, 25, None),
    ]


def _outside(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    return [each["name"] for each, answer in runs if not within(answer, each["peak_gib"])]


def _print_apart(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for why in sorted({each["left_out"] for each, _ in runs}):
        group = [(each, answer) for each, answer in runs if each["left_out"] == why]
        print(f"  not scored: {len(group)}, {len(group) - len(_outside(group))} within the range ({why})")
