"""What the agent remembers of an attempt across its own death: one folder each, private to the worker.

attempts/<uuid>/record.json   the lease, what was asked, what was decided since
attempts/<uuid>/journal.json  the shim's side (workers/journal.py)
attempts/<uuid>/log, tail.N   the output (workers/logfile.py)
attempts/<uuid>/work/         the engine's working folder
attempts/<uuid>/kept          what is left may be gone on from (workers/checkpoints.py)
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError

from workers.client import Claim, Lease
from workers.journal import read_json, write_json

NAME = "record.json"
KEPT = "kept"  # marks a folder whose work folder the next attempt of the job may go on from
# Why the agent ends an attempt that would run on; "gone" means that the server has given it up.
OrderedReason = Literal["cancelled_by_user", "interrupted", "timed_out", "stalled"]
Order = Literal["", "gone"] | OrderedReason


class Record(BaseModel):
    uuid: str
    epoch: int
    claim: Claim
    port: int = 0
    temporary: str = ""  # the engine's TMPDIR
    order: Order = ""
    order_cause: str = ""
    is_up: bool = False  # became ready or began to work: the start time limit is over
    started: dict[str, Any] | None = None  # what to tell the server about the start; None once told
    memory_kills: int = 0  # the kernel's count at launch
    is_launched: bool = False  # a shim was started, or was about to be
    checkpoints: str = ""  # where in the work folder; empty: none that could be gone on from
    keeps_work: bool = False  # what the run produced lies in the work folder and was reported

    @property
    def lease(self) -> Lease:
        return Lease(self.uuid, self.epoch, self.claim.lease_token)

    def save(self, folder: Path) -> None:
        write_json(folder / NAME, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """None when the folder holds no whole record: then nothing was launched from it."""
        found = read_json(folder / NAME)
        try:
            return None if found is None else cls.model_validate(found)
        except ValidationError:
            return None


def work_folder(folder: Path) -> Path:
    return folder / "work"


def forget(folder: Path, temporary: str, keep_work: bool) -> None:
    """Removes an ended attempt; its work folder stays where somebody needs what it holds.

    The record goes first: without it nobody takes what is left for an attempt to go on with.
    """
    (folder / NAME).unlink(missing_ok=True)
    if temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    if not keep_work:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path not in (work_folder(folder), folder / KEPT):
            path.unlink(missing_ok=True)
