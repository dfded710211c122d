"""A finished run becomes scores and samples: all of them, or none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from apps.engines.adapters.fake import FakeEval
from apps.engines.base import RunSpec
from apps.evals.models import EvalRun
from apps.evals.registration import register_scores
from apps.evals.sample_lines import BadResult, read_samples
from apps.jobs.blobs import blob_path, put_blob
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Output
from apps.jobs.states import Owner

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


def finish(run: EvalRun) -> None:
    switch_status(run.job, "succeeded", by=Owner.WORKER, what="Done")
    run.job.refresh_from_db()


def samples_output(run: EvalRun, task: str):  # type: ignore[no-untyped-def]
    return run.job.outputs.get(name__contains=f"samples_{task}")


def test_scores_carry_everything_that_makes_them_comparable(finished_run: EvalRun) -> None:
    finish(finished_run)
    assert finished_run.job.status == "succeeded", finished_run.job.cause
    score = finished_run.scores.get(task="tour_answer", is_headline=True)
    assert (score.metric, score.filter, score.item_count) == (
        "exact_match",
        "bare",
        finished_run.samples.filter(task="tour_answer").count(),
    )
    assert (score.precision, score.engine, score.engine_version) == ("fp32", "lm-eval", "0.4.13")
    assert score.engine_options == {"apply_chat_template": True}
    assert (score.suite_version, score.task_version, score.num_fewshot) == ("tour 1", "1", 0)
    assert len(score.chat_template_sha256) == 64
    assert set(finished_run.scores.filter(task="tour_choice").values_list("metric", "is_headline")) == {
        ("acc", True),
        ("acc_norm", False),
    }
    assert finished_run.job.attempts.get().measurements["eval_seconds"] > 0


def test_samples_say_what_was_asked_answered_and_right(finished_run: EvalRun) -> None:
    finish(finished_run)
    written = finished_run.samples.get(task="tour_answer", item=0)
    assert written.prompt.startswith("<|im_start|>system")
    assert (written.answer, written.target, written.value) == ("The capital of France is Paris.", "paris", 0.0)
    choice = finished_run.samples.filter(task="tour_choice").first()
    assert choice is not None
    assert len(choice.detail["choices"]) == 4
    best = max(choice.detail["choices"], key=lambda each: each["loglikelihood"])
    assert choice.answer == best["text"]
    assert choice.value == (choice.answer == choice.target)


def test_registering_twice_changes_nothing(finished_run: EvalRun) -> None:
    finish(finished_run)
    before = set(finished_run.samples.values_list("pk", flat=True))
    register_scores(finished_run.job)
    assert set(finished_run.samples.values_list("pk", flat=True)) == before


def test_a_failed_job_leaves_no_scores(finished_run: EvalRun) -> None:
    switch_status(finished_run.job, "failed", by=Owner.WORKER, what="Failed", reason="engine_exited")
    assert not finished_run.scores.exists()


def test_missing_samples_register_nothing_and_say_so(finished_run: EvalRun) -> None:
    samples_output(finished_run, "tour_choice").delete()
    finish(finished_run)
    assert (finished_run.job.status, finished_run.job.reason) == ("failed", "server_error")
    assert "the samples of tour_choice did not arrive" in finished_run.job.cause
    assert not finished_run.scores.exists()
    assert not finished_run.samples.exists()


def test_fewer_samples_than_the_score_counts_are_refused(finished_run: EvalRun) -> None:
    output = samples_output(finished_run, "tour_answer")
    first_line = blob_path(output.sha256).read_bytes().splitlines(keepends=True)[0]
    output.sha256 = put_blob(first_line).sha256
    output.save()
    finish(finished_run)
    assert "tour_answer has 1 samples, but its score counts" in finished_run.job.cause
    assert not finished_run.samples.exists()


def test_a_result_without_the_suites_metric_names_what_came(finished_run: EvalRun) -> None:
    data = finished_run.job.result["data"]
    data["tasks"] = [row | {"metric": f"other_{row['metric']}"} for row in data["tasks"]]
    finish(finished_run)
    assert "tour_choice has no acc (none); the run reported other_acc (none)" in finished_run.job.cause


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 1 of the samples of t is not a JSON object"),
        (json.dumps({"doc_id": 0, "acc": "1"}), "has no number for acc"),
        ('{"doc_id": 0, "acc": NaN}', "has no number for acc"),
        (json.dumps({"doc_id": "0", "acc": 1}), "has no doc_id"),
    ],
)
def test_lines_that_are_no_samples_are_named(line: str, words: str) -> None:
    with pytest.raises(BadResult, match=words):
        read_samples("t", "acc", "none", [line.encode()])


def sample_line(item: int, **fields: object) -> str:
    arguments = {"gen_args_0": {"arg_0": "Q"}}
    return json.dumps({"doc_id": item, "doc": {"q": 1}, "arguments": arguments, "acc": 1, "filter": "none"} | fields)


def test_text_that_postgres_refuses_is_replaced() -> None:
    line = sample_line(0, filtered_resps=["a\x00b\ud800"])
    assert read_samples("t", "acc", "none", [line.encode()])[0].answer == "a\ufffdb?"


def test_the_same_question_twice_pairs_by_its_occurrence_and_other_filters_are_left_out() -> None:
    lines = [sample_line(0), sample_line(1), sample_line(0, filter="flexible")]
    first, second = read_samples("t", "acc", "none", [line.encode() for line in lines])
    assert first.item_sha256 != second.item_sha256
    again = read_samples("t", "acc", "none", [line.encode() for line in lines])
    assert [row.item_sha256 for row in again] == [first.item_sha256, second.item_sha256]


def test_what_the_fake_engine_leaves_is_registered_too(finished_run: EvalRun, tmp_path: Path) -> None:
    job = finished_run.job
    argv = ["-m", "apps.engines.programs.fake_run", "evaluate", "--work-dir", str(tmp_path)]
    argv += ["--seconds", "0", "--steps", "1", "--tasks", ",".join(finished_run.tasks), "--limit", "4", "--model", "m"]
    subprocess.run([sys.executable, *argv, "--exit-code", "0"], check=True, capture_output=True, cwd=ROOT)
    result = FakeEval().collect(RunSpec.model_validate(job.spec), tmp_path)
    job.outputs.all().delete()
    for name in result.outputs:
        blob = put_blob((tmp_path / name).read_bytes())
        attempt = job.attempts.get()
        Output.objects.create(job=job, attempt=attempt, name=name, sha256=blob.sha256, size_bytes=blob.size_bytes)
    job.result = result.model_dump(mode="json")
    job.save()
    finish(finished_run)
    assert job.status == "succeeded", job.cause
    assert set(finished_run.scores.values_list("task", "metric", "item_count", "is_headline")) == {
        ("tour_choice", "acc", 4, True),
        ("tour_answer", "acc", 4, True),
    }
