"""vLLM: weights, KV cache and the decision, against start-up logs."""

from __future__ import annotations

import re
from typing import Any

from apps.planning.fit_lines import answer_line
from apps.planning.gpu_memory import read_gpu
from apps.planning.overhead import parse_version
from apps.planning.shapes import CannotEstimate
from bench.planner_parts.rows import Row, error_rows, records

Answered = list[tuple[dict[str, Any], dict[str, Any]]]
TITLE = "Serving: vLLM's start-up logs"
# Records that do not say what they seem to; each with the reason.
_LEFT_OUT = {
    "Qwen/Qwen2.5-Coder-7B-Instruct": "tensor parallel only inferred; its own figures disagree",
    "CosyVoice2-0.5B (Qwen2-0.5B backbone)": "a speech model without its language model's head",
    "Qwen/Qwen3.8-27B-NVFP4": "config not known, taken from a sibling",
    "Qwen3.8-27B-FP8": "config not known, taken from a sibling",
}
_WRONG_UTILISATION = ("openai/gpt-oss-120b", 0.9, "0.11.0")  # its figures close at 0.95 only
_ANY_GPU = "80GB class"  # of a record that names none: bytes of weights and of a token depend on no GPU


def rows() -> list[Row]:
    return rows_of("vllm_starts.json", "P")


def rows_of(name: str, prefix: str) -> list[Row]:
    """The six rows of a file of start-up logs; their ids begin with `prefix`."""
    starts = [record | {"number": number} for number, record in enumerate(records(name), 1)]
    named, unnamed, excluded = _answers(starts)
    answered = [*named, *unnamed]
    plain = _weights(answered, plain=True)
    quantised = _weights(answered, plain=False)
    found = error_rows(f"{prefix}1", "bf16 and fp16 weights", plain, 0.3, 5)
    found += error_rows(f"{prefix}2", "quantised weights", quantised, 2, None)
    per_token = _per_token(answered)
    found += error_rows(f"{prefix}3", "KV bytes a token, one kind of attention", per_token, 0.1, None)
    older, newer = _room(named, new=False), _room(named, new=True)
    found += error_rows(f"{prefix}4", "KV memory end to end, before 0.19, of the budget", older, 3, None)
    found += error_rows(f"{prefix}5", "KV memory end to end, from 0.19, of the budget", newer, 6, None)
    print(f"  n {len(starts)}: {len(named)} answered, {len(unnamed)} without a known GPU for bytes alone, left out:")
    for why, names in excluded.items():
        print(f"    {len(names)} {why}: {', '.join(names)}")
    return [*found, *_decisions(named, prefix)]


def _line(record: dict[str, Any]) -> dict[str, Any]:
    utilisation = record.get("gpu_memory_utilization")
    if (record["model"], utilisation, record.get("vllm_version")) == _WRONG_UTILISATION:
        utilisation = 0.95
    keys = ("gpu", "tensor_parallel", "pipeline_parallel", "max_model_len", "kv_cache_dtype", "enforce_eager",
            "max_num_seqs", "max_num_batched_tokens")  # fmt: skip
    return {key: record.get(key) for key in keys} | {
        "id": record["model"],
        "model_id": record["model"],
        "precision": record.get("dtype_quant", "").replace("?", ""),
        "engine_version": record.get("vllm_version"),
        "gpus": record.get("gpu_count"),
        "gpu_memory_gib": record.get("total_gpu_memory_gib"),
        "gpu_memory_utilization": utilisation,
    }


def _answers(starts: list[dict[str, Any]]) -> tuple[Answered, Answered, dict[str, list[str]]]:
    """Records that are answered, those answered on any GPU, and the names of all others by the reason."""
    named: Answered = []
    unnamed: Answered = []
    excluded: dict[str, list[str]] = {}
    for record in starts:
        is_known = _is_known(record["gpu"])
        reason = _LEFT_OUT.get(record["model"], "")
        try:
            if not reason:
                found = answer_line(_line(record) | ({} if is_known else {"gpu": _ANY_GPU}))
                (named if is_known else unnamed).append((record, found))
        except CannotEstimate as error:
            reason = re.sub(r".*is not in the reference catalogue.*", "whose model is not in the catalogue", str(error))
        if reason:
            excluded.setdefault(reason, []).append(record["model"])
    return named, unnamed, excluded


def _is_known(gpu: str) -> bool:
    try:
        return bool(read_gpu(gpu))
    except CannotEstimate:
        return False


def _name(record: dict[str, Any]) -> str:
    """With its number, as two records may be of the same model, GPU and version."""
    what = f"{record['model']} {record.get('dtype_quant')} on {record['gpu']}, {record.get('vllm_version')}"
    return f"{what} (record {record['number']})"


def _weights(answered: Answered, *, plain: bool) -> dict[str, float]:
    return {
        _name(record): answer["weights_gib_per_gpu"] / record["weights_gib_per_gpu"] - 1
        for record, answer in answered
        if "weights_gib_per_gpu" in record and (record.get("dtype_quant") in ("bf16", "fp16")) == plain
    }


def _per_token(answered: Answered) -> dict[str, float]:
    """Bytes a token that cache size and printed tokens imply. Left out: caches split over ranks, 8 bits unsaid."""
    errors = {}
    for record, answer in answered:
        known = "kv_tokens" in record and record.get("kv_available_gib_per_gpu", 0) > 0
        odd = "decode-context-parallel" in record.get("note", "") or "NVFP4" in record["model"]
        if known and not odd and not record.get("hybrid_attention"):
            implied = record["kv_available_gib_per_gpu"] * 2**30 / record["kv_tokens"]
            errors[_name(record)] = answer["kv_bytes_per_token_per_gpu"] / implied - 1
    return errors


def _room(answered: Answered, *, new: bool) -> dict[str, float]:
    errors = {}
    for record, answer in answered:
        if {"kv_available_gib_per_gpu", "total_gpu_memory_gib", "gpu_memory_utilization"} <= record.keys():
            version = parse_version(record.get("vllm_version", "")) or (99, 0)
            budget = record["total_gpu_memory_gib"] * record["gpu_memory_utilization"]
            off = answer["kv_available_gib_per_gpu"] - record["kv_available_gib_per_gpu"]
            if (version >= (0, 19)) == new:
                errors[_name(record)] = off / budget
    return errors


def _decisions(answered: Answered, prefix: str) -> list[Row]:
    """A wrong "fits" is an engine that runs out of memory, so it counts twice."""
    started = [(record["outcome"] == "ok", answer["fits"], _name(record)) for record, answer in answered]
    too_hopeful = [name for real, said, name in started if said and not real]
    too_careful = [name for real, said, name in started if real and not said]
    right = 100 * (1 - (2 * len(too_hopeful) + len(too_careful)) / len(started))
    wrong = f"wrong 'fits' {len(too_hopeful)}, wrong 'too big' {len(too_careful)} {too_hopeful + too_careful}"
    detail = f"n {len(started)}; {wrong}"
    return [Row(f"{prefix}6", "fit or no fit", right, "% right", ">= 95", right >= 95, detail)]
