"""Writes that come too late: leases are copied while they hold, and used again after the attempt is over."""

from __future__ import annotations

import random
import threading
from typing import Any

import httpx

from tests.faults.host import FakeHost
from tests.faults.site import Site

LOOK_SECONDS = 0.4


class LateWrites:
    """Copies leases from the hosts' disks; `send` writes under one that has ended."""

    def __init__(self, site: Site, hosts: list[FakeHost]) -> None:
        self.site, self.hosts = site, hosts
        self.leases: dict[str, tuple[FakeHost, int, str]] = {}
        self.sent = 0
        self.accepted: list[str] = []
        self.must_stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.must_stop.set()

    def run(self) -> None:
        while not self.must_stop.wait(LOOK_SECONDS):
            for host in self.hosts:
                for uuid, record in host.records().items():
                    self.leases[uuid] = (host, record["epoch"], record["claim"]["lease_token"])

    def send(self, job: dict[str, Any], rng: random.Random) -> bool:
        """One late write of each kind under an ended attempt of `job`; False when it has none that is known."""
        ended = [each for each in job["attempts"] if each["ended_at"] and each["uuid"] in self.leases]
        if not ended:
            return False
        attempt = rng.choice(ended)
        host, epoch, token = self.leases[attempt["uuid"]]
        lease = {"epoch": epoch, "lease_token": token}
        for name, answer in self.writes(host, attempt["uuid"], lease):
            self.sent += 1
            is_refused = answer.status_code == 409
            if name == "heartbeat" and answer.status_code == 200:
                is_refused = answer.json()["attempts"][0]["answer"] == "gone"
            if not is_refused:
                self.accepted.append(f"{name} of {attempt['uuid']}: {answer.status_code} {answer.text[:100]}")
        self.check_finish(host, job, attempt, lease)
        return True

    def writes(self, host: FakeHost, uuid: str, lease: dict[str, Any]) -> list[tuple[str, httpx.Response]]:
        started = {"argv": ["late"], "env": {}, "files": {}, "env_prefix": "", "pid": 1}
        point = {"name": "loss", "step": 99, "value": 9.9, "at": "2026-01-01T00:00:00Z"}
        beat = lease | {"uuid": uuid, "phase": "running", "progress_done": 1, "progress_total": 2}
        wrong = {"epoch": lease["epoch"] + 1, "lease_token": lease["lease_token"]}
        end = {"exit_code": 0, "reason": None, "cause": "", "result": {"ok": True}}
        with self.client(host) as http:
            at = f"attempts/{uuid}"
            return [
                ("started", http.post(f"{at}/started", params=lease, json=started)),
                ("log", http.post(f"{at}/logs", params=lease | {"offset": 0}, content=b"late")),
                ("metrics", http.post(f"{at}/metrics", params=lease, json={"points": [point]})),
                ("output", http.post(f"{at}/outputs", params=lease | {"name": "late"}, content=b"late")),
                ("heartbeat", http.post("heartbeat", json={"attempts": [beat]})),
                ("claim", http.post(f"{at}/claim", json={"epoch": lease["epoch"]})),
                ("finish of another epoch", http.post(f"{at}/finish", json=wrong | end)),
                (
                    "finish with another token",
                    http.post(f"{at}/finish", json=end | {"epoch": lease["epoch"], "lease_token": "other"}),
                ),
            ]

    def check_finish(self, host: FakeHost, job: dict[str, Any], attempt: dict[str, Any], lease: dict[str, Any]) -> None:
        """Told again under the right lease, an end is answered, but it changes nothing."""
        turned = {"exit_code": 7, "reason": None if attempt["reason"] else "engine_exited", "cause": "late"}
        with self.client(host) as http:
            http.post(f"attempts/{attempt['uuid']}/finish", json=lease | turned | {"result": {"ok": True}})
        self.sent += 1
        after = self.site.get(f"jobs/{job['id']}")
        now = next(each for each in after["attempts"] if each["uuid"] == attempt["uuid"])
        kept = ("exit_code", "reason", "cause", "ended_at")
        if [now[name] for name in kept] != [attempt[name] for name in kept]:
            self.accepted.append(f"finish of {attempt['uuid']} again: {now}")

    def client(self, host: FakeHost) -> httpx.Client:
        """As the host itself, without its proxy."""
        headers = {"Stackweb-Protocol": "1", "Authorization": f"Bearer {host.token}"}
        return httpx.Client(base_url=f"{self.site.url}/api/worker/v1/", headers=headers, timeout=20)
