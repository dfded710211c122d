"""What later jobs want of a fine-tune: the version that it will make, and the same again."""

from __future__ import annotations

import re

from apps.accounts.models import Team, User
from apps.accounts.problems import conflict, invalid
from apps.catalog.registration import promise_adapter_version
from apps.finetunes.models import FineTune
from apps.finetunes.services import create_fine_tune
from apps.jobs.models import Job, Schedule
from apps.jobs.terms import same_terms

_NUMBERED = re.compile(r"(.+)-(\d+)")


def promise_output(job: Job) -> str:
    """The id of the model version that the fine-tune makes, or has made."""
    fine_tune = FineTune.objects.select_related("base__model", "team", "created_by").filter(job=job).first()
    if fine_tune is None:
        raise invalid("from_job", f"{job.public_id} makes no model version; name a fine-tune's job.")
    version = promise_adapter_version(
        base=fine_tune.base, name=fine_tune.name, team=fine_tune.team, user=fine_tune.created_by, job=job
    )
    public_id: str = version.public_id
    return public_id


def repeat_fine_tune(job: Job, user: User, schedule: Schedule) -> Job:
    """The same base, rows and options again, under the next free name."""
    done = FineTune.objects.select_related("team", "base__model", "dataset").filter(job=job).first()
    if done is None:
        raise conflict(f"{job.public_id} belongs to no fine-tune, so it cannot be repeated.")
    again = create_fine_tune(
        team=done.team,
        user=user,
        name=_next_name(done.team, done.name),
        base=done.base,
        dataset=done.dataset,
        engine=done.engine,
        options=job.spec["options"],
        terms=same_terms(job, schedule),
    )
    repeated: Job = again.job
    return repeated


def _next_name(team: Team, name: str) -> str:
    """`polite` becomes `polite-2`, and that `polite-3`."""
    numbered = _NUMBERED.fullmatch(name)
    stem = (numbered[1] if numbered else name)[:70]
    taken = set(FineTune.objects.filter(team=team, name__startswith=f"{stem}-").values_list("name", flat=True))
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
