"""The tour's steps: each starts one thing through the same services as the forms, and says when it is done.

`start` returns the facts to remember; `look` returns None while it runs, else the facts of the outcome.
Both raise StepFailed with the sentence people read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.accounts.problems import Problem
from apps.catalog.models import Model, ModelImport, ModelVersion
from apps.catalog.packages import TOUR_PACKAGE
from apps.catalog.services import import_model
from apps.evals.comparison import compare_runs
from apps.evals.models import EvalRun, Suite
from apps.evals.services import create_eval_run
from apps.finetunes.models import FineTune
from apps.finetunes.services import create_fine_tune, tour_dataset
from apps.jobs.models import Job
from apps.jobs.presentation import reason_sentence
from apps.serving.models import Endpoint
from apps.serving.services import create_endpoint, start_endpoint
from apps.serving.states import endpoint_state, newest_job
from apps.tour.asking import ask_through_gateway
from apps.tour.models import TourRun

Facts = dict[str, Any]
ENDPOINT_NAME = "tour-smollm2"
QUESTION = "What is the capital of France? Answer in one short sentence."
# Few steps, so that the whole tour stays within minutes on two CPU cores, yet enough to learn the form
# of the answers: on 2 cores the suite's exact match went from 0.00 to 0.68 (24 steps, about 2 minutes).
TRAINING_OPTIONS: Facts = {
    "max_steps": 24, "micro_batch_size": 4, "sequence_len": 256, "learning_rate": 5e-4,
}  # fmt: skip
SERVING_OPTIONS: Facts = {"max_model_len": 2048, "max_num_seqs": 8}


class StepFailed(Exception):
    """Why the tour ends here."""


@dataclass(frozen=True)
class Step:
    key: str
    title: str
    start: Callable[[TourRun], Facts]
    look: Callable[[TourRun, Facts], Facts | None]


def _fact(tour: TourRun, key: str, name: str) -> Any:
    """A fact that an earlier step left behind."""
    return next(step["facts"][name] for step in tour.steps if step["key"] == key)


def _outcome(job: Job) -> bool:
    """True once the job is done, False while it moves. Raises StepFailed with its cause."""
    job.refresh_from_db()
    if job.status == "succeeded":
        return True
    if job.is_over or job.status == "held":
        raise StepFailed(f"{reason_sentence(job)}. {job.cause}".strip())
    return False


def _base(tour: TourRun) -> ModelVersion:
    version: ModelVersion = ModelVersion.objects.get(pk=_fact(tour, "import", "version"))
    return version


# import


def _start_import(tour: TourRun) -> Facts:
    wish = import_model(
        team=tour.team, user=tour.owner, source=Model.Source.PACKAGE, source_ref=TOUR_PACKAGE, revision=""
    )
    return {"import": wish.pk, "job": wish.job.public_id}


def _look_import(tour: TourRun, facts: Facts) -> Facts | None:
    wish = ModelImport.objects.select_related("job", "version__model").get(pk=facts["import"])
    if not _outcome(wish.job):
        return None
    if wish.version is None:
        raise StepFailed("The download ended, but no model version was registered.")
    version = wish.version
    return {"version": version.pk, "model": version.model.public_id, "detail": f"{version} is registered"}


# serve


def _start_serve(tour: TourRun) -> Facts:
    endpoint = Endpoint.objects.filter(team=tour.team, name=ENDPOINT_NAME, version=_base(tour)).first()
    if endpoint is None:
        endpoint = create_endpoint(
            team=tour.team, user=tour.owner, name=ENDPOINT_NAME, version=_base(tour),
            engine="vllm", options=SERVING_OPTIONS,
        )  # fmt: skip
    elif endpoint_state(endpoint).is_ended:
        start_endpoint(endpoint=endpoint, user=tour.owner)
    return {"endpoint": endpoint.pk, "job": _replica_job(endpoint).public_id}


def _replica_job(endpoint: Endpoint) -> Job:
    job = newest_job(endpoint)
    if job is None:
        raise StepFailed(f"{endpoint.name} has no replica.")
    return job


def _look_serve(tour: TourRun, facts: Facts) -> Facts | None:
    job = _replica_job(Endpoint.objects.get(pk=facts["endpoint"]))
    if _outcome(job):
        raise StepFailed("The endpoint stopped by itself.")
    return {"detail": f"{ENDPOINT_NAME} is live"} if job.status == "running" else None


# ask


def _start_ask(tour: TourRun) -> Facts:
    return {}


def _look_ask(tour: TourRun, facts: Facts) -> Facts | None:
    try:
        answer = ask_through_gateway(team=tour.team, user=tour.owner, model=ENDPOINT_NAME, question=QUESTION)
    except Problem as problem:
        raise StepFailed(str(problem)) from None
    if not answer.text.strip():
        raise StepFailed("The endpoint answered with no text.")
    return {
        "question": QUESTION,
        "answer": answer.text,
        "detail": f"“{answer.text.strip()[:120]}” ({answer.completion_tokens} tokens in {answer.seconds:.1f} s)",
    }


# evaluate


def _evaluate(tour: TourRun, version: ModelVersion) -> Facts:
    suite = Suite.objects.get(name="tour", is_current=True)
    run = create_eval_run(team=tour.team, user=tour.owner, version=version, suite=suite)
    return {"run": run.pk, "run_id": run.public_id, "job": run.job.public_id}


def _look_eval(tour: TourRun, facts: Facts) -> Facts | None:
    run = EvalRun.objects.select_related("job").get(pk=facts["run"])
    if not _outcome(run.job):
        return None
    scores = run.scores.filter(is_headline=True).order_by("task")
    if not scores:
        raise StepFailed("The evaluation ended without scores.")
    words = ", ".join(f"{score.task} {100 * score.value:.1f}" for score in scores)
    return {"detail": words}


# fine-tune


def _start_train(tour: TourRun) -> Facts:
    fine_tune = create_fine_tune(
        team=tour.team,
        user=tour.owner,
        name=f"tour-lora-{tour.pk}",
        base=_base(tour),
        dataset=tour_dataset(team=tour.team, user=tour.owner),
        engine="axolotl",
        options=TRAINING_OPTIONS,
    )
    return {"fine_tune": fine_tune.pk, "fine_tune_id": fine_tune.public_id, "job": fine_tune.job.public_id}


def _look_train(tour: TourRun, facts: Facts) -> Facts | None:
    fine_tune = FineTune.objects.select_related("job", "output__model").get(pk=facts["fine_tune"])
    if not _outcome(fine_tune.job):
        return None
    if fine_tune.output is None:
        raise StepFailed("The fine-tune ended, but its model version was not registered.")
    return {"version": fine_tune.output_id, "detail": f"{fine_tune.output}, a LoRA adapter of {fine_tune.base}"}


# compare


def _look_compare(tour: TourRun, facts: Facts) -> Facts | None:
    """Whatever the verdict, a comparison that could be made is a pass; one that was refused is not."""
    base, tuned = (EvalRun.objects.get(pk=_fact(tour, step, "run")) for step in ("eval_base", "eval_tuned"))
    result = compare_runs(tuned, base)
    if result.overall is None:
        raise StepFailed(result.why_not)
    overall = result.overall
    low, high = 100 * overall.low, 100 * overall.high
    points = f"{100 * overall.difference:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
    return {
        "detail": f"{result.word}: {points}, over {overall.n} items",
        "verdict": overall.verdict,
        "runs": [base.public_id, tuned.public_id],
    }


STEPS = (
    Step("import", "Import SmolLM2 135M from its package", _start_import, _look_import),
    Step("serve", "Serve it with vLLM", _start_serve, _look_serve),
    Step("ask", "Ask it something through the gateway", _start_ask, _look_ask),
    Step("eval_base", "Evaluate it with lm-eval", lambda tour: _evaluate(tour, _base(tour)), _look_eval),
    Step("train", "Fine-tune it with Axolotl and register the result", _start_train, _look_train),
    Step(
        "eval_tuned",
        "Evaluate the fine-tuned version",
        lambda tour: _evaluate(tour, ModelVersion.objects.get(pk=_fact(tour, "train", "version"))),
        _look_eval,
    ),
    Step("compare", "Compare the two on the leaderboard", lambda tour: {}, _look_compare),
)
