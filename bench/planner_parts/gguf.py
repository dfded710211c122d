"""GGUF: file sizes by quantisation, against published files and loader logs."""

from __future__ import annotations

from typing import Any

from apps.planning.configs import shape_from_config
from apps.planning.gguf import gguf_file_bytes
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate
from bench.planner_parts.rows import Row, error_rows, records

TITLE = "GGUF: file sizes"
_SPELLINGS = {"LLaMA-3-": "Meta-Llama-3-", "phi-4-mini": "Phi-4-mini-instruct"}
_LEFT_OUT = {
    ("Llama-2-70B", "Q2_K"): "made before llama.cpp changed this mix",
    ("phi-4-mini", "Q4_K_M (label; bpw shows mixed)"): "its bits show another mix than its label",
    ("DeepSeek-R1", "dynamic mix"): "a maker's own mix",
}


def rows() -> list[Row]:
    print(f"  left out: {'; '.join(f'{model} {quant} ({why})' for (model, quant), why in _LEFT_OUT.items())}")
    return error_rows("P7", "GGUF file size", published_errors(), 1, None)


def published_errors() -> dict[str, float]:
    """Estimate / published size - 1 of every record that counts."""
    found = [record for record in records("gguf_files.json") if "quant" in record]
    errors = {}
    for record in found:
        size, key = _measured_bytes(record), (record["model"], record["quant"])
        if size and key not in _LEFT_OUT:
            errors[f"{record['kind']} {' '.join(key)}"] = _estimate(record) / size - 1
    return errors


def _measured_bytes(record: dict[str, Any]) -> float:
    """From the bits a weight where a record has them: its size is rounded to two digits."""
    if record["kind"] == "file_size" and "bits_per_weight" in record:
        return float(record["bits_per_weight"] * record["params"] / 8)
    if "size_gib" in record:
        return float(record["size_gib"] * 2**30)
    return float(record.get("size_gb", 0) * 1e9)


def _estimate(record: dict[str, Any]) -> float:
    name = record["model"]
    for spelling, ours in _SPELLINGS.items():
        name = name.replace(spelling, ours)
    try:
        return gguf_file_bytes(shape_from_config(reference_model(name).config), record["quant"]).middle
    except CannotEstimate as error:
        raise SystemExit(f"{record}: {error}") from error
