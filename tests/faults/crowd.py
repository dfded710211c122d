"""The people of the rig: they submit fine-tunes, patiently and each wish once, and keep what was promised."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.site import Site
from tests.faults.timing import LEASE_SECONDS

LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Promise:
    """An answer 201: from here on the job may not be lost."""

    name: str
    job: str
    steps: int
    fine_tune: str


class Crowd:
    """Keeps a few jobs waiting while `start`ed. A wish without an answer is sent again under the same key."""

    def __init__(self, site: Site, seed: int, base: str, dataset: str, waiting: int) -> None:
        self.site, self.base, self.dataset, self.waiting = site, base, dataset, waiting
        self.random = random.Random(f"crowd {seed}")
        self.promises: list[Promise] = []
        self.refusals: list[str] = []
        self.number = 0
        self.wish: dict[str, object] = {}
        self.has_gone = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.api = httpx.Client(base_url=site.api.base_url, headers=site.api.headers, timeout=15)

    def start(self) -> None:
        self.thread.start()

    def go_home(self) -> None:
        """Nothing new; the wish under way gets its answer first."""
        self.has_gone.set()
        self.thread.join(120)
        self.api.close()

    def run(self) -> None:
        while not self.has_gone.wait(LOOK_SECONDS) or self.wish:
            try:
                if self.wish or self.is_quiet():
                    self.submit()
            except httpx.TransportError:
                continue

    def is_quiet(self) -> bool:
        answer = self.api.get("jobs", params={"status": "queued", "limit": 200})
        return answer.status_code == 200 and len(answer.json()["items"]) < self.waiting

    def submit(self) -> None:
        if not self.wish:
            self.number += 1
            # Half of them outlive a lease that nobody renews: only those can be given away while they run.
            least, most = self.random.choice([(1.0, 5.0), (LEASE_SECONDS + 3.0, 3.0 * LEASE_SECONDS)])
            seconds, steps = round(self.random.uniform(least, most), 1), self.random.randint(3, 9)
            is_deaf = self.random.random() < 0.15
            self.wish = self.wish_for(f"run-{self.number}", seconds=seconds, steps=steps, ignore_term=is_deaf)
        answer = self.api.post("fine-tunes", json=self.wish, headers={"Idempotency-Key": str(self.wish["name"])})
        if answer.status_code in (200, 201):
            self.note(self.wish, answer.json())
            self.wish = {}
        elif answer.status_code < 500:
            self.refusals.append(f"{self.wish['name']}: {answer.status_code} {answer.text[:300]}")
            self.wish = {}

    def ask(self, name: str, **options: object) -> Promise:
        """One job more than the crowd's own, by another person, at once."""
        wish = self.wish_for(name, **{"steps": 4} | options)
        return self.note(wish, self.site.post("fine-tunes", wish, key=name))

    def wish_for(self, name: str, **options: object) -> dict[str, object]:
        return {
            "name": name, "base": self.base, "dataset": self.dataset, "engine": "fake-train", "options": options,
        }  # fmt: skip

    def note(self, wish: dict[str, object], made: dict[str, Any]) -> Promise:
        steps = int(wish["options"]["steps"])  # type: ignore[index]
        promise = Promise(str(wish["name"]), made["job"]["id"], steps, made["id"])
        self.promises.append(promise)
        return promise
