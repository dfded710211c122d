"""Serving speed: the roofline against published load tests. No bar: a range is held against what was measured."""

from __future__ import annotations

from statistics import median
from typing import Any

from apps.planning.fit_question import read_question
from apps.planning.gpu_memory import read_gpu
from apps.planning.shapes import CannotEstimate
from apps.planning.speeds import ServingSpeed, serving_speed
from bench.planner_parts.rows import Row, records

TITLE = "Serving speed: published load tests (for information)"
_AT_ONCE = 256  # more than this wait for their turn


def rows() -> list[Row]:
    pairs = [(record, speed) for record in records("load_tests.json") if (speed := _speed(record))]
    held = 100 * sum(low.output[0] <= each["output_tok_s"] <= low.output[2] for each, low in pairs) / len(pairs)
    off = 100 * median(abs(speed.output[1] / each["output_tok_s"] - 1) for each, speed in pairs)
    detail = f"n {len(pairs)} of {len(records('load_tests.json'))}; the others name a model or GPU that is not known"
    return [
        Row("P14", "measured output speed within the stated range", held, "%", "no bar", True, detail),
        Row("P15", "output tokens a second, median error", off, "%", "no bar", True),
    ]


def _speed(record: dict[str, Any]) -> ServingSpeed | None:
    try:
        gpu = read_gpu(record["gpu"])
        parallel = record.get("tensor_parallel") or gpu.count
        line = {"model_id": record["model"], "gpu": record["gpu"], "tensor_parallel": parallel}
        plan = read_question(line | {"gpus": max(parallel, gpu.count)}).plan
    except (CannotEstimate, KeyError):
        return None
    at_once = min(record["requests"], _AT_ONCE)
    tokens = {"prompt_tokens": record["input_tokens"], "output_tokens": record["output_tokens"]}
    return serving_speed(plan, gpu.kind, requests=at_once, **tokens) if gpu.kind else None
