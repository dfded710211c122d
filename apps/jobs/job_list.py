"""What the Jobs page shows: its headline, filters and one page of rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection, transaction
from django.db.models import Count, Q, prefetch_related_objects
from django.utils import timezone
from psycopg.errors import QueryCanceled

from apps.accounts.access import has_role, teams_of
from apps.accounts.models import Role, User
from apps.accounts.paging import whole_number
from apps.fleet.models import Host
from apps.jobs.job_filters import STATES, JobFilter, filtered_jobs
from apps.jobs.models import Job, JobKind
from apps.jobs.occupancy import left_seconds
from apps.jobs.presentation import open_attempt, reason_sentence, state_word
from apps.jobs.querysets import JobQuerySet
from apps.jobs.services import engines_for
from apps.jobs.states import ACTIVE, RETRYABLE

PAGE_SIZE = 50
COUNT_SECONDS = 0.03
MOST_COUNTED = 1000  # above it a count says "1000+"; counting a million rows would take longer than the page


def job_list(user: User, asked: JobFilter, *, older_than: str = "", newer_than: str = "") -> dict[str, Any]:
    """The template's context. A cursor that is not ours shows the first page."""
    rows = filtered_jobs(user, asked)
    found, newer, older = _one_page(rows.filter(STATES[asked.show][1]), older_than, newer_than)
    prefetch_related_objects([job for job in found if job.status == "queued"], "after")  # others wait for nothing
    return {
        "headline": _headline(filtered_jobs(user, JobFilter())),
        "next_in_line": Job.objects.visible_to(user).waiting().first(),
        "rows": [job_row(job) for job in found],
        "older": older,
        "newer": newer,
        "asked": asked,
        "address": asked.address(),
        "tabs": _tabs(rows, asked),
        "selects": _selects(user, asked),
        "is_moving": any(not job.is_over for job in found),
        "may_act": has_role(user, Role.MEMBER),
    }


def _one_page(rows: JobQuerySet, older_than: str, newer_than: str) -> tuple[list[Job], int | None, int | None]:
    """Newest first, with the keys before which newer and after which older ones follow."""
    after, before = whole_number(newer_than), whole_number(older_than)
    rows = rows.for_list()
    if after is not None:
        found = list(rows.filter(pk__gt=after).order_by("pk")[: PAGE_SIZE + 1])
        if len(found) > PAGE_SIZE:
            page = found[PAGE_SIZE - 1 :: -1]
            return page, page[0].pk, page[-1].pk
        before = None  # fewer than a page are newer: that is the first page
    older = rows if before is None else rows.filter(pk__lt=before)
    found = list(older.order_by("-pk")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    is_first = before is None or not page or not rows.filter(pk__gt=page[0].pk).order_by("pk")[:1]
    return page, None if is_first else page[0].pk, page[-1].pk if len(found) > PAGE_SIZE else None


def _tabs(rows: JobQuerySet, asked: JobFilter) -> list[tuple[str, str, str, str]]:
    """(key, title, address, count) of each state; counts are empty where they would take too long."""
    counts = _counts([rows.filter(q) for _, q in STATES.values()])
    titles = ((key, title) for key, (title, _) in STATES.items())
    return [(key, title, asked.address(show=key), count) for (key, title), count in zip(titles, counts, strict=True)]


def _counts(sets: list[JobQuerySet]) -> list[str]:
    """All in one query, which has COUNT_SECONDS: filters that hardly ever meet are dear to count."""
    parts: list[str] = []
    values: list[Any] = []
    for rows in sets:
        try:
            text, more = rows.order_by().values("pk")[: MOST_COUNTED + 1].query.sql_with_params()
        except EmptyResultSet:
            text, more = "SELECT 1 WHERE false", ()
        parts.append(f"(SELECT count(*) FROM ({text}) AS counted)")  # noqa: S608  Django's own text
        values += more
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{1000 * COUNT_SECONDS:.0f}"])
            cursor.execute(f"SELECT {', '.join(parts)}", values)
            found = cursor.fetchone()
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return [""] * len(sets)
    return [_capped(number) for number in found]


def _count(rows: JobQuerySet) -> str:
    return _capped(rows.order_by()[: MOST_COUNTED + 1].count())


def _capped(number: int) -> str:
    return f"{MOST_COUNTED}+" if number > MOST_COUNTED else str(number)


def _selects(user: User, asked: JobFilter) -> list[dict[str, Any]]:
    """Those with anything to choose, and those that are set."""
    engines = sorted(name for kind in JobKind.values for name in engines_for(kind))
    people = [(person.username, str(person)) for person in User.objects.seen_by(user)]
    hosts = [(name, name) for name in Host.objects.order_by("name").values_list("name", flat=True)]
    choices = (
        ("kind", "Every kind", [(value, label) for value, label in JobKind.choices if engines_for(value)]),
        ("engine", "Every engine", [(name, name) for name in engines]),
        ("team", "Every team", [(team.slug, team.name) for team in teams_of(user)]),
        ("owner", "Every owner", people),
        ("host", "Every host", hosts),
    )
    rows = [
        {"name": name, "every": every, "options": options, "chosen": getattr(asked, name)}
        for name, every, options in choices
    ]
    return [row for row in rows if row["chosen"] or len(row["options"]) > 1]


def _headline(visible: JobQuerySet) -> str:
    counts: dict[str, Any] = visible.open().aggregate(
        running=Count("pk", filter=Q(status__in=ACTIVE)),
        waiting=Count("pk", filter=Q(status="queued")),
        held=Count("pk", filter=Q(status="held")),
    )
    yesterday = timezone.now() - timedelta(days=1)
    failed = _count(visible.filter(status="failed", finished_at__gte=yesterday))
    parts = [f"{counts[word]} {word}" for word in ("running", "waiting", "held") if counts[word]]
    if failed != "0":
        parts.append(f"{failed} failed in the last day")
    return ", ".join(parts) or "Nothing runs now"


def job_row(job: Job) -> dict[str, Any]:
    """One job as a table row or list item shows it."""
    attempt = open_attempt(job) or next(iter(job.attempts.all()), None)
    return {
        "job": job,
        "state": state_word(job),
        "host": attempt.host.name if attempt else "",
        "reason": reason_sentence(job),
        "elapsed_seconds": _elapsed(job),
        "left_seconds": left_seconds(job, attempt),
        "can_retry": job.status in RETRYABLE,
        "can_cancel": not job.is_over and job.status != "cancelling",
    }


def _elapsed(job: Job) -> float | None:
    if job.started_at is None:
        return None
    return ((job.finished_at or timezone.now()) - job.started_at).total_seconds()
