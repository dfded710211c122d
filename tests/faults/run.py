"""One run of the rig: what happened, what was found, and the answers that faults need from the site."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults import witness
from tests.faults.host import FakeHost
from tests.faults.rig import Rig
from tests.faults.site import NotInTime, Site, wait_for
from workers import journal, processes

NORMAL_SECONDS = 60.0
LIVE = ("queued", "starting", "running", "cancelling")


@dataclass
class Happened:
    id: str
    name: str
    at_seconds: float  # since the run began
    took_seconds: float
    found: str


@dataclass
class Run:
    rig: Rig
    random: random.Random
    happened: list[Happened] = field(default_factory=list)
    misses: list[tuple[str, str]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)  # for whoever looks into a miss
    asked_late: set[str] = field(default_factory=set)
    adoptions: int = 0  # engines that were alive when their agent was killed
    adopted: int = 0  # of these, alive as the same process after it
    began: float = field(default_factory=time.monotonic)

    @property
    def site(self) -> Site:
        return self.rig.site

    def miss(self, id: str, what: str) -> None:
        self.misses.append((id, what))

    def watch(self, is_true: Callable[[], object], seconds: float, id: str, what: str) -> float:
        """Seconds until `is_true()`; a miss after `seconds`."""
        try:
            return wait_for(is_true, seconds, what)
        except NotInTime as late:
            self.miss(id, str(late))
            return seconds

    def any_host(self) -> FakeHost:
        """One that works, if any does."""
        busy = [host for host in self.rig.hosts if host.journals()]
        return self.random.choice(busy or self.rig.hosts)

    def any_attempt(self) -> tuple[FakeHost, str, journal.Journal]:
        """A running one. Raises NotInTime when there is none for long."""
        found: list[tuple[FakeHost, str, journal.Journal]] = []

        def look() -> bool:
            for host in self.rig.hosts:
                found.extend((host, uuid, left) for uuid, left in sorted(host.journals().items()) if host.pids(uuid))
            return bool(found)

        wait_for(look, NORMAL_SECONDS, "an attempt runs")
        return self.random.choice(found)

    def where(self, job: str) -> tuple[FakeHost, str]:
        """Host and attempt of a job, once its engine runs."""
        found: list[tuple[FakeHost, str]] = []

        def look() -> bool:
            attempts = {each["uuid"] for each in self.rig.job(job)["attempts"] if each["ended_at"] is None}
            for host in self.rig.hosts:
                found.extend((host, uuid) for uuid in host.journals() if uuid in attempts and host.pids(uuid))
            return bool(found)

        wait_for(look, NORMAL_SECONDS, f"{job} runs")
        return found[0]

    def ends(self, job: str, status: str, seconds: float = 60.0) -> None:
        """Waits. Raises NotInTime, also when it ended otherwise."""
        wait_for(lambda: self.rig.job(job)["finished_at"], seconds, f"{job} ends")
        found = self.rig.job(job)
        if found["status"] != status:
            raise NotInTime(f"{job} is {found['status']}, not {status}: {found['reason']} {found['cause']}")

    def open_jobs(self) -> list[dict[str, Any]]:
        return [row for status in LIVE for row in self.site.all("jobs", kind="train", status=status)]

    def lives_or_ended_well(self, host: FakeHost, uuid: str, left: journal.Journal) -> bool:
        if processes.is_same(left.engine_pid, left.engine_ticks):
            return True
        return uuid in witness.lines_of(self.rig.witness / "effects")

    def disk_was_full(self, job: dict[str, Any]) -> bool:
        full = self.rig.small_disk.name if self.rig.small_disk else ""
        return any(attempt["host"] == full for attempt in job["attempts"])

    def flow_again(self, id: str) -> float:
        """Seconds until one more engine starts; the crowd always has something waiting."""
        starts = self.rig.witness / "starts"
        before = len(witness.lines_of(starts))
        seconds = self.watch(lambda: len(witness.lines_of(starts)) > before, NORMAL_SECONDS, id, "an engine starts")
        if seconds >= NORMAL_SECONDS:
            self.notes.append(self.site.why_stuck())
        return seconds

    def send_late_write(self) -> None:
        """Under one lease that is over, as if it had been on its way since."""
        known = [each for each in self.rig.crowd.promises if each.job not in self.asked_late]
        for promise in known[:3]:
            job = self.site.get(f"jobs/{promise.job}")
            if job["finished_at"] and self.rig.late.send(job, self.random):
                self.asked_late.add(promise.job)
                return
