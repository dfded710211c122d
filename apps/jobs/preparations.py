"""What the scheduler asked of one host for a waiting job: the install and the downloads that it waits for there.

They bind nobody. Where their host takes no work, the job is placed on another one and leaves them behind; an
install or a copy that nobody else waits for, and no person asked for, is then cancelled while it still waits.
What already runs goes on: a host that comes back has it.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q

from apps.fleet.models import Host
from apps.fleet.offers import blocked_sentence
from apps.jobs.lifecycle import note, switch_status
from apps.jobs.models import Job
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus, Owner

PREPARING = ("install", "download")


def leave_preparations(job: Job, host: Host) -> None:
    """`job` goes to `host`, so nothing that is unfinished on another one holds it up."""
    before = job.prepared_on
    if before is None or before == host:
        return
    left = list(job.after.open().filter(kind__in=PREPARING, pinned_host=before))
    if left:
        job.after.remove(*left)
        blocked = blocked_sentence(before) or "could not take it"
        note(job, f"Prepared on {host.name} instead", detail=f"{before.name} {blocked}.", tone="warn")
        _withdraw(left, f"{before.name} {blocked}; {job.public_id} is prepared on {host.name} instead.")
    Job.objects.filter(pk=job.pk).update(prepared_on=None)


def drop_cancelled_preparations(job: Job) -> bool:
    """What several jobs wait for, one person's cancel does not take from the others: True where it waited for some."""
    gone = list(job.after.filter(status=JobStatus.CANCELLED, kind__in=PREPARING, created_by=None).order_by("pk"))
    if gone:
        job.after.remove(*gone)
        named = ", ".join(f"{each.public_id} ({each.name})" for each in gone)
        note(job, "Prepared anew", detail=f"{named} was cancelled.", tone="warn")
    return bool(gone)


def withdraw_preparations(host: Host, why: str) -> None:
    """For a host that takes part no more. Its jobs are placed anew; whoever joins under its name starts afresh."""
    waiting = Job.objects.filter(status=JobStatus.QUEUED, prepared_on=host)
    locked = list(waiting.select_for_update(no_key=True).order_by("pk"))  # before what they wait for
    theirs = Q(kind__in=PREPARING, pinned_host=host)
    for job in locked:
        job.after.remove(*job.after.open().filter(theirs))
    Job.objects.filter(pk__in=[job.pk for job in locked]).update(prepared_on=None)
    _withdraw(Job.objects.filter(theirs, status=JobStatus.QUEUED), why)


def _withdraw(jobs: Iterable[Job], why: str) -> None:
    """Those that still wait, that no person asked for, and that no other job waits for."""
    keys = [job.pk for job in jobs if job.created_by_id is None]
    unneeded = Job.objects.filter(pk__in=keys, status=JobStatus.QUEUED)
    for job in unneeded.select_for_update().order_by("pk"):  # its key too: no other comes to wait for it meanwhile
        if job.followers.open().exists():
            continue
        switch_status(
            job,
            JobStatus.CANCELLED,
            by=Owner.PERSON,
            what="Cancelled: no job needs it any more",
            event={"detail": why},
            reason=Reason.NOT_NEEDED,
            cause=why,
        )
