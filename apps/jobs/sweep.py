"""One look at the whole queue: the picture it works on, and what it decides about each job (scheduling.py)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError

from apps.fleet.offers import fleet_now
from apps.fleet.reservations import DeviceTaken, NoFreePort
from apps.jobs.decisions import fail_with_predecessor, prepare_on, start_or_prepare, waits_for
from apps.jobs.kinds import CannotPrepare, handler_of
from apps.jobs.models import Job
from apps.jobs.occupancy import STOP_SECONDS, tenants
from apps.jobs.queue import Predecessor, WaitingJob, unfinished_predecessors, waiting_jobs
from apps.jobs.quotas import next_month, team_limits
from apps.jobs.stopping import ask_to_move
from apps.jobs.waits import Wait, add_estimates
from apps.planning.placement import Choice, HostOffer, Need, Refusal, find_place, place, taken_from
from apps.planning.preemption import choose_victims, without
from apps.planning.timeline import SOMETIME, FleetTimeline, Hold, Tenant, hold_for

TAKEN = "Its place was taken at the same moment; it is tried again within seconds."


class Sweep:
    """`give_up_at` is by the monotonic clock; `is_unfinished` says that another look is due at once."""

    def __init__(self, now: datetime, *, patience: timedelta, give_up_at: float) -> None:
        self.now, self.patience, self.give_up_at = now, patience, give_up_at
        self.queue = waiting_jobs()
        self.before = unfinished_predecessors()
        self.limits = team_limits({job.team_id for job in self.queue if job.need.gpus}, now)
        self.waits: list[Wait] = []
        self.holds: list[Hold] = []
        self.no_room: dict[object, Wait] = {}  # by need: one refusal answers for all
        self.cannot: dict[object, tuple[Need, str]] = {}  # by need and files
        self.quota_hints: dict[Need, str] = {}
        self.started = 0
        self.is_unfinished = False
        self._look_at_fleet()

    def _look_at_fleet(self) -> None:
        picture = fleet_now()
        self.hosts = {host.name: host for host in picture.hosts}
        self.tenants: list[Tenant] = tenants(picture.holders, self.now)

    def run(self) -> None:
        for job in self.queue:
            if self.started and time.monotonic() > self.give_up_at:
                self.is_unfinished = True
                return
            if (wait := self._decide(job)) is not None:
                self.waits.append(wait)

    def explained(self) -> Sequence[Wait]:
        kept = list(self.hosts.values())
        for hold in self.holds:
            kept = [hold.hide(host) for host in kept]
        add_estimates(self.waits, list(self.hosts.values()), kept, self.tenants, self.now)
        return self.waits

    def _decide(self, job: WaitingJob) -> Wait | None:
        """None when it waits no longer."""
        if others := [other for other in self.before.get(job.pk, ()) if not self._is_stranded(other)]:
            return self._after(job, others)
        if refusal := self.limits.refusal(job.team_id, job.need.gpus):
            return self._over_quota(job, refusal)
        # A server may stop others, by its priority; its time limit lets a job in where GPUs are kept.
        key = (job.need, job.seconds if self.holds else None, job.kind == "serve" and job.priority)
        if key in self.no_room:
            return Wait(job, self.no_room[key].reason, lacks_room=True)
        if (job.need, job.files) in self.cannot:
            return self._wait_bound(job, *self.cannot[job.need, job.files])
        answer = place(job.need, self._offered_to(job))
        if isinstance(answer, Choice):
            return self._start(job)
        self.no_room[key] = Wait(job, answer.reason, lacks_room=True)
        wait = Wait(job, answer.reason, lacks_room=True)
        self._make_room(job, wait)
        return wait

    def _is_stranded(self, other: Predecessor) -> bool:
        """It prepares a host that takes no work: the job may as well go to another one."""
        host = self.hosts.get(other.prepares or "")
        return other.prepares is not None and not other.has_failed and (host is None or bool(host.blocked))

    def _after(self, job: WaitingJob, others: Sequence[Predecessor]) -> Wait | None:
        if any(other.has_failed for other in others):
            self.is_unfinished |= fail_with_predecessor(job_pk=job.pk)
            return None
        return Wait(job, waits_for(others[0].label, others[0].name))

    def _over_quota(self, job: WaitingJob, refusal: str) -> Wait:
        if job.need not in self.quota_hints:
            answer = find_place(job.need, self._offered_to(job))
            where = f"Starts now on {answer.host} once an admin raises" if answer else "An admin can raise"
            self.quota_hints[job.need] = f"{where} the quota in Settings."
        wait = Wait(job, refusal, self.quota_hints[job.need])
        if self.limits.is_out_of_hours(job.team_id):
            wait.expected_start_at = next_month(self.now)
        return wait

    def _offered_to(self, job: WaitingJob) -> list[HostOffer]:
        """What is free, less what is kept for others."""
        offers = list(self.hosts.values())
        for hold in self.holds:
            if hold.label != job.label and not hold.lets_in(now=self.now.timestamp(), seconds=job.seconds):
                offers = [hold.hide(host) for host in offers]
        return offers

    def _start(self, job: WaitingJob) -> Wait | None:
        """On the best host; the one prepared for it and those with the files come first, which only now are asked."""
        row, offers = Job.objects.get(pk=job.pk), self._offered_to(job)
        prepared = find_place(replace(job.need, host=job.prepared_on), offers) if job.prepared_on else None
        choice = prepared or place(job.need, offers, preferred=handler_of(row).preferred_hosts(row))
        if isinstance(choice, Refusal):
            return Wait(job, choice.reason, lacks_room=True)
        try:
            why = start_or_prepare(job=job, choice=choice)
        except CannotPrepare as refusal:
            return self._wait_for_files(job, row, str(refusal))
        except NoFreePort as refusal:
            self.cannot[job.need, job.files] = job.need, str(refusal)
            return Wait(job, str(refusal))
        except (DeviceTaken, IntegrityError):
            self._look_at_fleet()
            return Wait(job, TAKEN)
        if why:
            return Wait(job, why)
        self._note_start(job, choice)
        return None

    def _wait_for_files(self, job: WaitingJob, row: Job, refusal: str) -> Wait:
        """Nothing brings them to where there is room, so it waits for a host that has them and could take it."""
        need, reason = job.need, refusal
        for name in handler_of(row).preferred_hosts(row) if need.host is None else ():
            answer = place(replace(job.need, host=name), self._offered_to(job))
            if isinstance(answer, Refusal) and answer.can_wait:
                need, reason = replace(job.need, host=name), f"Its files lie only on {name}. {answer.reason}"
                break
        self.cannot[job.need, job.files] = need, reason
        return self._wait_bound(job, need, reason)

    def _wait_bound(self, job: WaitingJob, need: Need, reason: str) -> Wait:
        """`need` names a host where the job's own does not, if its files bind it there."""
        is_bound = need != job.need
        hint = "It starts elsewhere once its files lie there too." if is_bound else ""
        return Wait(replace(job, need=need), reason, hint, lacks_room=is_bound)

    def _note_start(self, job: WaitingJob, choice: Choice) -> None:
        self.started += 1
        self.hosts[choice.host] = taken_from(self.hosts[choice.host], job.need, choice)
        self.limits.note_placed(job.team_id, job.need.gpus)
        ends_at = self.now.timestamp() + job.seconds if job.seconds else SOMETIME
        self.tenants.append(
            Tenant(
                key=job.label,
                label=job.label,
                host=choice.host,
                devices=choice.devices,
                slots=choice.slots,
                ram_bytes=job.need.ram_bytes,
                ends_at=float("inf") if job.kind == "serve" else ends_at,
            )
        )

    def _make_room(self, job: WaitingJob, wait: Wait) -> None:
        """For a server by stopping what may be stopped; for one that waits too long by keeping what gets free."""
        if job.kind == "serve" and (self._keep_what_is_left(job, wait) or self._stop_others(job, wait)):
            return
        if self.holds or self.now - job.created_at < self.patience:
            return
        start = FleetTimeline(list(self.hosts.values()), self.tenants, self.now.timestamp()).earliest(job.need)
        if start is not None and (hold := hold_for(job.need, start, label=job.label)):
            self.holds.append(hold)

    def _keep_what_is_left(self, job: WaitingJob, wait: Wait) -> bool:
        """True when those that are stopping already leave enough; it is kept for this job."""
        soon = self._offered_to(job)
        stopping = [tenant for tenant in self.tenants if tenant.is_stopping and tenant.devices]
        for tenant in stopping:
            soon = [without(host, tenant) if host.name == tenant.host else host for host in soon]
        answer = find_place(job.need, soon) if stopping and job.need.gpus else None
        if answer is None:
            return False
        until = self.now.timestamp() + STOP_SECONDS
        self.holds.append(Hold(job.label, answer.host, frozenset(answer.devices), False, until))
        here = ", ".join(tenant.label for tenant in stopping if tenant.host == answer.host)
        wait.reason = f"Waits until {here} {'have' if ',' in here else 'has'} stopped on {answer.host}."
        return True

    def _stop_others(self, job: WaitingJob, wait: Wait) -> bool:
        """Each is told by its host, and only its confirmed death frees its GPUs; an unclaimed one ends at once.

        What the server needs on that host is brought first, so that nothing is stopped in vain.
        """
        victims = choose_victims(job.need, self._offered_to(job), self.tenants, priority=job.priority)
        if not victims:
            return False
        try:
            why = prepare_on(job_pk=job.pk, host_name=victims[0].host)
        except CannotPrepare as refusal:
            why = str(refusal)
        except DeviceTaken:
            why = TAKEN
        if why:
            wait.reason, wait.lacks_room = why, False
            return True
        for victim in victims:
            ask_to_move(attempt_uuid=UUID(victim.key), why=f"Makes room for {job.label}, {job.name}")
        wait.reason = f"Makes room: asked {', '.join(each.label for each in victims)} to stop."
        self.is_unfinished = True  # what was not claimed yet is free at once
        return True
