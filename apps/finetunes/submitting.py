"""A fine-tune as REST and pipelines ask for it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.accounts.access import team_for
from apps.accounts.models import User
from apps.accounts.problems import unknown_choice
from apps.catalog.lookups import version_named
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.services import create_fine_tune
from apps.jobs.models import Job
from apps.jobs.schemas import TermsIn
from apps.jobs.terms import asked_terms


class FineTuneIn(TermsIn):
    """`base` is a model version's id, `dataset` a data set's id or name, `options` those of the engine."""

    name: str
    base: str
    dataset: str
    engine: str = "axolotl"
    options: dict[str, Any] = {}
    team: str | None = None


@transaction.atomic
def submit_fine_tune(user: User, asked: FineTuneIn) -> FineTune:
    """Raises Problem as `create_fine_tune` does, and 422 for a wrong id."""
    options, terms = asked_terms(user, asked, asked.options)
    return create_fine_tune(
        team=team_for(user, asked.team),
        user=user,
        name=asked.name,
        base=version_named(user, asked.base, field="base"),
        dataset=_dataset_named(user, asked.dataset),
        engine=asked.engine,
        options=options,
        terms=terms,
    )


def submit_step(user: User, body: dict[str, Any]) -> Job:
    """A step of a pipeline."""
    job: Job = submit_fine_tune(user, FineTuneIn.model_validate(body)).job
    return job


def _dataset_named(user: User, wanted: str) -> Dataset:
    visible = Dataset.objects.visible_to(user)
    row: Dataset | None = visible.with_public_id(wanted).first() or visible.filter(name=wanted).first()
    if row is None:
        known = [name for each in visible.order_by("-pk")[:50] for name in (each.name, each.public_id)]
        raise unknown_choice("dataset", wanted, known, noun="data set")
    return row
