"""The runs of the world: fine-tunes, evaluations, battles, a tour and jobs in every state."""

from __future__ import annotations

import json
import math
import random
from datetime import timedelta
from functools import partial

from django.utils import timezone

from apps.arena.models import Battle, Vote
from apps.engines.base import RunSpec
from apps.evals.models import EvalRun, Suite
from apps.evals.services import create_eval_run
from apps.evals.shipped_suites import sync_suites
from apps.finetunes.models import Dataset, FineTune
from apps.finetunes.services import create_dataset, create_fine_tune, tour_dataset
from apps.jobs.models import Job, MetricPoint, Schedule
from apps.jobs.schedules import create_schedule
from apps.jobs.services import submit_job
from apps.tour.models import TourRun
from apps.tour.steps import STEPS
from tests.browser.world import World, fail, make_world, run_on, succeed
from tests.factories import make_eval_run


def make_world_with_runs() -> tuple[World, dict[str, str]]:
    """The world, and the address of an object for each parameter of a route (`<str:job_id>` …)."""
    world = make_world()
    dataset, tune = _fine_tunes(world)
    run = _evaluations(world)
    battle = _arena(world)
    _jobs(world)
    tour = _tour(world)
    ids = {
        "model_id": world.versions["llama"].model.public_id, "endpoint_id": world.endpoints["chat-prod"].public_id,
        "fine_tune_id": tune.public_id, "dataset_id": dataset.public_id, "run_id": run.public_id,
        "sample_id": str(run.samples.order_by("pk")[0].pk), "battle_id": battle.public_id,
        "job_id": tune.job.public_id, "tour_id": tour.public_id, "host_name": "atlas",
    }  # fmt: skip
    return world, ids


def loss_at(step: int) -> float:
    return 1.35 + 1.5 * math.exp(-step / 90) + 0.12 * math.sin(step * 1.7) * math.exp(-step / 300)


def _fine_tunes(world: World) -> tuple[Dataset, FineTune]:
    rows = [
        {"messages": [
            {"role": "user", "content": f"Where is order {4100 + n}? I ordered it {n} days ago."},
            {"role": "assistant", "content": f"Order {4100 + n} left our warehouse and arrives in two days."},
        ]}
        for n in range(1, 41)
    ]  # fmt: skip
    data = "\n".join(json.dumps(row) for row in rows).encode()
    text = "Answers of the support team, checked by Kai"
    dataset = create_dataset(team=world.team, user=world.kai, name="support-tone-v4", data=data, description=text)
    tour_dataset(team=world.team, user=world.ana)
    fields = {"team": world.team, "user": world.kai, "dataset": dataset}
    done = create_fine_tune(name="support-tone-v3", base=world.versions["smollm2"], **fields)
    succeed(done.job, world.hosts["atlas"], minutes=34)
    FineTune.objects.filter(pk=done.pk).update(output=world.versions["tuned"])
    _metrics(done.job, 120, 120)
    bad = create_fine_tune(name="llama-wide", base=world.versions["llama"], **fields)
    fail(bad.job, world.hosts["atlas"], "out_of_memory", "torch.OutOfMemoryError: CUDA out of memory at step 14.")
    tune = create_fine_tune(name="llama-support", base=world.versions["llama"], **fields)
    run_on(tune.job, world.hosts["atlas"], gpu=3, minutes=22)
    _metrics(tune.job, 180, 400)
    return dataset, tune


def _metrics(job: Job, steps: int, total: int) -> None:
    point = partial(MetricPoint, attempt=job.attempts.first())
    points = [point(name="loss", step=step, value=loss_at(step)) for step in range(1, steps)]
    points += [point(name="eval_loss", step=s, value=loss_at(s) + 0.06) for s in range(20, steps, 20)]
    points += [point(name="learning_rate", step=s, value=2e-4 * (1 - s / total)) for s in range(steps)]
    points += [point(name="grad_norm", step=s, value=0.4 + 1 / (s + 1)) for s in range(steps)]
    MetricPoint.objects.bulk_create(points)
    Job.objects.filter(pk=job.pk).update(progress_done=steps, progress_total=total, progress_unit="steps",
                                         progress_at=timezone.now())  # fmt: skip


def answers(count: int, share: float, seed: int) -> str:
    chance = random.Random(seed)
    return "".join("1" if chance.random() < share else "0" for _ in range(count))


def _evaluations(world: World) -> EvalRun:
    suite = next(suite for suite in sync_suites() if suite.name == "tour")
    names = [task["name"] for task in suite.tasks]
    shares = {"smollm2": 0.52, "tuned": 0.62, "llama": 0.84, "qwen2.5": 0.82}
    runs = {}
    for name, share in shares.items():
        both = {task: answers(50, share - 0.1 * i, 7) for i, task in enumerate(names)}
        runs[name] = make_eval_run(world.versions[name], suite, both)
        Job.objects.filter(pk=runs[name].job_id).update(
            engine="lm-eval", created_by=world.ana, started_at=timezone.now() - timedelta(minutes=6),
            spec={"kind": "evaluate", "engine": "lm-eval", "payload": {"tasks": names}},
        )  # fmt: skip
    _open_runs(world, suite)
    return runs["tuned"]


def _open_runs(world: World, suite: Suite) -> None:
    moving = create_eval_run(team=world.team, user=world.ana, version=world.versions["qwen2.5"], suite=suite, limit=20)
    run_on(moving.job, world.hosts["borea"], gpu=1, minutes=3)
    Job.objects.filter(pk=moving.job_id).update(progress_done=84, progress_total=200, progress_unit="requests")
    create_eval_run(team=world.team, user=world.kai, version=world.versions["llama"], suite=suite)


def _arena(world: World) -> Battle:
    chance, now = random.Random(5), timezone.now()
    names = ("chat-prod", "code-assist", "support-bot")
    prompts = ("When is an invoice with net 30 due?", "Write a polite reply to an angry customer.",
               "Turn this table into JSON.", "Explain KV cache to a new colleague in two sentences.")  # fmt: skip
    for number in range(24):
        left, right = (world.endpoints[name] for name in chance.sample(names, 2))
        old = Battle.objects.create(
            team=world.team, created_by=world.kai, prompt=prompts[number % 4], left=left, right=right,
            left_answer="30 days after its date.", right_answer="At the end of the month.", answered_at=now,
        )  # fmt: skip
        Vote.objects.create(battle=old, user=world.kai, choice=chance.choice(["left", "left", "right", "tie"]))
    return Battle.objects.create(
        team=world.team, created_by=world.ana, left=world.endpoints["chat-prod"], right=world.endpoints["code-assist"],
        prompt="A contract says payment is due “net 30, end of month”. The invoice is from 11 April. When is it due?",
        left_answer="**Due 31 May.** Net 30 gives 11 May, and “end of month” moves it to the last day of that month.",
        right_answer="It is due 30 days after the invoice:\n\n- Invoice: 11 April\n- Due: 11 May", answered_at=now,
    )  # fmt: skip


def _jobs(world: World) -> None:
    def submit(kind: str, engine: str, name: str) -> Job:
        spec = RunSpec.model_validate({"kind": kind, "engine": engine})
        return submit_job(team=world.team, user=world.kai, kind=kind, name=name, spec=spec)

    held = submit("evaluate", "fake-eval", "Evaluate mixtral-8x22b-instruct on tour")
    Job.objects.filter(pk=held.pk).update(status="held", reason="worker_lost", infrastructure_losses=3,
                                          cause="cobalt stopped reporting three times.")  # fmt: skip
    waiting = submit("train", "fake-train", "Fine-tune qwen2.5-7b-instruct on support-tone-v4")
    why = "Needs 4 GPUs with 80 GiB on one host; atlas has 0 free."
    Job.objects.filter(pk=waiting.pk).update(wait_reason=why, gpus_needed=4)
    again = EvalRun.objects.filter(team=world.team).order_by("pk")[0].job
    nightly = create_schedule(job=again, user=world.ana, cron="0 3 * * *", name="Nightly: base against tuned")
    Job.objects.filter(pk=EvalRun.objects.filter(team=world.team).latest("pk").job_id).update(schedule=nightly)
    weekly = create_schedule(job=waiting, user=world.kai, cron="30 22 * * 5", zone="Europe/Berlin")
    problem = "A fine-tune named “support-tone-v5” exists. Choose another name."
    Schedule.objects.filter(pk=weekly.pk).update(last_problem=problem)


def _tour(world: World) -> TourRun:
    start, steps = timezone.now() - timedelta(minutes=5), []
    for number, step in enumerate(STEPS):
        status = "done" if number < 4 else "running" if number == 4 else "waiting"
        began, ended = start + timedelta(minutes=number), start + timedelta(minutes=number + 0.8)
        times = {"started_at": began.isoformat()} if status != "waiting" else {}
        times |= {"finished_at": ended.isoformat()} if status == "done" else {}
        facts = {"detail": "“The capital of France is Paris.” (8 tokens in 0.4 s)"} if step.key == "ask" else {}
        steps.append({"key": step.key, "title": step.title, "status": status, "facts": facts} | times)
    return TourRun.objects.create(team=world.team, created_by=world.ana, steps=steps)
