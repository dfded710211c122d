"""Fine-tunes: peak memory and speed, against measured runs. Estimates of others are listed apart and not scored."""

from __future__ import annotations

from typing import Any

from apps.planning.train_lines import answer_line
from bench.planner_parts.rows import Row, error_rows, records

TITLE = "Fine-tuning: measured runs"
_ALPACA_TOKENS = 1304  # the longest row of the data set that litgpt's table used
# Model and method of a measured record -> what its source says of the run.
_LITGPT = {
    "engine": "litgpt",
    "gpu": "A100 40GB",
    "seq_len": _ALPACA_TOKENS,
    "lora_rank": 8,
    "gradient_checkpointing": False,
}
_MODELS = {"Llama-2-7B": "meta-llama/Llama-2-7b-hf", "Llama-2-13B": "meta-llama/Llama-2-13b-hf"}
_NO_CHECKPOINTS = {("Llama-3.1-8B", "lora", "A6000")}  # its speed and memory show that none were taken
# (layers, width) of llm-foundry's MPT models; its 70B is Llama-shaped.
_MPT = {"125M": (12, 768), "350M": (24, 1024), "1B": (24, 2048), "3B": (32, 2560), "7B": (32, 4096), "13B": (40, 5120),
        "30B": (48, 7168)}  # fmt: skip
_SUSPECT = {"A6000": "its speed would be 97 % of the card's peak"}


def rows() -> list[Row]:
    measured = [each for each in records("fine_tunes.json") if each.get("measured")]
    runs = [(each, answer_line(line)) for each in measured if (line := _line(each))]
    with_peak = [(each, answer) for each, answer in runs if _peak(each)]
    inside = [within(answer, _peak(each)) for each, answer in with_peak]
    widest = widest_range([answer for _, answer in with_peak])
    outside = [
        f"{each['model']} {each['method']}" for (each, _), held in zip(with_peak, inside, strict=True) if not held
    ]
    share = 100 * sum(inside) / len(inside)
    print(f"  not scored: {_apart()}")
    left_out = "; ".join(f"{gpu} ({why})" for gpu, why in _SUSPECT.items())
    print(f"  speed left out: {left_out}; where a run has several GPUs, each one's share counts")
    return [
        Row(
            "P11",
            "measured peaks within the stated range",
            share,
            "%",
            ">= 100",
            share >= 100,
            f"n {len(inside)} {outside}",
        ),
        Row("P12", "widest stated range, to one side", widest, "%", "<= 25", widest <= 25, ""),
        *error_rows("P13", "training tokens a second", _speeds(runs), 25, None),
    ]


def _line(record: dict[str, Any]) -> dict[str, Any] | None:
    """The question that a record answers; None for a record of another kind."""
    method = str(record.get("method", ""))
    if record["kind"] == "memory" and "litgpt" in record["source"]:
        batch = 2 if "mb2" in method else 1
        name = _MODELS.get(record["model"])
        return {"model_id": name, "method": method, "micro_batch": batch} | _LITGPT if name else None
    if record["kind"] == "memory" and "DPO" in method:
        return {
            "model_id": "Qwen/Qwen2.5-7B-Instruct",
            "method": method,
            "engine": "trl",
            "gpu": "H100 80GB",
            "lora_rank": 16,
        }
    if record["kind"] == "memory_throughput":
        checkpoints = (record["model"], method, record["gpu"]) not in _NO_CHECKPOINTS
        return {
            "model_id": f"meta-llama/{record['model']}", "method": method, "engine": "torchtune", "gpu": record["gpu"],
            "gpus": record["gpu_count"], "seq_len": record["seq_len"], "micro_batch": record["batch"], "lora_rank": 8,
            "gradient_checkpointing": checkpoints,
        }  # fmt: skip
    if record["kind"] == "pretrain_throughput":
        return {
            "config": _mpt(record), "method": "full", "engine": "llm-foundry", "gpu": record["gpu"],
            "gpus": record["gpu_count"], "seq_len": record["seq_len"], "micro_batch": record.get("micro_batch"),
            "gradient_checkpointing": record.get("hfu_pct", 0) > record.get("mfu_pct", 0),
        }  # fmt: skip
    return None


def _mpt(record: dict[str, Any]) -> dict[str, Any]:
    if record["model"] == "70B":
        return {"model_type": "llama", "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64,
                "num_key_value_heads": 64, "intermediate_size": 28672, "vocab_size": 50368}  # fmt: skip
    layers, width = _MPT[record["model"]]
    return {"model_type": "mpt", "n_layers": layers, "d_model": width, "n_heads": width // 64, "vocab_size": 50368,
            "max_seq_len": record["seq_len"]}  # fmt: skip


def _peak(record: dict[str, Any]) -> float:
    """GiB on each GPU; 0 where the record has none, or ran out of memory."""
    if "peak_gib_per_gpu" in record:
        return float(record["peak_gib_per_gpu"])
    decimal = record.get("peak_gb") or record.get("gb")
    return float(decimal) * 1e9 / 2**30 if isinstance(decimal, int | float) else 0.0


def widest_range(answers: list[dict[str, Any]]) -> float:
    """The largest distance of an end from the middle, in per cent of the middle."""
    ranges = [each["peak_gib_per_gpu"] for each in answers]
    return 100 * max(max(a["mid"] - a["low"], a["high"] - a["mid"]) / a["mid"] for a in ranges)


def within(answer: dict[str, Any], peak: float) -> bool:
    return bool(answer["peak_gib_per_gpu"]["low"] <= peak <= answer["peak_gib_per_gpu"]["high"])


def _speeds(runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
    errors = {}
    for record, answer in runs:
        each = record.get("tokens_per_s_per_gpu") or record.get("tokens_per_s", 0) / record.get("gpu_count", 1)
        if each and answer["tokens_per_s_per_gpu"] and record["gpu"] not in _SUSPECT:
            name = f"{record['model']} {record.get('method', 'pretraining')} {record['gpu']} {record['seq_len']}"
            errors[f"{name} x{record['gpu_count']}"] = answer["tokens_per_s_per_gpu"]["mid"] / each - 1
    return errors


def _apart() -> str:
    others = [each for each in records("fine_tunes.json") if each["kind"] == "memory" and not each.get("measured")]
    return f"{len(others)} estimates and vendors' claims, such as {others[0]['model']} {others[0]['method']}"
