"""Pages of jobs: one job, its log and files, and wishes for many at once. The list is the costs room's."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django.views.decorators.vary import vary_on_headers

from apps.accounts.access import has_role
from apps.accounts.actions import act
from apps.accounts.htmx import htmx_of, part_of, status_of
from apps.accounts.models import Role
from apps.accounts.paging import whole_number
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.jobs import services
from apps.jobs.attempt_logs import log_text
from apps.jobs.bulk import act_on_jobs
from apps.jobs.bulk_page import asked_of_many, bulk_question, say_outcomes
from apps.jobs.job_filters import JobFilter
from apps.jobs.job_page import charted_attempt, job_page, metric_charts
from apps.jobs.lookups import still_sees, visible_job
from apps.jobs.models import Attempt, Job
from apps.jobs.outputs import output_file
from apps.jobs.streams import log_stream, metrics_stream
from apps.jobs.waiting import why_waiting


@vary_on_headers("HX-Request")
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    row = visible_job(request, job_id)
    epoch = request.GET.get("attempt", "")
    charted = charted_attempt(row, epoch)
    curves = {"job": row, "charted": charted, "charts": metric_charts(charted), "asked_epoch": epoch}
    status = status_of(request, is_over=row.is_over)
    if request.GET.get("part") == "charts":
        return render(request, "jobs/charts.html", curves, status=status)
    context = job_page(row, epoch=epoch) | curves
    context["waiting"] = why_waiting(row, Job.objects.visible_to(signed_in(request)))
    context["may_act"] = has_role(request.user, Role.MEMBER, row.team)
    answer = render(request, f"jobs/job.html{part_of(request, 'live')}", context, status=status)
    if htmx_of(request) and request.GET.get("seen", "") not in ("", context["seen"]):
        answer["HX-Refresh"] = "true"
    return answer


@require_POST
def jobs_bulk(request: HttpRequest) -> HttpResponse:
    """Many jobs at once. A cancel that was not confirmed is asked back first, naming them."""
    (action, ids), user = asked_of_many(request), signed_in(request)
    asked = JobFilter.from_address(request.POST.dict())
    if action == "cancel" and ids and "confirmed" not in request.POST:
        return render(request, "jobs/bulk_confirm.html", bulk_question(user, ids) | {"asked": asked})
    try:
        say_outcomes(request, action, act_on_jobs(user=user, action=action, ids=ids))
    except Problem as problem:
        messages.error(request, str(problem))
    return redirect(f"{reverse('jobs')}?{asked.address()}".rstrip("?"))


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
    attempt = _chosen_attempt(row, request.GET.get("attempt", ""))
    return metrics_stream(row, attempt, whole_number(resume) or 0, may_go_on=lambda: still_sees(request, row))


@require_POST
def job_cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    return _act(request, job_id, services.cancel_job, "Asked {} to stop.")


@require_POST
def job_retry(request: HttpRequest, job_id: str) -> HttpResponse:
    return _act(request, job_id, services.retry_job, "{} is queued again.")


def _act(request: HttpRequest, job_id: str, service: services.JobAction, done: str) -> HttpResponse:
    row, user = visible_job(request, job_id), signed_in(request)
    act(request, lambda: service(job=row, user=user), done.format(row.public_id))
    return redirect("job", row.public_id)


def job_output(request: HttpRequest, job_id: str, output_id: int) -> HttpResponseBase:
    """A result file, as it was uploaded."""
    return output_file(visible_job(request, job_id), str(output_id))
