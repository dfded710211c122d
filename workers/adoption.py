"""After a restart: which attempts on this disk go on, from the records and journals they left."""

from __future__ import annotations

import logging
from pathlib import Path

from workers import journal, processes
from workers.records import Record, forget, work_folder

logger = logging.getLogger(__name__)


def find_records(folder: Path) -> list[tuple[Path, Record]]:
    """Every attempt that still has an end to be told. Folders without a record hold nothing alive."""
    found = []
    for path in sorted(folder.iterdir()):
        record = Record.load(path)
        if record is not None and record.uuid == path.name:
            found.append((path, record))
        elif not work_folder(path).exists() or journal.read(path) is not None:
            _end_unknown(path)
    return found


def _end_unknown(path: Path) -> None:
    """A folder without a readable record belongs to nobody: what still runs from it ends."""
    left = journal.read(path)
    has_ended = left is not None and left.state == "exited"
    if left is not None and not has_ended and left.boot_id == processes.boot_id():
        logger.warning("Ending attempt %s: its record cannot be read.", path.name)
        processes.end_attempt(path.name, left.engine_pid, left.engine_ticks, left.cgroup)
    forget(path, "", keep_work=has_ended)  # its shim, if any, ends when its journal is gone


def describe(path: Path) -> str:
    """One line for the log."""
    left = journal.read(path)
    if left is None:
        return "was not started yet"
    if left.state == "exited":
        return f"has ended with {left.exit_code}"
    alive = left.boot_id == processes.boot_id() and processes.is_same(left.shim_pid, left.shim_ticks)
    return f"goes on as process {left.engine_pid}" if alive else "was lost"
