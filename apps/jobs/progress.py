"""What a host tells of a job's progress, and whether that is any."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from apps.jobs.lifecycle import note
from apps.jobs.models import Attempt, Job
from apps.jobs.policies import POLICIES
from apps.jobs.schemas import BeatIn


def take_progress(attempt: Attempt, each: BeatIn) -> None:
    """Keeps what a heartbeat says; anything new in it means that the job moves. The attempt is still as before."""
    job = attempt.job
    fields: dict[str, Any] = {"phase": each.phase} if each.phase else {}
    if each.progress_total:
        fields |= {
            "progress_done": each.progress_done,
            "progress_total": each.progress_total,
            "progress_unit": each.progress_unit[:20],
        }
    news = {name: value for name, value in fields.items() if getattr(job, name) != value}
    if news or each.measurements.keys() - attempt.measurements.keys():
        note_movement(job, **news)


def note_movement(job: Job, **news: Any) -> None:
    """It moves: a stall is over. `news` are its columns that change."""
    Job.objects.filter(pk=job.pk, finished_at=None).update(**news, progress_at=timezone.now(), stalled_at=None)
    if job.stalled_at is not None:
        note(job, "Moves again", tone="now")


def note_talk(job: Job) -> None:
    """New text in its log: movement for the kinds that have long steps without a count."""
    if POLICIES[job.kind].is_talk_progress:
        note_movement(job)
