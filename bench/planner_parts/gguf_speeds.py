"""llama.cpp's speed with one request, against published runs. No bar: a range is held against what was measured."""

from __future__ import annotations

from statistics import median

from apps.planning.fit_lines import answer_line
from bench.planner_parts.rows import Row, records

TITLE = "GGUF: published decode speeds (for information)"


def rows() -> list[Row]:
    runs = records("gguf_speeds.json")
    errors, held = [], []
    for run in runs:
        size = {"weights_bytes": round(run["file_gb"] * 1e9)} if "file_gb" in run else {}
        line = {"model_id": run["model"], "precision": run["quant"], "gpu": run["gpu"], "max_model_len": 4096} | size
        answer, measured = answer_line(line), run["decode_tok_s"]
        errors.append(answer["decode_tokens_per_s"] / measured - 1)
        held.append(answer["decode_tokens_per_s_low"] <= measured <= answer["decode_tokens_per_s_high"])
    share, off = 100 * sum(held) / len(held), 100 * median(map(abs, errors))
    detail = f"n {len(runs)}, errors from {min(errors):.0%} to {max(errors):.0%}"
    return [
        Row("P16", "measured decode speed within the stated range", share, "%", "no bar", True, detail),
        Row("P17", "decode tokens a second, median error", off, "%", "no bar", True),
    ]
