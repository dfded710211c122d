"""Pages of schedules: the list, its buttons, and the form that repeats a job."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.actions import act
from apps.accounts.forms import add_problem
from apps.accounts.problems import Problem
from apps.accounts.rest import signed_in
from apps.jobs import schedules as services
from apps.jobs.kinds import handler_of
from apps.jobs.lookups import visible_job, visible_schedule
from apps.jobs.schedule_page import RepeatForm, repeatable_names, schedule_list


@require_safe
def schedules(request: HttpRequest) -> HttpResponse:
    return render(request, "jobs/schedules.html", schedule_list(signed_in(request)))


@require_http_methods(["GET", "HEAD", "POST"])
def job_repeat(request: HttpRequest, job_id: str) -> HttpResponse:
    job = visible_job(request, job_id)
    form = RepeatForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.create_schedule(job=job, user=signed_in(request), **form.cleaned_data)
            messages.success(request, f"{row.name} repeats from now on.")
            return redirect("job_schedules")
        except Problem as problem:
            add_problem(form, problem)
    context = {
        "job": job,
        "form": form,
        "is_repeatable": handler_of(job).repeats,
        "repeatable": repeatable_names(),
    }
    return render(request, "jobs/repeat.html", context, status=422 if request.method == "POST" else 200)


@require_POST
def schedule_enable(request: HttpRequest, schedule_id: str) -> HttpResponse:
    return _act(request, schedule_id, services.enable_schedule, "{} is on.")


@require_POST
def schedule_disable(request: HttpRequest, schedule_id: str) -> HttpResponse:
    return _act(request, schedule_id, services.disable_schedule, "{} is off.")


@require_POST
def schedule_delete(request: HttpRequest, schedule_id: str) -> HttpResponse:
    return _act(request, schedule_id, services.delete_schedule, "{} is deleted. Its jobs stay.")


@require_POST
def schedule_run(request: HttpRequest, schedule_id: str) -> HttpResponse:
    return _act(request, schedule_id, services.run_schedule_now, "{} is asked for once more.")


def _act(request: HttpRequest, schedule_id: str, service: services.ScheduleAction, done: str) -> HttpResponse:
    row, user = visible_schedule(request, schedule_id), signed_in(request)
    act(request, lambda: service(schedule=row, user=user), done.format(row.name))
    return redirect("job_schedules")
