"""An attempt that KILL does not end: its host is drained, and its GPU is not freed, so nothing reuses it."""

from __future__ import annotations

from apps.accounts.audit import audit
from apps.fleet.models import Host
from apps.jobs.lifecycle import note
from apps.jobs.models import Attempt, JobEvent

SAID = "Cannot be killed"


def note_stuck(attempt: Attempt) -> None:
    """Takes the host out of use until an operator uncordons it; one that is drained already keeps its reason.

    Saying it again changes nothing. Whoever calls has locked the host before the attempt.
    """
    host = attempt.host
    sentence = f"Processes of {attempt.job.public_id} cannot be killed; restart {host.name}, or fence it."
    works = Host.objects.filter(pk=host.pk).exclude(cordoned=True, is_draining=True)
    if works.update(cordoned=True, is_draining=True, cordon_reason=sentence):
        detail = {"reason": sentence, "attempt": str(attempt.uuid)}
        audit(None, "host.drained", object_id=host.name, object_name=host.name, detail=detail)
    if not JobEvent.objects.filter(attempt=attempt, what=SAID).exists():
        note(attempt.job, SAID, detail=sentence, tone="bad", attempt=attempt)
