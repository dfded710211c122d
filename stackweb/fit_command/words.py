"""The planner's answer for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VERDICTS = {"fits": "Fits", "tight": "Fits, with little to spare", "too_big": "Does not fit"}
_BAR = 48


def fit_words(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Verdict, what fills the GPU, and what it is enough for."""
    gpus = f"{question.get('gpus')} x " if str(question.get("gpus") or "1") != "1" else ""
    where = f"{gpus}{question.get('gpu', 'the GPU')}"
    rows = [
        f"{question.get('model_id', 'The model')} on {where}: {_VERDICTS[answer['verdict']]}",
        answer["explanation"],
        "",
        _bar(answer),
        "",
        _row("Weights", f"{answer['weights_gib_per_gpu']:.2f} GiB on each GPU"),
        _row("Overhead", _range(answer, "overhead_gib", "GiB: activations, buffers, graphs")),
        _row("KV cache", _cache(answer)),
        _row("Tokens", f"{answer['kv_tokens']:,} at {answer['kv_bytes_per_token_per_gpu']:,} bytes each"),
        _row("Requests", f"{answer['max_concurrency']:.1f} at full context"),
        _row("Longest context", f"{answer['max_model_len_possible']:,} tokens"),
    ]
    if answer["tensor_parallel"] * answer["pipeline_parallel"] > 1:
        split = f"tensor parallel {answer['tensor_parallel']} x pipeline parallel {answer['pipeline_parallel']}"
        rows.append(_row("Split", split))
    if answer["decode_tokens_per_s"] is not None:
        speed = [answer[f"decode_tokens_per_s{part}"] for part in ("", "_low", "_high")]
        rows.append(_row("Speed", "{:.0f} tokens/s for one request ({:.0f} to {:.0f})".format(*speed)))
    if answer["weights_file_gib"] is not None:
        rows.append(_row("File", f"{answer['weights_file_gib']:.2f} GiB"))
    if answer["missing_gib_per_gpu"]:
        rows.append(_row("Missing", f"{answer['missing_gib_per_gpu']:.2f} GiB on each GPU"))
    if answer["smallest_change"]:
        rows.append(_row("To make it fit", answer["smallest_change"]))
    rows += [_row("Note", note) for note in answer["notes"]]
    rows.append(_row("Estimate", f"{answer['confidence']} confidence, formula {answer['formula_version']}"))
    return "\n".join(rows)


def training_words(question: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Peak memory, speed, time and cost of a fine-tune, each as a range."""
    peak, speed = answer["peak_gib_per_gpu"], answer["tokens_per_s_per_gpu"]
    rows = [
        f"{question.get('method', 'LoRA')} of {question.get('model_id', 'the model')} "
        f"on {question.get('gpu', 'a GPU')}: {_VERDICTS[answer['verdict']]}",
        answer["explanation"],
        "",
        _row("Peak memory", f"{peak['mid']:.1f} GiB on each GPU ({peak['low']:.1f} to {peak['high']:.1f})"),
    ]
    if speed:
        rows.append(
            _row("Speed", f"{speed['mid']:,.0f} tokens/s on each GPU ({speed['low']:,.0f} to {speed['high']:,.0f})")
        )
    if answer["hours"] is not None:
        hours = [answer[f"hours{part}"] for part in ("", "_low", "_high")]
        rows.append(_row("Time", "{:.1f} hours ({:.1f} to {:.1f})".format(*hours)))
    if answer["cost_usd"] is not None:
        cost = [answer[f"cost_usd{part}"] for part in ("", "_low", "_high")]
        rows.append(_row("Cost", "${:,.2f} (${:,.2f} to ${:,.2f}) at list price".format(*cost)))
    rows += [_row("Note", note) for note in answer["notes"]]
    rows.append(_row("Estimate", f"{answer['confidence']} confidence, formula {answer['formula_version']}"))
    return "\n".join(rows)


def _row(title: str, text: str) -> str:
    return f"  {title:<16}{text}"


def _range(answer: Mapping[str, Any], key: str, unit: str) -> str:
    return f"{answer[key]:.2f} ({answer[f'{key}_low']:.2f} to {answer[f'{key}_high']:.2f}) {unit}"


def _cache(answer: Mapping[str, Any]) -> str:
    """What is left for it; where nothing is, what weights and overhead alone take too much."""
    left = answer["kv_available_gib_per_gpu"]
    if left <= 0:
        return f"nothing left for it: weights and overhead are {-left:.2f} GiB more than there is"
    return _range(answer, "kv_available_gib_per_gpu", "GiB left for it")


def _bar(answer: Mapping[str, Any]) -> str:
    """Weights, overhead and KV cache as parts of what the engine may take."""
    parts = [answer["weights_gib_per_gpu"], answer["overhead_gib"], max(0.0, answer["kv_available_gib_per_gpu"])]
    whole = sum(parts) or 1.0
    widths = [round(part / whole * _BAR) for part in parts]
    return (
        "  "
        + "".join(mark * width for mark, width in zip("█▒░", widths, strict=True))
        + "  █ weights ▒ overhead ░ KV cache"
    )
