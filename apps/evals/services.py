"""Start eval runs."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import conflict
from apps.calibration.services import record_estimates
from apps.catalog.models import ModelVersion
from apps.catalog.policies import require_allowed
from apps.evals.models import EvalRun, Suite
from apps.evals.plans import ENGINE, new_estimate, plan_eval_run
from apps.jobs.models import Job, Schedule
from apps.jobs.services import submit_job
from apps.jobs.terms import USUAL, Terms, same_terms


@transaction.atomic
def create_eval_run(
    *,
    team: Team,
    user: User,
    version: ModelVersion,
    suite: Suite,
    options: dict[str, Any] | None = None,
    tasks: list[str] | None = None,
    limit: int | None = None,
    num_fewshot: int | None = None,
    engine: str = ENGINE,
    terms: Terms = USUAL,
) -> EvalRun:
    """Puts a model version to a suite, or to some of its tasks. The scores come with the job's end.

    `limit` takes only the first items of each task; `num_fewshot` replaces what the tasks ask for.
    Raises Problem 403 for what a team rule forbids, 422 for an unknown engine, task or option, and for a version
    without files.
    """
    require_role(user, Role.MEMBER, team)
    require_allowed(version, team)
    plan = plan_eval_run(
        version=version,
        suite=suite,
        options=options or {},
        tasks=tasks,
        limit=limit,
        num_fewshot=num_fewshot,
        engine=engine,
    )
    job = submit_job(
        team=team,
        user=user,
        kind="evaluate",
        name=f"Evaluate {version.model.name} on {suite.name}",
        spec=plan.spec,
        variant=plan.variant,
        gpus=plan.gpus,
        vram_bytes=plan.vram_bytes,
        gpu_share=plan.gpu_share,
        ram_bytes=plan.ram_bytes,
        terms=terms,
    )
    record_estimates(job=job, estimates=[new_estimate(plan, version=version, suite=suite)])
    run = EvalRun.objects.create(
        team=team,
        created_by=user,
        version=version,
        suite=suite,
        engine=engine,
        tasks=plan.spec.payload["tasks"],
        job=job,
    )
    audit(user, "eval_run.created", object_id=run.public_id, object_name=str(run), team=team)
    return run


def repeat_eval_run(job: Job, user: User, schedule: Schedule) -> Job:
    """The same model version on the same suite again, for the schedule."""
    run = EvalRun.objects.select_related("team", "version__model", "suite").filter(job=job).first()
    if run is None:
        raise conflict(f"{job.public_id} belongs to no eval run, so it cannot be repeated.")
    payload = job.spec["payload"]
    again = create_eval_run(
        team=run.team,
        user=user,
        version=run.version,
        suite=run.suite,
        options=job.spec["options"],
        tasks=run.tasks,
        limit=payload.get("limit"),
        num_fewshot=payload.get("num_fewshot"),
        engine=run.engine,
        terms=same_terms(job, schedule),
    )
    repeated: Job = again.job
    return repeated
