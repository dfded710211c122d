"""Brings a model onto a host and reads what it is.

`payload.source` is a line of apps.engines.sources; `placement.model_path` is the folder to make, empty for one under
the host's models folder. With `payload.trusts_code` the repository's Python comes too. With `payload.peers`, hosts that
have these `payload.files` are asked before the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apps.engines.base import Command, Engine, Event, Placement, Produced, Result, RunSpec, Strict
from apps.engines.file_headers import BadHeader
from apps.engines.folder import format_of, manifest_sha256, model_facts
from apps.engines.lines import read_own_line
from apps.engines.sources import parse_source

RECORD = "download.json"
PEERS = "peers.json"


class Options(Strict):
    """A download has no choices beyond its source."""


class Download(Engine):
    name = "download"
    title = "Download"
    version = "1"
    kind = "download"
    Options = Options
    environment = None  # the worker's own; a package's model is expanded in the lm-eval environment

    def command(self, spec: RunSpec, placement: Placement) -> Command:
        """Raises ValueError for a source that is none."""
        source = parse_source(spec.payload["source"])
        argv = [placement.bin("python"), "-m", "workers.downloads", str(source)]
        argv += ["--record", f"{placement.work_dir}/{RECORD}", "--variant", placement.variant]
        if placement.model_path and source.kind != "path":
            argv += ["--into", placement.model_path]
        argv += ["--with-code"] if spec.trusts_code else []
        files = {}
        if "peers" in spec.payload:
            files[PEERS] = json.dumps({"peers": spec.payload["peers"], "files": spec.payload["files"]}, indent=1)
            argv += ["--peers", f"{placement.work_dir}/{PEERS}"]
        return Command(argv=argv, env={"HF_HUB_DISABLE_TELEMETRY": "1"}, files=files)

    def read_line(self, line: str) -> Event | None:
        return read_own_line(line)

    def collect(self, spec: RunSpec, work_dir: Path) -> Result:
        path = work_dir / RECORD
        if not path.is_file():
            return Result(ok=False, cause="The download ended without recording what it brought")
        record: dict[str, Any] = json.loads(path.read_text())
        folder, files = Path(record["path"]), record["files"]
        for file in files:
            if not (folder / file["path"]).is_file():
                return Result(ok=False, reason="model_not_found", cause=f"{folder / file['path']} is gone again")
        names = [file["path"] for file in files]
        try:
            read = model_facts(folder, names)
        except BadHeader as damage:
            return Result(ok=False, reason="bad_config", cause=str(damage))
        facts = read | {"source": record["source"], "revision": record["revision"]}
        produced = Produced(
            role="weights",
            path=str(folder),
            format=format_of(names),
            size_bytes=sum(file["size_bytes"] for file in files),
            sha256=manifest_sha256(files),
            files=files,
            facts=facts,
            is_in_place=bool(record.get("in_place")),
        )
        came_from = {"came_from": record["came_from"]} if "came_from" in record else {}
        return Result(ok=True, produced=[produced], data=came_from)
