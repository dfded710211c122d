"""Progress bars become lines; a log keeps its ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.workers.conftest import Worker, script
from tests.workers.protocol_server import ProtocolServer
from workers import journal
from workers.logfile import LINE_BYTES, CappedLog, Lines, append_tail, tail_files


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


def test_the_tail_is_appended_once_also_after_half_of_it_was(tmp_path: Path) -> None:
    log = CappedLog(tmp_path, head_bytes=100, tail_bytes=40)
    for number in range(97):
        log.write(b"line %04d\n" % number)
    head = (tmp_path / "log").read_bytes()
    append_tail(tmp_path)  # its shim was killed: nothing closed it
    whole = (tmp_path / "log").read_bytes()
    assert whole == head + b"[840 bytes left out here.]\n" + b"".join(b"line %04d\n" % n for n in range(94, 97))
    for cut in (len(head), len(head) + 5, len(whole) - 1, len(whole)):
        (tmp_path / "log").write_bytes(whole[:cut])
        append_tail(tmp_path)
        assert (tmp_path / "log").read_bytes() == whole


def test_a_tail_that_is_kept_whole_leaves_nothing_out(tmp_path: Path) -> None:
    log = CappedLog(tmp_path, head_bytes=100, tail_bytes=40)
    for number in range(13):
        log.write(b"line %04d\n" % number)
    append_tail(tmp_path)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines[11:] == [b"line 0010", b"line 0011", b"line 0012"]


def test_a_short_log_has_no_tail(tmp_path: Path) -> None:
    CappedLog(tmp_path, head_bytes=100, tail_bytes=40).write(b"short\n")
    append_tail(tmp_path)
    assert (tmp_path / "log").read_bytes() == b"short\n"


def newest_tail(folder: Path) -> bytes:
    """Empty when there is none yet, and when the flood turned the page between the listing and the read."""
    try:
        return tail_files(folder)[-1].read_bytes()
    except (IndexError, FileNotFoundError):
        return b""


def test_a_flood_keeps_both_ends_when_its_shim_is_killed(worker: Worker, server: ProtocolServer) -> None:
    flood = "for n in range(60000): print(f'line {n:06}' + ' ' * 20)\nimport time; time.sleep(600)"
    held = server.add(script(flood))
    folder = worker.attempt(held.uuid)
    server.wait(lambda: b"line 059999" in newest_tail(folder))
    found = journal.read(folder)
    assert found is not None
    os.kill(found.shim_pid, signal.SIGKILL)
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "worker_lost"
    lines = held.log.decode().splitlines()
    (note,) = (number for number, line in enumerate(lines) if "bytes left out here" in line)
    assert lines[note - 1].startswith("[The log is longer than 200000 bytes.")
    head = [int(line.split()[1]) for line in lines[: note - 2]]  # the cut is within a line
    tail = [int(line.split()[1]) for line in lines[note + 2 :]]
    assert head == list(range(len(head)))
    assert tail == list(range(60000 - len(tail), 60000))
    assert len(tail) > 200
