"""Data sets are kept once; a fine-tune is a job; its adapter becomes a version, once."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.models import Role, Team, User
from apps.accounts.problems import Problem
from apps.calibration.models import Estimate
from apps.catalog.models import LineageEdge, ModelVersion
from apps.finetunes.links import fine_tune_url
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.services import create_dataset, create_fine_tune, register_output, tour_dataset
from apps.fleet.models import Host
from apps.jobs.blobs import blob_path
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Job
from apps.jobs.states import Owner
from tests.factories import make_adapter, make_attempt, make_produced, make_stored_version, make_team, make_user
from tests.finetunes.conftest import lines, row


def tune(team: Team, alice: User, base: ModelVersion, dataset: Dataset, **fields: Any) -> FineTune:
    given: dict[str, Any] = {"name": "polite", "engine": "fake-train", "options": {"steps": 3}} | fields
    return create_fine_tune(team=team, user=alice, base=base, dataset=dataset, **given)


def finish(fine_tune: FineTune, host: Host, *, result: dict[str, Any] | None = None) -> Job:
    job = fine_tune.job
    make_attempt(job, host)
    produced = make_produced("adapter", path="/runs/polite", content="polite").model_dump(mode="json")
    switch_status(job, "starting", by=Owner.SCHEDULER, what="Placed")
    switch_status(job, "succeeded", by=Owner.WORKER, what="Done", result=result or {"ok": True, "produced": [produced]})
    fine_tune.refresh_from_db()
    return job


def test_the_same_rows_under_the_same_name_are_the_same_data_set(team: Team, alice: User, dataset: Dataset) -> None:
    again = create_dataset(team=team, user=alice, name="greetings", data=lines(*[row()] * 3))
    assert (again.pk, dataset.row_count, Dataset.objects.count()) == (dataset.pk, 3, 1)
    assert blob_path(dataset.sha256).read_bytes() == lines(*[row()] * 3)
    with pytest.raises(Problem, match="exists with other rows") as refused:
        create_dataset(team=team, user=alice, name="greetings", data=lines(row()))
    assert refused.value.status == 409
    elsewhere = create_dataset(team=make_team(), user=make_user(is_superuser=True), name="greetings", data=lines(row()))
    assert elsewhere.pk != dataset.pk
    assert tour_dataset(team=team, user=alice) == tour_dataset(team=team, user=alice)


def test_a_fine_tune_is_a_job_with_its_rows_and_estimates(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset
) -> None:
    made = tune(team, alice, base, dataset, engine="axolotl", options={"max_steps": 3})
    spec = made.job.spec
    assert [each["sha256"] for each in spec["inputs"]] == [dataset.sha256]
    assert (spec["model"]["version_id"], spec["options"]["max_steps"]) == (base.public_id, 3)
    estimates = {row.quantity: row for row in Estimate.objects.filter(job=made.job)}
    assert made.job.ram_bytes_needed == estimates["peak_memory_bytes"].value > 269_060_552
    assert estimates["train_seconds"].low <= estimates["train_seconds"].value <= estimates["train_seconds"].high
    step = estimates["step_seconds"]
    assert (step.unit, step.formula_version) == ("s/step", estimates["train_seconds"].formula_version)
    assert 0 < step.low < step.value < step.high
    assert 60 + 3 * step.value == pytest.approx(estimates["train_seconds"].value)  # a minute to start, three steps
    assert fine_tune_url(made.job) == f"/fine-tunes/{made.public_id}"


def test_a_step_of_more_rows_takes_longer(team: Team, alice: User, base: ModelVersion, dataset: Dataset) -> None:
    alone = {"micro_batch_size": 1, "gradient_accumulation_steps": 1}
    more = {"micro_batch_size": 2, "gradient_accumulation_steps": 3}
    jobs = [
        tune(team, alice, base, dataset, name=f"polite-{number}", engine="axolotl", options=options).job
        for number, options in enumerate((alone, more))
    ]
    one, six = (Estimate.objects.get(job=job, quantity="step_seconds").value for job in jobs)
    assert six == pytest.approx(6 * one)


def test_the_adapter_becomes_a_version_below_its_base_once(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset, host: Host
) -> None:
    made = tune(team, alice, base, dataset)
    job = finish(made, host)
    assert (job.status, job.cause) == ("succeeded", "")
    version = made.output
    assert version is not None
    assert (version.model.name, version.label, version.team) == ("polite", "v1", team)
    edge = LineageEdge.objects.get(child=version)
    assert (edge.parent, edge.relation, edge.job) == (base, "adapter", job)
    assert version.artifacts.get().locations.get().path == "/runs/polite"
    FineTune.objects.filter(pk=made.pk).update(output=None)  # cut off before it was noted
    register_output(job)
    register_output(job)
    made.refresh_from_db()
    assert (made.output, LineageEdge.objects.count()) == (version, 1)


def test_a_run_without_an_adapter_fails_and_registers_nothing(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset, host: Host
) -> None:
    made = tune(team, alice, base, dataset)
    job = finish(made, host, result={"ok": True, "produced": []})
    assert (job.status, job.reason) == ("failed", "server_error")
    assert "reported no adapter" in job.cause
    assert made.output is None


def test_another_teams_rows_and_base_are_refused_even_to_a_member_of_both(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset
) -> None:
    blue = make_team("Blue")
    both = make_user(team=blue)
    both.memberships.create(team=team, role=Role.MEMBER)
    with pytest.raises(Problem, match="greetings belongs to Red") as refused:
        tune(blue, both, make_stored_version(blue), dataset)
    assert (refused.value.status, refused.value.errors[0].field) == (422, "dataset")
    with pytest.raises(Problem, match="belongs to Red") as refused:
        tune(blue, both, base, dataset)
    assert refused.value.errors[0].field == "base"
    assert not Job.objects.exists()


def test_wrong_wishes_make_no_job(team: Team, alice: User, base: ModelVersion, dataset: Dataset) -> None:
    tune(team, alice, base, dataset)
    adapter = make_adapter(base)
    for status, words, fields in (
        (409, "exists", {}),
        (422, "Use a to z", {"name": "Not Polite"}),
        (422, "Did you mean “axolotl”", {"name": "b", "engine": "axolotel"}),
        (422, "Fine-tune its base", {"name": "b", "base": adapter}),
        (422, "", {"name": "b", "options": {"stepz": 3}}),
    ):
        with pytest.raises(Problem) as refused:
            tune(team, alice, **({"base": base, "dataset": dataset} | fields))  # type: ignore[arg-type]
        assert (refused.value.status, words in str(refused.value)) == (status, True), refused.value
    viewer = make_user(team=team, role=Role.VIEWER)
    with pytest.raises(Problem) as refused:
        tune(team, viewer, base, dataset, name="c")
    assert refused.value.status == 403
    assert Job.objects.count() == 1
