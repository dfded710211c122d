"""A data set comes in whole, or every wrong line is named."""

from __future__ import annotations

import json

import pytest

from apps.accounts.problems import Problem
from apps.finetunes.chat_rows import MAX_BYTES, SHOWN_ERRORS, read_chat_rows
from apps.finetunes.services import TOUR_DATASET
from tests.finetunes.conftest import lines, row


def test_rows_come_back_with_what_is_trained_on() -> None:
    read = read_chat_rows(lines(row() | {"source": "forum"}, "", row("Bye?", "Bye.")))
    assert read == [row(), row("Bye?", "Bye.")]


def test_unicodes_other_line_ends_may_stand_in_a_text() -> None:
    text = "one\u2028two\x85three"
    raw = json.dumps(row(text), ensure_ascii=False).encode() + b"\r\n"
    assert read_chat_rows(raw)[0]["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'needs "messages"'),
        ({"messages": []}, 'needs "messages"'),
        ({"messages": "hi"}, 'needs "messages"'),
        ({"messages": [3]}, "message 1: is not an object"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "message 1: role 'robot' is none of system, user"),
        ({"messages": [*row()["messages"], {"role": "user", "content": " "}]}, "message 3: content is empty"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no assistant message"),
        (row("a\x00b"), "message 1: content has a NUL"),
        (row("ok", "a\ud800b"), "message 2: content has a NUL or half a character"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(wrong: object, words: str) -> None:
    with pytest.raises(Problem) as refused:
        read_chat_rows(lines(row(), "", wrong, row()))
    assert refused.value.status == 422
    (error,) = refused.value.errors
    assert error.field == "file line 3"
    assert words in error.message
    assert str(refused.value).startswith("Line 3: ")


def test_the_first_wrong_lines_are_listed_not_all() -> None:
    with pytest.raises(Problem) as refused:
        read_chat_rows(lines(*["no"] * (SHOWN_ERRORS + 5)))
    assert [error.field for error in refused.value.errors] == [f"file line {n}" for n in range(1, SHOWN_ERRORS + 1)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b" \n\n", "empty"),
        (b'{"messages": "\xff"}', "Byte 14 is not UTF-8"),
        (b"\xef\xbb\xbf" + lines(row()), "byte order mark"),
        (b"x" * (MAX_BYTES + 1), "over 64 MiB"),
    ],
)
def test_a_wrong_file_is_named(data: bytes, words: str) -> None:
    with pytest.raises(Problem) as refused:
        read_chat_rows(data)
    assert words in refused.value.errors[0].message


def test_the_tours_rows_are_chat_rows() -> None:
    assert len(read_chat_rows(TOUR_DATASET.read_bytes())) == 80
