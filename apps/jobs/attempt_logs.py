"""The server's copy of an attempt's log: one append-only file; its size in the database is the truth."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from apps.accounts.file_response import StreamedFile
from apps.accounts.problems import conflict
from apps.jobs.models import Attempt
from apps.jobs.progress import note_talk

MAX_LOG_BYTES = 256 * 1024 * 1024
PLAIN = "text/plain; charset=utf-8"


def log_path(attempt: Attempt) -> Path:
    return Path(settings.LOG_DIR) / f"{attempt.uuid}.log"


def append_log(*, attempt: Attempt, offset: int, data: bytes) -> int:
    """Appends what is new of `data` and returns the size now. The attempt is locked, or nobody else writes it.

    Bytes already held change nothing, so a chunk may be sent twice. A gap raises Problem 409 with
    `expected_offset`. Past MAX_LOG_BYTES the text is dropped but still counted as held.
    """
    held: int = attempt.log_size_bytes
    if offset > held:
        raise conflict(f"The log has {held} bytes; the chunk starts at {offset}.", expected_offset=held)
    fresh = data[held - offset :]
    if fresh:
        _write_at(log_path(attempt), held, fresh[: max(0, MAX_LOG_BYTES - held)])
        attempt.log_size_bytes = held + len(fresh)
        attempt.save(update_fields=["log_size_bytes"])
        note_talk(attempt.job)
    return held + len(fresh)


def _write_at(path: Path, offset: int, data: bytes) -> None:
    """All of it, or OSError: a full disk takes a part first."""
    descriptor = _opened(path)
    try:
        while data:
            written = os.pwrite(descriptor, data, offset)
            data, offset = data[written:], offset + written
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """The folder is made when it is missing: to ask for it each time costs as much as the write."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


def read_log(attempt: Attempt, offset: int, limit: int = 256 * 1024) -> bytes:
    """Up to `limit` bytes from `offset`, ending at a whole line where one ends in that window."""
    path = log_path(attempt)
    if offset >= attempt.log_size_bytes or not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        chunk = file.read(min(limit, attempt.log_size_bytes - offset))
    cut = chunk.rfind(b"\n")
    return chunk if cut < 0 else chunk[: cut + 1]


def log_text(attempt: Attempt | None, offset: int = 0, *, filename: str = "") -> HttpResponseBase:
    """The log from a byte offset to its end as plain text, a download under `filename`; empty without a log
    and past its end."""
    if attempt is None or not log_path(attempt).exists():
        return HttpResponse("", content_type=PLAIN)
    file = log_path(attempt).open("rb")
    file.seek(min(offset, os.fstat(file.fileno()).st_size))
    return StreamedFile(file, as_attachment=bool(filename), filename=filename, content_type=PLAIN)


def tail_start(attempt: Attempt, lines: int = 400) -> int:
    """The offset of the last `lines` lines."""
    window = 128 * 1024
    start = max(0, attempt.log_size_bytes - window)
    chunk = read_log(attempt, start, window)
    parts = chunk.split(b"\n")
    skipped = b"\n".join(parts[: -lines - 1])
    return start + (len(skipped) + 1 if skipped else 0)
