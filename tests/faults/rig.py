"""The whole rig: a site, its hosts, their weights and rows, the crowd; and healing all of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.engines.programs.fake_run import write_tensor
from tests.catalog.hub_server import CONFIG
from tests.faults.crowd import Crowd
from tests.faults.host import MODULE, FakeHost
from tests.faults.late import LateWrites
from tests.faults.site import ROOT, Site, wait_for

ROW = b'{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]}\n'


class Rig:
    def __init__(self, folder: Path, seed: int, hosts: int = 4, gpus: int = 2, is_hastened: bool = True) -> None:
        self.folder, self.seed = folder, seed
        self.random = random.Random(seed)
        self.witness = folder / "witness"
        self.witness.mkdir()
        self.site = Site(folder / "site", is_hastened)
        (folder / "site").mkdir()
        self.hosts = [FakeHost(self.site, folder, f"h{number}", gpus, self.witness) for number in range(1, hosts + 1)]
        self.small_disk: FakeHost | None = self.hosts[-1] if os.geteuid() == 0 else None
        self.late = LateWrites(self.site, self.hosts)

    def start(self) -> None:
        self.site.start()
        self.mount_small_disk()
        for host in self.hosts:
            host.join()
            host.start()
        wait_for(lambda: not self.silent(), 60, "every host is heard")
        base, dataset = self.bring_model(), self.bring_rows()
        self.crowd = Crowd(self.site, self.seed, base, dataset, waiting=4)
        self.late.start()

    def mount_small_disk(self) -> None:
        """The last host keeps its state on 8 MB, where the rig may mount."""
        if self.small_disk is None:
            return
        state = self.small_disk.folder / "state"
        state.mkdir(mode=0o700)
        argv = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(state)]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            self.small_disk = None

    def bring_model(self) -> str:
        """The same tiny weights on every host, each by a real import. Returns the version's id."""
        folder = self.folder / "models" / "pebble"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        write_tensor(folder / "model.safetensors")
        for host in self.hosts:
            wish = {"source": "path", "source_ref": str(folder), "host": host.name}
            made = self.site.api.post("models/import", json=wish)
            if made.status_code != 201:
                raise RuntimeError(made.text)
            job = made.json()["job"]["id"]
            wait_for(lambda job=job: self.job(job)["status"] == "succeeded", 60, f"{job} on {host.name}")
        (model,) = self.site.get("models", q="pebble")["items"]
        return str(model["versions"][0]["id"])

    def bring_rows(self) -> str:
        files = {"file": ("rows.jsonl", ROW * 4)}
        answer = self.site.api.post("datasets", data={"name": "greetings"}, files=files)
        if answer.status_code != 201:
            raise RuntimeError(answer.text)
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.site.get(f"jobs/{job_id}")
        return found

    def silent(self) -> list[str]:
        """Names of the hosts that the server has not heard for a while."""
        return [host["name"] for host in self.site.get("hosts")["items"] if host["is_silent"]]

    def heal(self) -> None:
        self.site.heal()
        for host in self.hosts:
            host.heal()

    def stop(self) -> None:
        self.late.stop()
        for host in self.hosts:
            host.stop()
        if self.small_disk is not None:
            subprocess.run(["umount", "--lazy", str(self.small_disk.folder / "state")], check=False)
        self.site.stop()


@contextmanager
def running_rig(
    seed: int, hosts: int = 4, gpus: int = 2, keep: Path | None = None, *, is_hastened: bool = True
) -> Iterator[Rig]:
    """A started rig in a folder of its own, gone at the end unless `keep` names where it may stay."""
    folder = keep or Path(tempfile.mkdtemp(prefix="faults-"))
    folder.mkdir(exist_ok=True)
    guard = subprocess.Popen(
        [*MODULE, "tests.faults.guard", str(folder)], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
    )
    rig = Rig(folder, seed, hosts, gpus, is_hastened)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()
        guard.communicate()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
