"""What the first jobs without room could be instead, so that they run now: an endpoint in another precision, a
fine-tune with a smaller batch.

A plan costs some queries, so a job keeps what it was told for ten minutes, or until the free room changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.jobs.kinds import handler_of
from apps.jobs.models import Job
from apps.jobs.queue import WaitingJob
from apps.planning.placement import HostOffer, find_place

KEPT_SECONDS = 600  # then a version that was imported meanwhile is seen too


def cheaper_now(waiting: Sequence[WaitingJob], offered: Sequence[HostOffer]) -> dict[int, str]:
    """Job -> the sentence that names its first smaller plan with a place now; those that have none are left out."""
    if not waiting:
        return {}
    jobs = Job.objects.in_bulk([each.pk for each in waiting])
    room, now = repr(offered), timezone.now().timestamp()
    news: list[Job] = []
    told: dict[int, str] = {}
    for each in waiting:
        if job := jobs.get(each.pk):
            kept: dict[str, Any] = job.replan or {}
            made_for = hashlib.sha256(f"{each.need} {room}".encode()).hexdigest()
            if kept.get("made_for") != made_for or now > kept["made_at"] + KEPT_SECONDS:
                kept = {"made_for": made_for, "made_at": now, "sentence": _sentence(job, each, offered)}
                job.replan = kept
                news.append(job)
            told[each.pk] = kept["sentence"]
    if news:
        _keep(news)
    return {pk: sentence for pk, sentence in told.items() if sentence}


@transaction.atomic
def _keep(news: Sequence[Job]) -> None:
    """One that somebody else works on is worked out again by the next look."""
    free = Job.objects.filter(pk__in=[job.pk for job in news]).lock_free()
    Job.objects.bulk_update([job for job in news if job.pk in free], ["replan"])


def _sentence(job: Job, waiting: WaitingJob, offered: Sequence[HostOffer]) -> str:
    free = replace(waiting.need, gpus=min(1, waiting.need.gpus), vram_bytes=0, ram_bytes=0)
    if find_place(free, offered) is None:  # not even the smallest would have room
        return ""
    for plan in handler_of(job).cheaper_plans(job):
        need = replace(waiting.need, gpus=plan.gpus, vram_bytes=plan.vram_bytes, ram_bytes=plan.ram_bytes)
        if answer := find_place(need, offered):
            return f"Or runs now {plan.words} on {answer.host}."
    return ""
