"""Jobs that are asked for again at set times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AuditEvent, Membership, Role, Team, User
from apps.accounts.problems import Problem
from apps.engines.base import RunSpec
from apps.evals.models import EvalRun
from apps.evals.services import create_eval_run
from apps.finetunes.models import FineTune
from apps.finetunes.services import create_dataset, create_fine_tune
from apps.jobs.cron import next_time
from apps.jobs.kinds import KindHandler, register_kind
from apps.jobs.models import Job, Schedule
from apps.jobs.schedules import (
    ScheduleAction,
    create_schedule,
    delete_schedule,
    disable_schedule,
    enable_schedule,
    run_due_schedules,
    run_schedule_now,
)
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.schemas import TermsIn
from apps.jobs.services import cancel_job, submit_job
from apps.jobs.terms import Terms, asked_terms
from tests.factories import api_headers, make_job, make_stored_version, make_suite, make_user
from tests.finetunes.conftest import lines, row
from tests.jobs.conftest import Worker, start
from tests.jobs.test_promises import post

pytestmark = pytest.mark.usefixtures("redis_url")
NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "due"),
    [
        ("0 3 * * *", "UTC", datetime(2026, 3, 29, 3, tzinfo=UTC)),
        ("*/15 * * * *", "UTC", datetime(2026, 3, 28, 12, 15, tzinfo=UTC)),
        ("0 3 * * 1-5", "Europe/Berlin", datetime(2026, 3, 30, 1, tzinfo=UTC)),  # summer time by then
        ("30 2 29 3 *", "Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),  # skipped by the clock, not lost
    ],
)
def test_the_next_time_is_in_utc(cron: str, zone: str, due: datetime) -> None:
    assert next_time(cron, zone, NOON) == due


@pytest.mark.parametrize(
    ("cron", "zone", "field", "says"),
    [
        ("0 3 * *", "UTC", "cron", "this has 4. For example “0 3 * * 1-5”"),
        ("0 0 3 * * *", "UTC", "cron", "this has 6"),
        ("61 3 * * *", "UTC", "cron", "Wrong minute. For example"),
        ("0 3 * * funday", "UTC", "cron", "Wrong day-of-week"),
        ("0 0 30 2 *", "UTC", "cron", "For example"),
        ("0 3 * * *", "Europe/Berln", "timezone", "Did you mean “Europe/Berlin”?"),
    ],
)
def test_a_wrong_time_is_refused_by_name(cron: str, zone: str, field: str, says: str) -> None:
    with pytest.raises(Problem) as refused:
        next_time(cron, zone, NOON)
    assert (refused.value.status, refused.value.errors[0].field) == (422, field)
    assert says in refused.value.detail


@pytest.fixture
def run(team: Team, alice: User, worker: Worker) -> EvalRun:
    version = make_stored_version(team, host=worker.host)
    run = create_eval_run(team=team, user=alice, version=version, suite=make_suite(), limit=2, engine="fake-eval")
    cancel_job(job=run.job, user=alice)
    return run


@pytest.fixture
def nightly(run: EvalRun, alice: User) -> Schedule:
    return create_schedule(job=run.job, user=alice, cron="0 3 * * *", name="Nightly quiz")


def make_due(schedule: Schedule, **ago: float) -> None:
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=timezone.now() - timedelta(**(ago or {"minutes": 1})))


def test_a_due_schedule_asks_for_the_same_again_once(nightly: Schedule, run: EvalRun, alice: User) -> None:
    run_due_schedules()
    assert not nightly.jobs.exists()
    make_due(nightly, days=3)  # Stackweb was off: three times passed
    run_due_schedules()
    run_due_schedules()
    job = nightly.jobs.get()
    again = EvalRun.objects.get(job=job)
    assert (again.version, again.suite, again.tasks, again.created_by) == (run.version, run.suite, run.tasks, alice)
    assert job.spec == run.job.spec
    nightly.refresh_from_db()
    assert nightly.next_run_at > timezone.now()
    assert AuditEvent.objects.filter(action="schedule.fired").count() == 1


def test_while_the_last_one_runs_the_next_is_left_out(nightly: Schedule, alice: User) -> None:
    for _ in range(2):
        make_due(nightly)
        run_due_schedules()
    nightly.refresh_from_db()
    first = nightly.jobs.get()
    assert first.public_id in nightly.last_problem
    cancel_job(job=first, user=alice)
    make_due(nightly)
    run_due_schedules()
    nightly.refresh_from_db()
    assert (nightly.jobs.count(), nightly.last_problem) == (2, "")


def test_who_may_no_longer_ask_is_not_asked_for(nightly: Schedule, alice: User, team: Team) -> None:
    Membership.objects.filter(user=alice, team=team).update(role=Role.VIEWER)
    make_due(nightly)
    run_due_schedules()
    nightly.refresh_from_db()
    assert "role “Member”" in nightly.last_problem
    User.objects.filter(pk=alice.pk).update(is_active=False)
    make_due(nightly)
    run_due_schedules()
    nightly.refresh_from_db()
    assert "no longer here" in nightly.last_problem
    assert not nightly.jobs.exists()
    assert nightly.next_run_at > timezone.now()


def test_one_schedules_trouble_does_not_keep_the_others(
    nightly: Schedule, team: Team, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from apps.jobs import kinds

    def fail(job: Job, user: User, schedule: Schedule) -> Job:
        make_job(team, name="half made")
        raise RuntimeError("no luck")

    monkeypatch.setattr(kinds, "_HANDLERS", dict(kinds._HANDLERS))
    register_kind("convert", KindHandler(repeat=fail))
    broken = create_schedule(job=make_job(team, kind="convert"), user=alice, cron="0 3 * * *")
    for each in (broken, nightly):
        make_due(each)
    run_due_schedules()
    broken.refresh_from_db()
    assert "log says why" in broken.last_problem
    assert "no luck" in caplog.text
    assert nightly.jobs.count() == 1
    assert not Job.objects.filter(name="half made").exists()


def test_one_without_a_next_time_is_turned_off_and_the_others_fire(
    nightly: Schedule, run: EvalRun, alice: User, client: Client
) -> None:
    lost = create_schedule(job=run.job, user=alice, cron="0 3 * * *", zone="Europe/Berlin")
    Schedule.objects.filter(pk=lost.pk).update(timezone="Europe/Atlantis")  # as an update of the zones may leave it
    make_due(lost, minutes=2)
    make_due(nightly)
    run_due_schedules()
    lost.refresh_from_db()
    assert (lost.is_enabled, lost.next_run_at, lost.jobs.count()) == (False, None, 0)
    assert nightly.jobs.count() == 1
    event = AuditEvent.objects.get(action="schedule.disabled")
    assert (event.object_id, event.actor) == (lost.public_id, None)
    client.force_login(alice)
    page = client.get("/schedules").content.decode()
    assert "It was turned off: There is no time zone “Europe/Atlantis”" in page
    assert post(alice, f"schedules/{lost.public_id}/enable", {}).json()["errors"][0]["field"] == "timezone"


def test_a_fine_tune_is_repeated_under_the_next_name(team: Team, alice: User, worker: Worker) -> None:
    base = make_stored_version(team, host=worker.host)
    rows = create_dataset(team=team, user=alice, name="rows", data=lines(row()))
    tune = create_fine_tune(team=team, user=alice, name="polite", base=base, dataset=rows, engine="fake-train")
    weekly = create_schedule(job=tune.job, user=alice, cron="0 3 * * 1")
    for _ in range(2):
        make_due(weekly)
        run_due_schedules()
        cancel_job(job=weekly.jobs.latest("pk"), user=alice)
    assert [each.name for each in FineTune.objects.order_by("pk")] == ["polite", "polite-2", "polite-3"]


def test_what_was_taken_from_another_job_is_shown_and_repeated(
    team: Team, alice: User, worker: Worker, client: Client
) -> None:
    first, attempt = start(team, alice, worker)
    taken = {"steps": {"from": first.public_id, "path": "data.steps"}}
    plain, terms = asked_terms(alice, TermsIn(), taken)
    version = make_stored_version(team, host=worker.host)
    rows = create_dataset(team=team, user=alice, name="rows", data=lines(row()))
    asked: dict[str, Any] = {"team": team, "user": alice, "options": plain, "terms": terms}
    run = create_eval_run(version=version, suite=make_suite(), engine="fake-eval", **asked)
    tune = create_fine_tune(name="polite", base=version, dataset=rows, engine="fake-train", **asked)
    default = run.options["steps"]
    schedules = [create_schedule(job=each.job, user=alice, cron="0 3 * * *") for each in (run, tune)]
    for schedule in schedules:
        refused = post(alice, f"schedules/{schedule.public_id}/run", {})
        says = f"was never placed, so it has not taken options.steps from {first.public_id}"
        assert (refused.status_code, says in refused.json()["detail"]) == (409, True)
    worker.finish(attempt, exit_code=0, result={"ok": True, "data": {"steps": 7}})
    place_waiting_jobs()
    for schedule, kind, made in ((schedules[0], "eval-runs", run), (schedules[1], "fine-tunes", tune)):
        shown = client.get(f"/api/v1/{kind}/{made.public_id}", headers=api_headers(alice)).json()["options"]
        assert shown["steps"] == 7 != default
        cancel_job(job=made.job, user=alice)
        assert post(alice, f"schedules/{schedule.public_id}/run", {}).status_code in (200, 201)
        assert schedule.jobs.get().spec["options"]["steps"] == 7


def test_a_disabled_one_never_fires(nightly: Schedule, alice: User) -> None:
    make_due(nightly)
    disable_schedule(schedule=nightly, user=alice)
    run_due_schedules()
    assert not nightly.jobs.exists()


def test_over_rest(run: EvalRun, alice: User, client: Client) -> None:
    body = {"job": run.job.public_id, "cron": "0  3 * * 1-5", "timezone": "Europe/Berlin"}
    made, again = (post(alice, "schedules", body, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (made.status_code, made.json()) == (201, again.json())
    row = made.json()
    assert (row["name"], row["cron"], row["kind"], row["last_job"]) == (run.job.name, "0 3 * * 1-5", "evaluate", None)
    path = f"schedules/{row['id']}"
    fired = post(alice, f"{path}/run", {})
    assert (fired.status_code, fired.json()["kind"]) == (201, "evaluate")
    off = post(alice, f"{path}/disable", {}).json()
    assert (off["is_enabled"], off["next_run_at"], off["last_job"]["id"]) == (False, None, fired.json()["id"])
    assert post(alice, f"{path}/enable", {}).json()["next_run_at"] == row["next_run_at"]
    headers = api_headers(alice)
    listed = client.get("/api/v1/schedules", headers=headers).json()["items"]
    assert [each["id"] for each in listed] == [row["id"]]
    assert client.delete(f"/api/v1/{path}", headers=headers).status_code == 204
    assert client.get(f"/api/v1/{path}", headers=headers).status_code == 404
    assert Job.objects.filter(pk=int(fired.json()["id"].removeprefix("job-"))).exists()


def test_wrong_wishes_are_refused_by_name(team: Team, alice: User, run: EvalRun) -> None:
    wishes: list[tuple[dict[str, Any], str, str]] = [
        ({"job": run.job.public_id, "cron": "at three"}, "cron", "For example “0 3 * * 1-5”"),
        ({"job": run.job.public_id, "cron": "0 3 * * *", "timezone": "Mars"}, "timezone", "no time zone “Mars”"),
        ({"job": "job-999999", "cron": "0 3 * * *"}, "job", "There is no job"),
        ({"job": make_job(team, kind="serve").public_id, "cron": "0 3 * * *"}, "job", "cannot be repeated"),
        ({"job": run.job.public_id, "cron": "0 3 * * *", "cronn": ""}, "cronn", "Extra inputs"),
    ]
    for body, field, says in wishes:
        answer = post(alice, "schedules", body)
        assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
        assert answer.json()["errors"][0]["field"] == field
        assert says in answer.json()["errors"][0]["message"]
    bob = make_user("bob", team=team, role=Role.VIEWER)
    assert post(bob, "schedules", {"job": run.job.public_id, "cron": "0 3 * * *"}).status_code == 403
    assert not Schedule.objects.exists()


def test_the_page_repeats_a_job_and_its_buttons_work(run: EvalRun, alice: User, client: Client) -> None:
    client.force_login(alice)
    form = f"/jobs/{run.job.public_id}/repeat"
    assert f'href="{form}"' in client.get(f"/jobs/{run.job.public_id}").content.decode()
    wrong = client.post(form, {"cron": "at three", "zone": "UTC"})
    assert wrong.status_code == 422
    assert "For example “0 3 * * 1-5”" in wrong.content.decode()
    made = client.post(form, {"cron": "0 3 * * 1-5", "zone": "Europe/Berlin", "name": "Weekdays"})
    assert (made.status_code, made.headers["Location"]) == (302, "/schedules")
    row = Schedule.objects.get()
    for button, on, jobs in (("run", True, 1), ("disable", False, 1), ("enable", True, 1)):
        assert client.post(f"/schedules/{row.public_id}/{button}").status_code == 302
        row.refresh_from_db()
        assert (row.is_enabled, row.jobs.count()) == (on, jobs)
    page = client.get("/schedules").content.decode()
    assert "At 03:00 on Monday through Friday" in page
    assert row.jobs.get().public_id in page
    client.post(f"/schedules/{row.public_id}/delete")
    assert not Schedule.objects.exists()
    assert "No schedules yet" in client.get("/schedules").content.decode()


def test_the_page_asks_a_fixed_number_of_queries(
    nightly: Schedule, run: EvalRun, alice: User, django_assert_max_num_queries: Any
) -> None:
    client = Client()
    client.force_login(alice)
    with django_assert_max_num_queries(1000) as few:
        client.get("/schedules")
    for number in range(5):
        row = create_schedule(job=run.job, user=alice, cron=f"{number} 4 * * *")
        make_job(run.team, schedule=row)
        make_job(run.team, schedule=row)
    with django_assert_max_num_queries(len(few) + 4):
        client.get("/schedules")


def test_what_cannot_be_repeated_says_what_can(team: Team, alice: User, client: Client) -> None:
    client.force_login(alice)
    page = client.get(f"/jobs/{make_job(team, kind='serve').public_id}/repeat")
    assert page.status_code == 200
    assert "These can: fine-tune, evaluate, " in page.content.decode()


def test_any_other_job_is_submitted_again_with_its_spec(team: Team, alice: User, worker: Worker) -> None:
    spec = RunSpec(kind="install", engine="install", payload={"engine": "vllm", "variant": "cpu"})
    first = submit_job(
        team=team,
        user=alice,
        kind="install",
        name="Install",
        spec=spec,
        pinned_host=worker.host,
        terms=Terms(priority=3),
    )
    first.vram_bytes_needed, first.gpu_share_needed = 5, 0.5
    first.save()
    weekly = create_schedule(job=first, user=alice, cron="0 3 * * 1")
    make_due(weekly)
    run_due_schedules()
    again = weekly.jobs.get()
    same = ("kind", "name", "spec", "priority", "pinned_host_id", "created_by_id", "variant", "ram_bytes_needed")
    same += ("vram_bytes_needed", "gpu_share_needed")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]


def test_a_job_without_its_run_says_so(team: Team, alice: User) -> None:
    for kind in ("evaluate", "train"):
        row = create_schedule(job=make_job(team, kind=kind), user=alice, cron="0 3 * * *")
        answer = post(alice, f"schedules/{row.public_id}/run", {})
        assert (answer.status_code, "cannot be repeated" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("action", [disable_schedule, enable_schedule, delete_schedule, run_schedule_now])
def test_one_that_somebody_has_just_deleted_is_not_there(
    nightly: Schedule, alice: User, action: ScheduleAction
) -> None:
    seen = Schedule.objects.get()
    delete_schedule(schedule=nightly, user=alice)
    with pytest.raises(Problem) as refused:
        action(schedule=seen, user=alice)
    assert refused.value.status == 404
