"""Hosts that report to a server, as their workers do."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

GPUS = 8  # of a host


class Reporting:
    """Every host as its worker talks: each 5 s a heartbeat of all its attempts and a sample of its GPUs."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        from apps.jobs.models import Attempt

        self.url, self.tokens = url, tokens
        self.beats: dict[str, list[dict[str, Any]]] = {name: [] for name in tokens}
        for uuid, epoch, name in Attempt.objects.open().values_list("uuid", "epoch", "host__name"):
            beat = {"uuid": str(uuid), "epoch": epoch, "lease_token": "token", "phase": "running"}
            self.beats[name].append(beat)
        self.sent, self.failed = 0, ""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in enumerate(tokens)]

    def __enter__(self) -> Reporting:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def check(self) -> None:
        assert self.sent, "no host said anything"
        assert not self.failed, self.failed

    def _talk(self, host: tuple[int, str]) -> None:
        import httpx

        number, name = host
        headers = {"Authorization": f"Bearer {self.tokens[name]}", "Stackweb-Protocol": "1"}
        with httpx.Client(base_url=f"{self.url}/api/worker/v1", headers=headers, timeout=30) as client:
            self._stop.wait(5 * number / len(self.tokens))
            while not self._stop.is_set():
                now = datetime.now(UTC) - timedelta(seconds=1)
                step = {"progress_done": now.timestamp() % 1000, "progress_total": 1000, "progress_unit": "steps"}
                self._say(client, "heartbeat", {"attempts": [beat | step for beat in self.beats[name]]})
                gpus = [gpu_load(f"{name}-{n}") for n in range(GPUS)]
                load = {"cpu_percent": 20, "ram_used_bytes": 1 << 30, "disk_free_bytes": 1 << 40, "gpus": gpus}
                self._say(client, "telemetry", {"samples": [{"at": now.isoformat(), **load}]})
                self._stop.wait(5)

    def _say(self, client: Any, path: str, body: dict[str, Any]) -> None:
        answer = client.post(path, json=body)
        self.sent += 1
        if answer.status_code >= 300:
            self.failed = f"{path}: {answer.status_code} {answer.text[:200]}"


def gpu_load(uuid: str) -> dict[str, Any]:
    load = {"util_percent": 50, "memory_used_bytes": 40 << 30, "temperature_c": 60, "power_w": 300.5}
    return {"uuid": uuid} | load
