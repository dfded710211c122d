"""What a training that was cut off leaves on this host for the next attempt of its job.

Its work folder stays, marked, until the server says that the job is over. The next attempt here begins with the
newest whole checkpoint in a folder of its own: hard links, so that neither removes what the other needs.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from apps.engines.checkpoints import PREFIX, newest_checkpoint
from workers.client import Resumed
from workers.records import KEPT, Record, work_folder

logger = logging.getLogger(__name__)
MOST_ASKED = 100  # at once: they stand in an address


def take_over(record: Record, folder: Path, where: str) -> tuple[Path, Resumed] | None:
    """The checkpoint to go on from, under `where` in the work folder, and whose it was; None: from zero."""
    found = []
    for lost in record.claim.resume_from if where else []:
        newest = newest_checkpoint(work_folder(folder.with_name(str(lost.uuid))) / where)
        if newest is not None:
            found.append((newest.step, lost.epoch, newest.path))
    if not found:
        return None
    step, epoch, source = max(found)
    target = work_folder(folder) / where / source.name
    try:
        shutil.rmtree(target, ignore_errors=True)  # half-linked before this worker was killed
        shutil.copytree(source, target, copy_function=os.link)
    except OSError as error:
        logger.warning("Attempt %s starts from zero: %s could not be linked: %s", record.uuid, source, error)
        shutil.rmtree(target, ignore_errors=True)
        return None
    return target, Resumed(epoch=epoch, step=step)


def keep(record: Record, folder: Path) -> bool:
    """Marks what an attempt that did not succeed leaves for the next one, its newest whole checkpoint; the others go.
    False when there is none."""
    found = work_folder(folder) / record.checkpoints
    newest = newest_checkpoint(found) if record.checkpoints and not record.keeps_work else None
    if newest is None:
        return False
    for path in found.glob(f"{PREFIX}*"):
        if path != newest.path:
            shutil.rmtree(path, ignore_errors=True)
    try:
        (folder / KEPT).touch()
    except OSError as error:
        logger.warning("The checkpoints of attempt %s are not kept: %s", record.uuid, error)
        return False
    return True


def kept_uuids(attempts: Path, running: Collection[str]) -> list[str]:
    """The marked folders under `attempts` that no attempt uses as its own; at most MOST_ASKED of them."""
    return sorted({path.parent.name for path in attempts.glob(f"*/{KEPT}")} - set(running))[:MOST_ASKED]


def remove(attempts: Path, uuids: Collection[str]) -> None:
    for uuid in uuids:
        logger.info("What attempt %s left is removed: its job is over.", uuid)
        shutil.rmtree(attempts / uuid, ignore_errors=True)
