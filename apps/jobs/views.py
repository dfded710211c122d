"""Pages of jobs: the list, one job, its log."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST
from django.views.decorators.vary import vary_on_headers

from apps.accounts.paging import whole_number
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.jobs import services
from apps.jobs.attempt_logs import log_text
from apps.jobs.job_list import job_list
from apps.jobs.job_page import job_page
from apps.jobs.lookups import still_sees, visible_job
from apps.jobs.models import Attempt, Job
from apps.jobs.streams import log_stream, metrics_stream
from apps.jobs.waiting import why_waiting


@vary_on_headers("HX-Request")
def jobs(request: HttpRequest) -> HttpResponse:
    context = job_list(
        signed_in(request),
        show=request.GET.get("show", "all"),
        kind=request.GET.get("kind", ""),
        cursor=request.GET.get("cursor", ""),
    )
    part = "#list" if request.htmx else ""  # type: ignore[attr-defined]
    return render(request, f"jobs/jobs.html{part}", context)


@vary_on_headers("HX-Request")
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    row = visible_job(request, job_id)
    context = job_page(row, epoch=request.GET.get("attempt", ""))
    context["waiting"] = why_waiting(row, Job.objects.visible_to(signed_in(request)))
    part = "#live" if request.htmx else ""  # type: ignore[attr-defined]
    # 286 tells htmx to stop polling: an ended job moves no more.
    status = 286 if request.htmx and context["job"].is_over else 200  # type: ignore[attr-defined]
    return render(request, f"jobs/job.html{part}", context, status=status)


def _chosen_attempt(job: Job, epoch: str) -> Attempt | None:
    return next((each for each in job.attempts.all() if str(each.epoch) == epoch), None)


def job_log(request: HttpRequest, job_id: str) -> HttpResponseBase:
    """The whole log of an attempt as a download."""
    row = visible_job(request, job_id)
    attempt = _chosen_attempt(row, request.GET.get("attempt", "")) or row.attempts.first()
    name = f"{row.public_id}-attempt-{attempt.epoch}.log" if attempt else ""
    return log_text(attempt, filename=name)


def job_log_stream(request: HttpRequest, job_id: str) -> StreamingHttpResponse:
    row = visible_job(request, job_id)
    resume = request.headers.get("Last-Event-ID", "") or request.GET.get("offset", "")
    attempt = _chosen_attempt(row, request.GET.get("attempt", ""))
    return log_stream(row, attempt, whole_number(resume), may_go_on=lambda: still_sees(request, row))


def job_metrics_stream(request: HttpRequest, job_id: str) -> StreamingHttpResponse:
    resume = request.headers.get("Last-Event-ID", "") or request.GET.get("after", "")
    row = visible_job(request, job_id)
    return metrics_stream(row, whole_number(resume) or 0, may_go_on=lambda: still_sees(request, row))


@require_POST
def job_cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    return _act(request, job_id, services.cancel_job, "Asked {} to stop.")


@require_POST
def job_retry(request: HttpRequest, job_id: str) -> HttpResponse:
    return _act(request, job_id, services.retry_job, "{} is queued again.")


def _act(request: HttpRequest, job_id: str, service: services.JobAction, done: str) -> HttpResponse:
    row = visible_job(request, job_id)
    try:
        service(job=row, user=signed_in(request))
        messages.success(request, done.format(row.public_id))
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect("job", row.public_id)
