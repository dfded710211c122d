"""One JSON object a line in, one a line out, in order. A line that cannot be answered says why, and only that line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from apps.planning.shapes import CannotEstimate

LINE_LIMIT_BYTES = 4 * 2**20
Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


def answer_file(name: str, answer: Answer, out: IO[str]) -> int:
    """Answers every line of the file (`-`: standard input). Returns the exit code: 0, or 1 where it cannot be read."""
    try:
        with _opened(name) as lines:
            for line in _lines(lines):
                out.write(json.dumps(_answered(line, answer)) + "\n")
    except OSError as error:
        print(f"{name} cannot be read: {error.strerror or error}.", file=sys.stderr)
        return 1
    return 0


def _opened(name: str) -> IO[bytes]:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


def _lines(lines: IO[bytes]) -> Iterator[bytes]:
    """Lines with something on them; one that is too long is cut, so that its memory stays bounded."""
    while piece := lines.readline(LINE_LIMIT_BYTES + 1):
        rest = piece
        while not rest.endswith(b"\n") and len(rest) > LINE_LIMIT_BYTES:
            rest = lines.readline(LINE_LIMIT_BYTES + 1)
        if piece.strip():
            yield piece


def _answered(line: bytes, answer: Answer) -> dict[str, Any]:
    if len(line) > LINE_LIMIT_BYTES:
        return {"id": None, "error": f"The line is longer than {LINE_LIMIT_BYTES // 2**20} MiB."}
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"id": None, "error": f"Not a JSON object: {str(error)[:100]}."}
    if not isinstance(question, dict):
        return {"id": None, "error": "Not a JSON object."}
    try:
        return answer(question)
    except (CannotEstimate, RecursionError) as error:
        return {"id": question.get("id"), "error": str(error)}
