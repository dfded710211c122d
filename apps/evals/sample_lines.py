"""Reads lm-eval's sample files: one JSON line for each item and filter."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from apps.evals.models import SampleResult

MAX_TEXT = 20_000  # characters of a prompt or an answer that are kept for reading


class BadResult(Exception):
    """The result cannot be registered; the message says what is missing or wrong."""


def read_samples(task: str, metric: str, chosen_filter: str, lines: Iterable[bytes]) -> list[SampleResult]:
    """Unsaved rows, one an item. Raises BadResult for a line that is not a sample of this metric."""
    rows: list[SampleResult] = []
    seen: dict[str, int] = {}
    for number, line in _objects(task, lines):
        if line.get("filter", "none") != chosen_filter:
            continue
        row = _row(task, metric, number, line)
        # The same question may stand in a suite twice: each occurrence pairs with its like.
        seen[row.item_sha256] = count = seen.get(row.item_sha256, 0) + 1
        if count > 1:
            row.item_sha256 = _sha256(row.item_sha256, str(count))
        rows.append(row)
    return rows


def _objects(task: str, lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise BadResult(f"line {number} of the samples of {task} is not a JSON object")
        yield number, found


def _row(task: str, metric: str, number: int, line: dict[str, Any]) -> SampleResult:
    value, item = line.get(metric), line.get("doc_id")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadResult(f"line {number} of the samples of {task} has no number for {metric}")
    if not isinstance(item, int) or item < 0:
        raise BadResult(f"line {number} of the samples of {task} has no doc_id")
    document = str(line.get("doc_hash") or _sha256(json.dumps(line.get("doc"), sort_keys=True)))
    requests = [given for _, given in sorted(line.get("arguments", {}).items(), key=_request_number)]
    facts = _choice_facts(metric, line, requests) if len(requests) > 1 else _answer_facts(line)
    return SampleResult(
        task=task,
        item=item,
        item_sha256=_sha256(task, document),
        value=float(value),
        prompt=_text(requests[0].get("arg_0", "") if requests else ""),
        **facts,
    )


def _request_number(pair: tuple[str, Any]) -> int:
    """gen_args_10 comes after gen_args_2."""
    tail = pair[0].rpartition("_")[2]
    return int(tail) if tail.isdigit() else 0


def _answer_facts(line: dict[str, Any]) -> dict[str, Any]:
    """A written answer: as the filter left it, with the raw text beside it where that differs."""
    answer, raw = _first(line.get("filtered_resps")), _first(line.get("resps"))
    detail = {"raw": _text(raw)} if raw != answer else {}
    return {"answer": _text(answer), "target": _text(line.get("target")), "detail": detail}


def _choice_facts(metric: str, line: dict[str, Any], requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Multiple choice: one request for each choice, answered by its log-likelihood."""
    texts = [_text(given.get("arg_1", "")).strip() for given in requests]
    likely = [_likelihood(answer) for answer in line.get("filtered_resps", [])]
    choices = [{"text": text, "loglikelihood": value} for text, value in zip(texts, likely, strict=False)]
    # acc_norm divides by the length of the choice, so that long ones are not punished
    weights = [
        value / max(1, len(text)) if metric == "acc_norm" else value for text, value in zip(texts, likely, strict=False)
    ]
    answer = texts[max(range(len(weights)), key=weights.__getitem__)] if weights else ""
    target = line.get("target")
    is_index = str(target).isdigit() and int(str(target)) < len(texts)
    return {
        "answer": answer,
        "target": texts[int(str(target))] if is_index else _text(target),
        "detail": {"choices": choices},
    }


def _likelihood(answer: Any) -> float:
    try:
        value = float(_first(answer))
    except ValueError:
        return -1e9
    return value if math.isfinite(value) else -1e9


def _first(answers: Any) -> str:
    """The innermost first text of lm-eval's nested lists."""
    while isinstance(answers, list):
        answers = answers[0] if answers else ""
    return str(answers) if answers is not None else ""


def _text(value: Any) -> str:
    """Text that a database takes: no NUL, no half of a surrogate pair, not longer than a page can show."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text[:MAX_TEXT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
