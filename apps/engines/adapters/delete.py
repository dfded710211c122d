"""Deletes a finished download on a host. `payload.folder` is where it lies; empty: it is in use again."""

from __future__ import annotations

from pathlib import Path

from apps.engines.base import Command, Engine, Event, Placement, Result, RunSpec, Strict
from apps.engines.lines import read_own_line


class Options(Strict):
    """A deletion has no choices beyond its folder."""


class Delete(Engine):
    name = "delete"
    title = "Delete a model"
    version = "1"
    kind = "download"  # scheduled as one: no device, beside what runs
    Options = Options
    environment = None

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        return Command(argv=[placement.bin("python"), "-m", "workers.deletions", spec.payload["folder"]])

    def read_line(self, line: str) -> Event | None:
        return read_own_line(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        return Result(ok=True)
