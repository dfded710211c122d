"""One fake host: its folder, its worker, its proxy to the server, and everything that runs there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stackweb.embedded.ports import HeldPort
from tests.faults import witness
from tests.faults.site import ROOT, Site, wait_for
from workers import journal, processes

MODULE = [sys.executable, "-m"]


class FakeHost:
    def __init__(self, site: Site, folder: Path, name: str, gpus: int, witness_folder: Path) -> None:
        self.site, self.name, self.gpus = site, name, gpus
        self.witness = witness_folder
        self.folder = folder / name
        self.folder.mkdir()
        self.config = self.folder / "worker.json"
        self.log = self.folder / "agent.log"
        self.port = HeldPort()
        self.proxy: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self.new_boot()
        self.env = {name: value for name, value in site.env.items() if name in ("PATH", "LANG", "PYTHONPATH")} | {
            "HOME": str(self.folder), "STACKWEB_MODELS_DIR": str(self.folder / "models"),
            "STACKWEB_ENV_ROOT": str(self.folder / "environments"), "FAULTS_HOST": name,
            "FAULTS_HOST_FOLDER": str(self.folder), "FAULTS_GPUS": str(gpus), "FAULTS_WITNESS": str(witness_folder),
        }  # fmt: skip

    def new_boot(self) -> None:
        (self.folder / "boot_id").write_text(str(uuid.uuid4()))

    def join(self) -> None:
        self.start_proxy()
        token = self.site.api.post("join-tokens", json={}).json()["token"]
        done = subprocess.run(
            [
                *MODULE, "tests.faults.fake_host", "join", "--url", f"http://127.0.0.1:{self.port.port}",
                "--name", self.name, "--config", str(self.config), "--state-dir", str(self.folder / "state"),
            ],
            env=self.env | {"STACKWEB_JOIN_TOKEN": token}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        if not self.site.is_hastened:
            return
        settings = json.loads(self.config.read_text())
        self.config.write_text(json.dumps(settings | {"sweep_seconds": 1.0}))

    @property
    def token(self) -> str:
        return str(json.loads(self.config.read_text())["host_token"])

    # The worker and its way to the server

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.agent = subprocess.Popen(
                [*MODULE, "tests.faults.fake_host", "run", "--config", str(self.config)],
                env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def start_proxy(self) -> None:
        server_port = self.site.url.rpartition(":")[2]
        self.proxy = subprocess.Popen(
            [*MODULE, "tests.faults.proxy", str(self.port.port), server_port], env=self.env, cwd=ROOT
        )

    def signal_agent(self, number: int) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(number)

    def kill_agent(self) -> None:
        self.signal_agent(signal.SIGKILL)
        if self.agent is not None:
            self.agent.wait()

    def signal_proxy(self, number: int) -> None:
        if self.proxy is not None:
            self.proxy.send_signal(number)

    def heal(self) -> None:
        """Everything stopped goes on, and a worker that is gone starts again."""
        for pid in self.processes():
            processes.send(pid, signal.SIGCONT)
        self.signal_proxy(signal.SIGCONT)
        self.signal_proxy(signal.SIGUSR2)
        if self.agent is None or self.agent.poll() is not None:
            self.start()

    def reboot(self, before_start: Callable[[], None] = lambda: None) -> int:
        """All at once: nothing here sees anything else die. Returns how many processes there were."""
        found = self.processes()
        for pid in found:
            processes.send(pid, signal.SIGSTOP)
        wait_for(self.is_off, 10, f"{self.name} is off")
        if self.agent is not None:
            self.agent.wait()
        self.new_boot()
        before_start()
        self.start()
        return len(found)

    def is_off(self) -> bool:
        """Kills whatever is found; true once nothing is, and the kernel says that no GPU is held.

        The second look matters: in the middle of an exec a process shows no environment.
        """
        left = self.processes()
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        held = [lock for lock in witness.held_locks(self.witness) if lock.startswith(f"{self.name}-")]
        return not left and not held

    def stop(self) -> None:
        for process in (self.proxy, self.agent):
            if process is not None:
                process.kill()
                process.wait()
        for _ in range(3):
            for pid in self.processes():
                processes.send(pid, signal.SIGKILL)
        self.port.release()

    # What runs here

    def processes(self) -> set[int]:
        """Agent, shims and engines with their children; all carry the host's folder in their environment."""
        return with_environment(f"{self.folder}".encode()) - {self.proxy.pid if self.proxy else 0}

    def records(self) -> dict[str, dict[str, Any]]:
        """uuid -> record of every attempt that is not forgotten."""
        found = {}
        for path in (self.folder / "state" / "attempts").glob("*/record.json"):
            if (record := journal.read_json(path)) is not None:
                found[path.parent.name] = record
        return found

    def journals(self, *states: str) -> dict[str, journal.Journal]:
        """uuid -> journal of the attempts whose shim says one of `states`; `running` unless given."""
        found = {}
        for path in (self.folder / "state" / "attempts").glob("*/journal.json"):
            left = journal.read(path.parent)
            if left is not None and left.state in (states or ("running",)):
                found[path.parent.name] = left
        return found

    def starts(self) -> list[str]:
        """One line for each engine that ever started here."""
        lines = witness.lines_of(self.witness / "starts")
        return [line for line in lines if line.split()[1] == self.name]

    def pids(self, attempt: str) -> dict[str, int]:
        return witness.read_pids(self.witness, attempt)


def with_environment(text: bytes) -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if text in Path("/proc", entry, "environ").read_bytes() and processes.start_ticks(int(entry)):
                    found.add(int(entry))
    return found - {os.getpid()}


def of_attempt(attempt: str) -> set[int]:
    """Live processes of an attempt by their mark, with the witness's word for those it knows."""
    return with_environment(f"{processes.MARKER}={attempt}".encode())
