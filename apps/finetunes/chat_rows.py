"""Reads a data set of chat rows: JSON lines of {"messages": [{"role", "content"}, …]}."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

from apps.accounts.problems import FieldError, Problem, invalid

ROLES = ("system", "user", "assistant")
MAX_BYTES = 64 * 1024 * 1024
SHOWN_ERRORS = 10


def read_chat_rows(data: bytes) -> list[dict[str, Any]]:
    """The messages of every row, or Problem 422 naming the first rows that are wrong, and what would be right."""
    if not data.strip():
        raise invalid("file", "The file is empty; one JSON object a line.")
    if len(data) > MAX_BYTES:
        raise invalid("file", "The file is over 64 MiB.", value=len(data))
    rows, errors = [], []
    # Only a newline ends a row: text may hold the other line separators of Unicode.
    for number, line in enumerate(_text(data).split("\n"), start=1):
        if not line.strip():
            continue
        row, wrong = _read_row(line)
        if wrong:
            errors.append(FieldError(f"file line {number}", wrong))
            if len(errors) == SHOWN_ERRORS:
                break
        else:
            rows.append(row)
    if errors:
        raise Problem(422, "Invalid data set", f"Line {errors[0].field.split()[-1]}: {errors[0].message}", errors)
    return rows


def _text(data: bytes) -> str:
    if data.startswith(BOM_UTF8):
        raise invalid("file", "The file begins with a byte order mark. Save it as UTF-8 without one.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid("file", f"Byte {error.start} is not UTF-8. Save the file as UTF-8.") from None


def _read_row(line: str) -> tuple[dict[str, Any], str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}, 'not JSON; a line is one object such as {"messages": […]}'
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list) or not row["messages"]:
        return {}, 'needs "messages", a list of {"role", "content"}'
    for place, message in enumerate(row["messages"], start=1):
        wrong = _wrong_message(message)
        if wrong:
            return {}, f"message {place}: {wrong}"
    if not any(message["role"] == "assistant" for message in row["messages"]):
        return {}, "has no assistant message, so there is nothing to learn"
    return {"messages": [{name: message[name] for name in ("role", "content")} for message in row["messages"]]}, ""


def _wrong_message(message: object) -> str:
    if not isinstance(message, dict):
        return "is not an object"
    if message.get("role") not in ROLES:
        return f"role {message.get('role')!r} is none of {', '.join(ROLES)}"
    if not isinstance(message.get("content"), str) or not message["content"].strip():
        return "content is empty or not text"
    if "\x00" in message["content"] or any("\ud800" <= sign <= "\udfff" for sign in message["content"]):
        return "content has a NUL or half a character (\\u0000, \\ud800 to \\udfff)"
    return ""
