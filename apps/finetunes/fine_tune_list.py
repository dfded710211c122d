"""What the Fine-tunes page and the page of one fine-tune show."""

from __future__ import annotations

from typing import Any

from django.db.models import Min
from django.urls import reverse

from apps.accounts.models import User
from apps.calibration.comparisons import compare
from apps.finetunes.models import FineTune
from apps.jobs.job_list import job_row
from apps.jobs.job_page import job_page
from apps.jobs.models import Attempt, Job, MetricPoint
from apps.jobs.presentation import reason_sentence


def fine_tune_rows(user: User) -> list[dict[str, Any]]:
    """Newest first, with the newest losses of each, in a fixed number of queries."""
    rows = FineTune.objects.visible_to(user).select_related("base__model", "dataset", "output__model", "created_by")
    fine_tunes = list(rows.order_by("-pk")[:100])
    jobs = {job.pk: job for job in Job.objects.filter(pk__in=[row.job_id for row in fine_tunes]).for_display()}
    losses, best = _losses(list(jobs)), _best_evals(list(jobs))
    return [
        job_row(jobs[row.job_id])
        | {
            "fine_tune": row,
            "loss": losses.get((row.job_id, "loss"), []),
            "eval_loss": losses.get((row.job_id, "eval_loss"), []),
            "best_eval": best.get(row.job_id),
        }
        for row in fine_tunes
    ]


def _losses(job_pks: list[int]) -> dict[tuple[int, str], list[float]]:
    """Of each job those of its newest attempt that has any."""
    points = MetricPoint.objects.filter(attempt__job_id__in=job_pks, name__in=["loss", "eval_loss"])
    rows = points.order_by("step").values_list("attempt__job_id", "attempt__epoch", "name", "value")
    epochs: dict[int, int] = {}
    series: dict[tuple[int, int, str], list[float]] = {}
    for job_pk, epoch, name, value in rows:
        epochs[job_pk] = max(epoch, epochs.get(job_pk, epoch))
        series.setdefault((job_pk, epoch, name), []).append(value)
    return {(job_pk, name): one for (job_pk, epoch, name), one in series.items() if epoch == epochs[job_pk]}


def _best_evals(job_pks: list[int]) -> dict[int, float]:
    """Of each job the lowest of all its attempts: a resumed run goes on from what the one before it reached."""
    points = MetricPoint.objects.filter(attempt__job_id__in=job_pks, name="eval_loss").order_by()
    return dict(points.values_list("attempt__job_id").annotate(Min("value")))


def headline(rows: list[dict[str, Any]]) -> str:
    words = [row["state"] for row in rows]
    running = sum(word in ("Training", "Running", "Starting", "Loading") for word in words)
    waiting = sum(word in ("Queued", "Waiting") for word in words)
    failed = sum(word in ("Failed", "Stalled") for word in words)
    parts = [f"{running} fine-tune{'s' if running != 1 else ''} running"] if running else []
    parts += [f"{waiting} waiting"] if waiting else []
    parts += [f"{failed} failed"] if failed and not parts else []
    done = sum(word == "Done" for word in words)
    return ", ".join(parts) if parts else f"{done} fine-tune{'s' if done != 1 else ''} done, none running"


def lede(rows: list[dict[str, Any]]) -> str:
    """Where the newest running one stands, and why the newest failed one failed."""
    parts = []
    if running := next((row for row in rows if row["state"] == "Training"), None):
        done, losses = running["job"].progress_fraction, running["eval_loss"]
        share = "" if done is None else f"{100 * done:.0f}% done"
        best = ", its best so far" if losses and losses[-1] == running["best_eval"] else ""
        loss = f"eval loss {losses[-1]:.3f}{best}" if losses else ""
        if words := ", ".join(filter(None, [share, loss])):
            parts.append(f"{running['fine_tune'].name}: {words}.")
    if failed := next((row for row in rows if row["job"].status == "failed"), None):
        parts.append(f"{failed['fine_tune'].name} failed: {failed['reason'].lower()}.")
    return " ".join(parts) or "A fine-tune teaches a model your data and becomes a model version with its lineage."


def fine_tune_page(fine_tune: FineTune) -> dict[str, Any]:
    job = Job.objects.for_display().get(pk=fine_tune.job_id)
    charted = job.measured_attempt or next(iter(job.attempts.all()), None)
    series = {one["name"]: one for one in charted.metric_points.as_series()} if charted else {}
    last = {name: one["values"][-1] for name, one in series.items()}
    return job_page(job) | {
        "fine_tune": fine_tune,
        "charted": charted,
        "series": series,
        "last": last,
        "best_eval": _best_evals([job.pk]).get(job.pk),
        "lede": _lede(job, last),
        "comparisons": compare(job),
        "charts": _charts(job, charted, series),
    }


def _charts(job: Job, charted: Attempt | None, series: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The data of the three charts; the first carries the stream that appends to all of them."""

    def one(name: str, title: str, kind: str = "line") -> dict[str, Any]:
        known = series.get(name, {"steps": [], "values": []})
        return {"name": title, "source": name, "kind": kind, "steps": known["steps"], "values": known["values"]}

    end = job.progress_total or 0
    stream = ""
    if charted is not None and charted.ended_at is None:
        address = reverse("job_metrics_stream", args=[job.public_id])
        stream = f"{address}?attempt={charted.epoch}&after={_last_point(charted)}"
    loss = [one("loss", "train, raw", "raw"), one("loss", "train", "smooth"), one("eval_loss", "eval", "dots")]
    return {
        "loss": {"series": loss, "x_end": end, "stream": stream},
        "rate": {"series": [one("learning_rate", "learning rate")], "x_end": end, "zero": True},
        "norm": {"series": [one("grad_norm", "gradient norm")], "x_end": end, "zero": True},
    }


def _last_point(attempt: Attempt) -> int:
    return attempt.metric_points.order_by("-pk").values_list("pk", flat=True).first() or 0


def _lede(job: Job, last: dict[str, float]) -> str:
    if job.status == "queued":
        return job.wait_reason or "It is next in line."
    if job.status == "failed":
        return f"{reason_sentence(job)}. {job.cause}"
    if "loss" not in last:
        return "The engine is starting; the curve begins with its first step."
    loss = f"Train loss {last['loss']:.3f}"
    return f"{loss}, eval loss {last['eval_loss']:.3f}." if "eval_loss" in last else f"{loss}."
