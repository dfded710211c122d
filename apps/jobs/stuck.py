"""An attempt that KILL does not end: its host is drained, and its GPU is not freed, so nothing reuses it."""

from __future__ import annotations

from apps.accounts.audit import audit
from apps.fleet.models import Host
from apps.jobs.lifecycle import note
from apps.jobs.models import Attempt


def note_stuck(attempt: Attempt) -> None:
    """Takes the host out of use until an operator uncordons it. Saying it again changes nothing."""
    host = attempt.host
    sentence = f"Processes of {attempt.job.public_id} cannot be killed; restart {host.name}, or fence it."
    is_new = Host.objects.filter(pk=host.pk).exclude(cordoned=True, is_draining=True, cordon_reason=sentence)
    if is_new.update(cordoned=True, is_draining=True, cordon_reason=sentence):
        note(attempt.job, "Cannot be killed", detail=sentence, tone="bad", attempt=attempt)
        detail = {"reason": sentence, "attempt": str(attempt.uuid)}
        audit(None, "host.drained", object_id=host.name, object_name=host.name, detail=detail)
