"""Signing in with a password, slowly for whoever guesses."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from apps.accounts.audit import audit
from apps.accounts.models import AuditEvent, User
from apps.accounts.problems import Problem, invalid

FAILED = "login.failed"
WINDOW = timedelta(minutes=15)
FAILURES_PER_NAME, FAILURES_PER_ADDRESS = 8, 40


def check_password(request: HttpRequest, *, username: str, password: str) -> User:
    """The person behind name and password. Raises Problem 422, or 429 after too many failures."""
    username, address = username.strip()[:80], request.META.get("REMOTE_ADDR", "")
    _check_pace(username, address)
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        audit(None, FAILED, object_id=username, detail={"address": address})
        raise invalid("password", "The user name or the password is wrong. An admin can send you a new link.")
    audit(user, "login.succeeded", object_id=user.username, detail={"address": address})
    return user


def _check_pace(username: str, address: str) -> None:
    """Counts per name and address, so that nobody can lock a person out from elsewhere."""
    since = timezone.now() - WINDOW
    from_here = AuditEvent.objects.filter(action=FAILED, at__gt=since, detail__address=address)
    for failures, limit in (
        (from_here.filter(object_id=username), FAILURES_PER_NAME),
        (from_here, FAILURES_PER_ADDRESS),
    ):
        if failures.count() >= limit:
            last = failures.order_by("-at").values_list("at", flat=True)[limit - 1]
            minutes = max(1, round((last + WINDOW - timezone.now()).total_seconds() / 60))
            raise Problem(429, "Too many attempts", f"Too many failed attempts. Try again in {minutes} min.")


def safe_next(target: str) -> str:
    """A path on this site, or "" for anything else."""
    is_path = target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    return target if is_path else ""
