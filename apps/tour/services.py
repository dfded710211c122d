"""Starts a tour, and moves every running tour on by one look."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem, conflict
from apps.accounts.services import lock_team
from apps.tour.models import TourRun
from apps.tour.steps import STEPS, Step, StepFailed

_LOCK_SPACE = 7_301
logger = logging.getLogger(__name__)


@transaction.atomic
def start_tour(*, team: Team, user: User) -> TourRun:
    """A new run of the whole loop. Raises Problem 409 while one of the team runs already."""
    require_role(user, Role.MEMBER, team)
    lock_team(team)
    running = TourRun.objects.filter(team=team, status="running").first()
    if running is not None:
        raise conflict(f"{running.public_id} is under way.", tour=running.public_id)
    steps = [{"key": step.key, "title": step.title, "status": "waiting", "facts": {}} for step in STEPS]
    tour = TourRun.objects.create(team=team, created_by=user, steps=steps)
    audit(user, "tour.started", object_id=tour.public_id, team=team)
    return tour


def advance_tours() -> None:
    for pk in list(TourRun.objects.filter(status="running").values_list("pk", flat=True)):
        with _only_one_looks(pk) as mine:
            tour = TourRun.objects.filter(pk=pk, status="running").first() if mine else None
            if tour is not None:
                _advance(tour)


@contextmanager
def _only_one_looks(pk: int) -> Iterator[bool]:
    """Yields False while another process looks at this tour. A lock of the session, not of a transaction:
    what a step starts must be committed before the step can look at it from outside."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_SPACE, pk])
        mine = bool(cursor.fetchone()[0])
        try:
            yield mine
        finally:
            if mine:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK_SPACE, pk])


def _advance(tour: TourRun) -> None:
    """One look at the first step that is not done; the last step's end is the tour's."""
    place = next(i for i, step in enumerate(tour.steps) if step["status"] != "done")
    state, step = tour.steps[place], STEPS[place]
    try:
        if state["status"] == "waiting":
            _start(tour, state, step)
        outcome = step.look(tour, state["facts"])
    except (StepFailed, Problem) as failure:
        _fail(tour, state, str(failure))
    except Exception as error:
        logger.exception("%s: step %s", tour.public_id, step.key)
        _fail(tour, state, f"Stackweb failed here: {error}")
    else:
        if outcome is not None:
            state["facts"] |= outcome
            state["status"], state["finished_at"] = "done", timezone.now().isoformat()
            if place == len(STEPS) - 1:
                tour.status, tour.finished_at = "passed", timezone.now()
            tour.save()


@transaction.atomic
def _start(tour: TourRun, state: dict[str, Any], step: Step) -> None:
    """What the step started and the memory of it are kept together, so nothing is started twice."""
    facts = step.start(tour)
    state |= {"started_at": timezone.now().isoformat(), "facts": facts, "status": "running"}
    tour.save()


def _fail(tour: TourRun, state: dict[str, Any], why: str) -> None:
    state["status"], state["finished_at"] = "failed", timezone.now().isoformat()
    state["facts"] = state["facts"] | {"detail": why}
    tour.status, tour.finished_at = "failed", timezone.now()
    tour.save()
