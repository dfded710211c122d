"""Shipped suites, and what a run is asked to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import Role, Team
from apps.accounts.problems import Problem
from apps.calibration.models import Estimate
from apps.evals import shipped_suites
from apps.evals.models import Suite
from apps.evals.plans import EvalPlan, own_cost, plan_eval_run
from apps.evals.services import create_eval_run
from apps.evals.shipped_suites import FOLDER, SuiteChanged, sync_suites
from apps.fleet.offers import fleet_now
from apps.jobs.blobs import blob_path
from apps.jobs.queue import need_of_job
from apps.planning.placement import Choice, place
from tests.factories import LLAMA_CONFIG, make_host, make_model_version, make_stored_version, make_user

pytestmark = pytest.mark.django_db
GIB = 2**30


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "suites"))


def test_shipped_suites_are_registered_with_their_files(suite: Suite) -> None:
    assert [task["name"] for task in suite.tasks] == ["tour_choice", "tour_answer"]
    assert (suite.item_count, suite.options) == (100, {"apply_chat_template": True})
    for task in suite.tasks:
        assert [file["name"] for file in task["files"]] == [f"{task['name']}.yaml", f"{task['name']}.jsonl"]
        for file in task["files"]:
            assert blob_path(file["sha256"]).stat().st_size == file["size_bytes"]
    assert suite.tasks[0]["prompt_tokens"] > 4 * 15  # four choices
    assert suite.tasks[1]["output_tokens"] == 8
    assert sync_suites()[0].pk == suite.pk


def test_a_changed_suite_must_change_its_version(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = sync_suites(own_folder)[0]
    items = own_folder / "tour" / "tour_choice.jsonl"
    items.write_text(items.read_text().replace("Mars", "Pluto"))
    with pytest.raises(SuiteChanged, match="suite “tour” changed, but its version is still 1"):
        sync_suites(own_folder)
    monkeypatch.setattr(shipped_suites, "FOLDER", own_folder)
    assert Suite.objects.get().tasks == old.tasks
    text = own_folder / "tour" / "suite.yaml"
    text.write_text(
        text.read_text().replace('version: "1"', 'version: "2"').replace("description: 50", "description: 51")
    )
    new = sync_suites(own_folder)[0]
    old.refresh_from_db()
    assert (old.is_current, new.is_current, new.version) == (False, True, "2")


def test_the_command_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync_suites")
    assert "tour 1" in capsys.readouterr().out
    Suite.objects.update(options={})
    with pytest.raises(CommandError, match="Raise `version`"):
        call_command("sync_suites")


def test_a_run_is_a_job_with_the_suites_files_and_an_estimate(team: Team, suite: Suite) -> None:
    make_host()
    user, version = make_user(team=team), make_stored_version(team)
    run = create_eval_run(team=team, user=user, version=version, suite=suite, options={"batch_size": 2}, limit=5)
    spec = run.job.spec
    assert (run.job.kind, run.job.engine, run.job.variant, run.job.gpus_needed) == ("evaluate", "lm-eval", "cpu", 0)
    assert [given["name"] for given in spec["inputs"]] == [
        "tour_choice.yaml", "tour_choice.jsonl", "tour_answer.yaml", "tour_answer.jsonl",
    ]  # fmt: skip
    assert spec["payload"] == {"tasks": ["tour_choice", "tour_answer"], "limit": 5, "num_fewshot": None}
    assert (spec["options"]["apply_chat_template"], spec["options"]["batch_size"]) == (True, 2)
    assert spec["model"]["version_id"] == version.public_id
    assert 2 * GIB < run.job.ram_bytes_needed < 3 * GIB
    assert "--apply_chat_template" in run.job.preview["argv"]
    estimate = Estimate.objects.get(job=run.job)
    assert estimate.quantity == "eval_seconds"
    assert 0 < estimate.low < estimate.value < estimate.high


def test_a_fleet_with_a_gpu_runs_there_and_reserves_no_ram(team: Team, suite: Suite) -> None:
    make_host(gpus=1)
    plan = plan_eval_run(version=make_stored_version(team), suite=suite, options={})
    assert (plan.variant, plan.gpus, plan.ram_bytes) == ("cuda", 1, 0)


def test_time_and_cost_are_those_of_the_gpu_and_of_the_examples(team: Team, suite: Suite) -> None:
    host = make_host(gpus=1, gpu_hour_price=3)
    version = make_stored_version(team, parameter_count=8 * 10**9)

    def planned(gpu: str, num_fewshot: int | None = None) -> EvalPlan:
        host.devices.filter(kind="gpu").update(name=gpu)
        return plan_eval_run(version=version, suite=suite, options={}, num_fewshot=num_fewshot)

    slow, fast = planned("NVIDIA L4"), planned("NVIDIA H100 80GB HBM3")
    begin = 30  # seconds, on any
    assert slow.duration.seconds - begin > 2 * (fast.duration.seconds - begin)
    cost = own_cost(fast)
    assert cost is not None
    assert cost[1] == pytest.approx(3 * fast.duration.seconds / 3600)
    shots = planned("NVIDIA L4", num_fewshot=4)
    assert shots.prompt_tokens == 5 * slow.prompt_tokens
    assert shots.duration.seconds > slow.duration.seconds


def test_it_asks_for_a_gpu_that_holds_the_weights_as_they_are_computed(team: Team, suite: Suite) -> None:
    alice = make_user(team=team)
    make_host("brio", gpus=1)
    version = make_stored_version(team, facts={"config": LLAMA_CONFIG, "weights_bytes": 12 * GIB})
    job = create_eval_run(team=team, user=alice, version=version, suite=suite).job
    assert (job.vram_bytes_needed, job.gpu_share_needed) == (14 * GIB, 1.0)
    asked = {"team": team, "user": alice, "version": version, "suite": suite, "options": {"dtype": "float32"}}
    with pytest.raises(Problem, match=r"needs 26.0 GiB on each GPU; the largest GPU here is brio's with 24.0 GiB"):
        create_eval_run(**asked)
    large = make_host("atlas", gpus=1)
    large.devices.filter(kind="gpu").update(memory_bytes=80 * GIB, slots=4)
    wide = create_eval_run(**asked).job
    assert isinstance(answer := place(need_of_job(wide), fleet_now().hosts), Choice)
    assert (answer.host, answer.slots) == ("atlas", (4,))


def test_of_a_model_outside_the_formulas_it_asks_for_a_whole_gpu_of_any_size(team: Team, suite: Suite) -> None:
    make_host(gpus=1)
    plan = plan_eval_run(version=make_stored_version(team, facts={}), suite=suite, options={})
    assert (plan.gpus, plan.vram_bytes, plan.gpu_share) == (1, 0, 0.0)


@pytest.mark.parametrize(
    ("asked", "field", "nearest"),
    [
        ({"engine": "lm-evel"}, "engine", "lm-eval"),
        ({"engine": "vllm"}, "engine", None),
        ({"tasks": ["tour_choise"]}, "tasks", "tour_choice"),
        ({"tasks": []}, "tasks", None),
        ({"options": {"batchsize": 2}}, "options.batchsize", "batch_size"),
        ({"options": {"batch_size": 0}}, "options.batch_size", None),
        ({"limit": 0}, "limit", None),
        ({"num_fewshot": 65}, "num_fewshot", None),
    ],
)
def test_a_wrong_field_is_named_with_the_nearest(
    team: Team, suite: Suite, asked: dict[str, object], field: str, nearest: str | None
) -> None:
    with pytest.raises(Problem) as refused:
        create_eval_run(team=team, user=make_user(team=team), version=make_stored_version(team), suite=suite, **asked)  # type: ignore[arg-type]
    assert refused.value.status == 422
    assert refused.value.errors[0].field == field
    assert nearest is None or refused.value.errors[0].nearest == nearest


def test_a_version_without_files_and_a_viewer_are_refused(team: Team, suite: Suite) -> None:
    with pytest.raises(Problem, match="no files registered"):
        create_eval_run(team=team, user=make_user(team=team), version=make_model_version(team), suite=suite)
    viewer = make_user(team=team, role=Role.VIEWER)
    with pytest.raises(Problem) as refused:
        create_eval_run(team=team, user=viewer, version=make_stored_version(team), suite=suite)
    assert refused.value.status == 403


def test_the_next_estimate_stands_on_the_last_run(team: Team, finished_run, suite: Suite) -> None:  # type: ignore[no-untyped-def]
    attempt = finished_run.job.attempts.get()
    attempt.measurements = {"eval_seconds": 53.0}
    attempt.save()
    finished_run.version.parameter_count = 100
    finished_run.version.save()
    plan = plan_eval_run(version=make_stored_version(team, parameter_count=200), suite=suite, options={})
    assert (plan.duration.basis, plan.duration.seconds) == ("measured", 106.0)
    part = plan_eval_run(version=make_stored_version(team, name="b"), suite=suite, options={}, limit=3)
    assert part.duration.basis == "formula"
    shots = plan_eval_run(version=make_stored_version(team, name="c"), suite=suite, options={}, num_fewshot=4)
    assert shots.duration.basis == "formula"
