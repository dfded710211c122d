"""Installs one locked engine environment on a host. `payload` holds engine and variant."""

from __future__ import annotations

import re
from pathlib import Path

from apps.engines.base import Command, Engine, Event, Placement, Produced, Result, RunSpec, Strict
from apps.engines.lines import read_own_line

RECORD = "environment.txt"
_NAME = re.compile(r"^[a-z][a-z-]*$")


class Options(Strict):
    """An installation is decided by its lock alone."""


class Install(Engine):
    name = "install"
    title = "Install an engine"
    version = "1"
    kind = "install"
    Options = Options
    environment = None

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        """Raises ValueError for a name that is none."""
        engine, variant = spec.payload["engine"], spec.payload["variant"]
        if not _NAME.match(engine) or variant not in ("cpu", "cuda"):
            raise ValueError(f"{engine!r} for {variant!r} is no environment; name an engine, and cpu or cuda")
        argv = [placement.bin("python"), "-m", "workers.environments", "install"]
        argv += ["--engine", engine, "--variant", variant, "--record", f"{placement.work_dir}/{RECORD}"]
        return Command(argv=argv)

    def read_line(self, line: str) -> Event | None:
        return read_own_line(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        record = work_dir / RECORD
        path = Path(record.read_text().strip()) if record.is_file() else None
        if path is None or not (path / "bin").is_dir():
            return Result(ok=False, reason="environment_failed", cause="The installation left no environment")
        return Result(ok=True, produced=[Produced(role="environment", path=str(path), format="venv", size_bytes=0)])
