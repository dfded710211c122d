"""One JSON object a line in, one a line out, in order. A line that cannot be answered says why, and only that line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from apps.planning.shapes import CannotEstimate
from stackweb.fit_command.line_ids import id_of

LINE_LIMIT_BYTES = 4 * 2**20
_KEPT_BYTES = 2**16  # of each end of a line that is too long
Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


def answer_file(name: str, answer: Answer, out: IO[str]) -> int:
    """Answers every line of the file (`-`: standard input). Returns the exit code: 0, or 1 where it cannot be read."""
    try:
        with _opened(name) as lines:
            for line, is_whole in _lines(lines):
                out.write(_as_json(_answered(line, answer) if is_whole else _too_long(line)) + "\n")
    except BrokenPipeError:  # of `out`, not of the file
        raise
    except OSError as error:
        print(f"{name} cannot be read: {error.strerror or error}.", file=sys.stderr)
        return 1
    return 0


def _opened(name: str) -> IO[bytes]:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


def _lines(lines: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Lines with something on them, and whether they are whole: of a longer one both ends, to bound the memory."""
    while piece := lines.readline(LINE_LIMIT_BYTES + 1):
        is_whole, rest = len(piece) <= LINE_LIMIT_BYTES, piece
        if not is_whole:
            end = piece
            while not rest.endswith(b"\n") and (rest := lines.readline(LINE_LIMIT_BYTES)):
                end = end[-_KEPT_BYTES:] + rest
            piece = piece[:_KEPT_BYTES] + end[-_KEPT_BYTES:]
        if piece.strip():
            yield piece, is_whole


def _too_long(ends: bytes) -> dict[str, Any]:
    return {"id": id_of(ends), "error": f"The line is longer than {LINE_LIMIT_BYTES // 2**20} MiB."}


def _answered(line: bytes, answer: Answer) -> dict[str, Any]:
    try:
        question = json.loads(line)
    except RecursionError:
        return {"id": id_of(line), "error": "Not a JSON object: it is nested too deep."}
    except ValueError as error:
        return {"id": id_of(line), "error": f"Not a JSON object: {str(error)[:100]}."}
    if not isinstance(question, dict):
        return {"id": None, "error": "Not a JSON object."}
    try:
        return answer(question)
    except (CannotEstimate, RecursionError) as error:
        return {"id": question.get("id"), "error": str(error)}
    except Exception as error:  # a fault of the planner, which must not cost the other lines their answers
        return {"id": question.get("id"), "error": f"The planner failed on this line: {type(error).__name__}."}


def _as_json(answer: dict[str, Any]) -> str:
    """Strict JSON: an id that is none, such as NaN, becomes null."""
    try:
        return json.dumps(answer, allow_nan=False)
    except (ValueError, RecursionError):
        return json.dumps(answer | {"id": None}, allow_nan=False)
