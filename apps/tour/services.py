"""Starts a tour, and moves every running tour on by one look."""

from __future__ import annotations

import logging

from django.db import transaction
from django.utils import timezone

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem, conflict
from apps.tour.models import TourRun
from apps.tour.steps import STEPS, StepFailed

logger = logging.getLogger(__name__)


@transaction.atomic
def start_tour(*, team: Team, user: User) -> TourRun:
    """A new run of the whole loop. Raises Problem 409 while one of the team runs already."""
    require_role(user, Role.MEMBER, team)
    Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    running = TourRun.objects.filter(team=team, status="running").first()
    if running is not None:
        raise conflict(f"{running.public_id} is under way.", tour=running.public_id)
    steps = [{"key": step.key, "title": step.title, "status": "waiting", "facts": {}} for step in STEPS]
    tour = TourRun.objects.create(team=team, created_by=user, steps=steps)
    audit(user, "tour.started", object_id=tour.public_id, team=team)
    return tour


def advance_tours() -> None:
    for pk in list(TourRun.objects.filter(status="running").values_list("pk", flat=True)):
        with transaction.atomic():
            tour = TourRun.objects.select_for_update(skip_locked=True).filter(pk=pk, status="running").first()
            if tour is not None:
                _advance(tour)
                tour.save()


def _advance(tour: TourRun) -> None:
    """One look at the first step that is not done; the last step's end is the tour's."""
    place = next(i for i, step in enumerate(tour.steps) if step["status"] != "done")
    state, step = tour.steps[place], STEPS[place]
    try:
        with transaction.atomic():
            if state["status"] == "waiting":
                state["started_at"] = timezone.now().isoformat()
                state["facts"] = step.start(tour)
                state["status"] = "running"
            outcome = step.look(tour, state["facts"])
    except (StepFailed, Problem) as failure:
        _end(tour, state, "failed", str(failure))
    except Exception as error:
        logger.exception("%s: step %s", tour.public_id, step.key)
        _end(tour, state, "failed", f"Stackweb failed here: {error}")
    else:
        if outcome is not None:
            state["facts"] |= outcome
            state["status"], state["finished_at"] = "done", timezone.now().isoformat()
            if place == len(STEPS) - 1:
                tour.status, tour.finished_at = "passed", timezone.now()


def _end(tour: TourRun, state: dict[str, object], status: str, detail: str) -> None:
    state["status"], state["finished_at"] = status, timezone.now().isoformat()
    state["facts"] = {**dict(state.get("facts") or {}), "detail": detail}  # type: ignore[call-overload]
    tour.status, tour.finished_at = status, timezone.now()
