"""Several jobs asked for at once, each a step that may come after others: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.db import transaction
from ninja import Schema
from pydantic import ValidationError

from apps.accounts.audit import audit
from apps.accounts.models import User
from apps.accounts.problems import FieldError, Problem, invalid, unknown_choice
from apps.jobs.kinds import handler_of_kind, submittable_kinds
from apps.jobs.models import Job, JobKind

MAX_STEPS = 50
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_JOB_ID = re.compile(r"job-\d+")


class StepIn(Schema, extra="forbid"):
    """`body` is what the REST create of that kind takes: /fine-tunes for train, /eval-runs for evaluate,
    /endpoints for serve. In it, the name of an earlier step may stand where a job's id may: in `from_job` and
    in the `from` of an option that is taken from a result."""

    name: str
    kind: str
    after: list[str] = []  # names of steps that must succeed first
    body: dict[str, Any]


class PipelineIn(Schema, extra="forbid"):
    steps: list[StepIn]
    team: str | None = None


@transaction.atomic
def submit_pipeline(user: User, asked: PipelineIn) -> list[tuple[str, Job]]:
    """The name and the job of each step, as they were given.

    Raises Problem 422 for a wrong name or kind, a step that is not there, and a cycle, which it names; and
    what the create of a step raises, its fields under `steps.N.body`.
    """
    order = _order(asked.steps)
    places = {step.name: place for place, step in enumerate(asked.steps)}
    jobs: dict[str, Job] = {}
    for name in order:
        step = asked.steps[places[name]]
        ids = {earlier: job.public_id for earlier, job in jobs.items()}
        body = _with_ids(step.body, ids) | {"after": [*_given_after(step), *(ids[each] for each in step.after)]}
        if asked.team is not None:
            body.setdefault("team", asked.team)
        jobs[name] = _submit(user, step.kind, body, f"steps.{places[name]}.body")
    first = jobs[order[0]]
    detail = {name: job.public_id for name, job in jobs.items()}
    audit(user, "pipeline.submitted", object_id=first.public_id, object_name=first.name, team=first.team, detail=detail)
    return [(step.name, jobs[step.name]) for step in asked.steps]


def _submit(user: User, kind: str, body: dict[str, Any], prefix: str) -> Job:
    try:
        return handler_of_kind(kind).submit(user, body)
    except ValidationError as error:
        found = [FieldError(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise _under(prefix, Problem(422, "Invalid input", "", found)) from None
    except Problem as problem:
        raise _under(prefix, problem) from None


def _under(prefix: str, problem: Problem) -> Problem:
    problem.errors = [
        FieldError(f"{prefix}.{each.field}", each.message, each.value, each.nearest) for each in problem.errors
    ]
    return problem


def _order(steps: Sequence[StepIn]) -> list[str]:
    """The names, each after those it comes after."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise invalid("steps", f"A pipeline has 1 to {MAX_STEPS} steps, not {len(steps)}.")
    names = [step.name for step in steps]
    for place, step in enumerate(steps):
        _check_name(f"steps.{place}.name", step.name, names[:place])
        if step.kind not in submittable_kinds():
            raise unknown_choice(f"steps.{place}.kind", step.kind, submittable_kinds(), noun="kind of step")
    before: dict[str, set[str]] = {}
    servers = {step.name for step in steps if step.kind == JobKind.SERVE}
    for place, step in enumerate(steps):
        before[step.name] = _check_after(f"steps.{place}", step, names, servers)
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle = " → ".join(error.args[1])
        message = f"These steps wait for each other: {cycle}. Take one of the arrows away."
        raise invalid("steps", message, value=cycle) from None


def _check_name(field: str, name: str, earlier: Sequence[str]) -> None:
    if not _NAME.fullmatch(name) or _JOB_ID.fullmatch(name):
        message = "A step's name is a to z, 0 to 9, - and _, at most 40, starts with a letter, and is no job's id."
        raise invalid(field, message, value=name)
    if name in earlier:
        raise invalid(field, f"Two steps are named “{name}”. Name each differently.", value=name)


def _check_after(field: str, step: StepIn, names: Sequence[str], servers: set[str]) -> set[str]:
    """Every step that this one comes after, said or by what its body takes."""
    for place, name in enumerate(step.after):
        if name not in names:
            raise unknown_choice(f"{field}.after.{place}", name, names, noun="step")
    taken = {name for name in _named_in(step.body) if name in names}
    found = set(step.after) | taken
    for name in sorted(found & servers):
        raise invalid(f"{field}.after", f"{name} serves until it is stopped, so nothing can come after it.", value=name)
    return found


def _given_after(step: StepIn) -> list[Any]:
    given = step.body.get("after", [])
    return given if isinstance(given, list) else [given]  # the body's own check says what is wrong with it


def _named_in(value: object) -> set[str]:
    """What stands in a body where a job's id may."""
    if isinstance(value, list):
        return set().union(*map(_named_in, value))
    if not isinstance(value, dict):
        return set()
    if name := _slot(value):
        return {str(value[name])}
    return set().union(*map(_named_in, value.values()))


def _with_ids(value: Any, ids: dict[str, str]) -> Any:
    """The body with the jobs' ids in place of the steps' names."""
    if isinstance(value, list):
        return [_with_ids(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    if name := _slot(value):
        return value | {name: ids.get(str(value[name]), value[name])}
    return {key: _with_ids(each, ids) for key, each in value.items()}


def _slot(value: dict[str, Any]) -> str:
    """The key under which a job is named; empty where none is."""
    if value.keys() == {"from_job"}:
        return "from_job"
    return "from" if value.keys() == {"from", "path"} else ""
