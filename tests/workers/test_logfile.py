"""Progress bars become lines; a log keeps its ends."""

from __future__ import annotations

from pathlib import Path

from workers.logfile import LINE_BYTES, CappedLog, Lines


def test_plain_lines_pass_whole() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw", 0) == b"one\n"
    assert lines.feed(b"o\r", 0) == b""  # may yet become \r\n
    assert lines.feed(b"\nthree", 0.1) == b"two\n"
    assert lines.end() == b"three\n"


def test_a_bar_becomes_at_most_a_line_a_second() -> None:
    lines = Lines()
    written = b"".join(lines.feed(b"\r%d/300" % count, 10 + count / 100) for count in range(300))
    written += lines.feed(b"\r300/300\ndone\n", 13)
    shown = written.splitlines()
    assert 3 <= len(shown) <= 5
    assert shown[-2:] == [b"300/300", b"done"]


def test_a_bar_that_rests_is_shown() -> None:
    lines = Lines()
    assert lines.feed(b"\r1/9", 10) == b""
    assert lines.idle(10.5) == b""
    assert lines.idle(11.1) == b"1/9\n"
    assert lines.idle(13) == b""
    assert lines.feed(b"\r2/9\n", 14) == b"2/9\n"


def test_a_prompt_without_an_end_waits_and_an_endless_line_does_not() -> None:
    lines = Lines()
    lines.feed(b"half a", 10)
    assert lines.idle(20) == b""
    assert len(lines.feed(b"x" * LINE_BYTES, 20)) == LINE_BYTES + len(b"half a\n")


def test_a_log_keeps_its_head_and_its_tail(tmp_path: Path) -> None:
    log = CappedLog(tmp_path, head_bytes=100, tail_bytes=40)
    for number in range(100):
        log.write(b"line %04d\n" % number)
    log.close()
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines[:10] == [b"line %04d" % number for number in range(10)]
    assert lines[10].startswith(b"[The log is longer than 100 bytes.")
    assert lines[11] == b"[860 bytes left out here.]"
    assert lines[12:] == [b"line %04d" % number for number in range(96, 100)]
