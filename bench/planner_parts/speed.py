"""How long the planner itself takes. Pure Python on one core; the machine's load is printed beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

from apps.planning.configs import shape_from_config
from apps.planning.fit_question import read_question
from apps.planning.gpu_memory import read_gpu
from apps.planning.memory import serving_fit
from apps.planning.reference import reference_model
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.train_lines import read_line as read_training_line
from apps.planning.training import training_fit
from bench.planner_parts.rows import Row

TITLE = "Time of the planner"
_ROUNDS = 200


def rows() -> list[Row]:
    print(f"  load {os.getloadavg()[0]:.1f}")
    asked = read_question({"model_id": "Qwen/Qwen3-235B-A22B-FP8", "gpu": "H100 80GB", "gpus": 8})
    train, on = read_training_line({"model_id": "Llama-3.1-8B", "gpu": "A100 80GB", "method": "lora"})
    table = _milliseconds(_fit_table, 20)
    calls = [
        ("P8", "a serving estimate", _milliseconds(lambda: serving_fit(asked.plan, asked.memory)), 2.0),
        ("P9", "a training estimate", _milliseconds(lambda: training_fit(train, on)), 2.0),
        ("P10", "a fit table of 40 rows", table, 30.0),
    ]
    return [Row(id, what, spent, "ms", f"< {bar:g}", spent < bar) for id, what, spent, bar in calls]


def _fit_table() -> None:
    """One model from its config, on five GPU types, at four precisions, on one and two GPUs."""
    shape = shape_from_config(reference_model("meta-llama/Llama-3.3-70B-Instruct").config)
    for name in ("H100 80GB", "A100 40GB", "L40S", "RTX 4090", "L4"):
        memory = Memory("gpu", read_gpu(name).usable_bytes, name)
        for precision in ("bf16", "fp8", "int4-awq", "nf4"):
            for count in (1, 2):
                serving_fit(ServingPlan(shape, precision=precision, tensor_parallel=count), memory)


def _milliseconds(call: Callable[[], object], rounds: int = _ROUNDS) -> float:
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1000)
    return median(spent)
