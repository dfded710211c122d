"""The list of jobs: filters that combine, pages in both directions, capped counts; the same over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Q
from django.db.models.expressions import RawSQL
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.jobs import job_list
from apps.jobs.job_filters import JobFilter
from apps.jobs.job_list import job_list as listed
from apps.jobs.models import Job
from tests.factories import make_attempt, make_host, make_job, make_team, make_user


def names(context: dict[str, Any]) -> list[str]:
    return [row["job"].name for row in context["rows"]]


@pytest.fixture(autouse=True)
def counted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is at the moment."""
    monkeypatch.setattr(job_list, "COUNT_SECONDS", 30.0)


@pytest.fixture
def jobs(team: Team, alice: User) -> dict[str, Job]:
    """One of each kind that a filter tells apart."""
    now = timezone.now()
    bob, other = make_user("bob", team=team), make_team("Other")
    alice.memberships.create(team=other)
    rows = {
        "plain": make_job(team, name="plain", created_by=alice, status="succeeded"),
        "bobs": make_job(team, name="bobs tone run", kind="train", created_by=bob, status="running"),
        "stuck": make_job(team, name="stuck", created_by=bob, status="running", stalled_at=now),
        "queued": make_job(team, name="queued", kind="train", created_by=alice),
        "broken": make_job(other, name="broken Tone", created_by=alice, status="failed", reason="engine_exited"),
        "held": make_job(team, name="held", created_by=alice, status="held"),
    }
    make_attempt(rows["bobs"], make_host("atlas"))
    make_attempt(rows["plain"], make_host("brio"), ended_at=now)
    make_job(make_team("Strangers"), name="hidden tone")
    return rows


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["held", "broken Tone", "queued", "stuck", "bobs tone run", "plain"]),
        ({"show": "active"}, ["stuck", "bobs tone run"]),
        ({"show": "waiting"}, ["queued"]),
        ({"show": "attention"}, ["held", "broken Tone", "stuck"]),
        ({"kind": "train"}, ["queued", "bobs tone run"]),
        ({"engine": "fake-train", "owner": "bob"}, ["bobs tone run"]),
        ({"team": "other"}, ["broken Tone"]),
        ({"host": "brio"}, ["plain"]),
        ({"host": "nowhere"}, []),
        ({"owner": "bob", "show": "attention"}, ["stuck"]),
        ({"q": "tone"}, ["broken Tone", "bobs tone run"]),
        ({"q": "100%"}, []),
    ],
)
def test_filters_combine(jobs: dict[str, Job], alice: User, asked: dict[str, str], found: list[str]) -> None:
    assert names(listed(alice, JobFilter(**asked))) == found


def test_a_search_finds_an_id_in_any_form(jobs: dict[str, Job], alice: User) -> None:
    job = jobs["stuck"]
    for text in (job.public_id, str(job.pk), f"JOB-{job.pk}"):
        assert names(listed(alice, JobFilter(q=text))) == ["stuck"]


def test_counts_follow_the_other_filters_and_stop_at_a_thousand(
    jobs: dict[str, Job], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "MOST_COUNTED", 2)
    counts = {key: count for key, _, _, count in listed(alice, JobFilter())["tabs"]}
    assert counts == {"all": "2+", "active": "2", "waiting": "1", "attention": "2+", "done": "1", "cancelled": "0"}
    assert {key: count for key, _, _, count in listed(alice, JobFilter(kind="train"))["tabs"]}["all"] == "2"


def test_pages_in_both_directions(team: Team, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_list, "PAGE_SIZE", 2)
    for number in range(5):
        make_job(team, name=str(number))
    first = listed(alice, JobFilter())
    assert (names(first), first["newer"]) == (["4", "3"], None)
    second = listed(alice, JobFilter(), older_than=str(first["older"]))
    third = listed(alice, JobFilter(), older_than=str(second["older"]))
    assert (names(second), names(third), third["older"]) == (["2", "1"], ["0"], None)
    back = listed(alice, JobFilter(), newer_than=str(third["newer"]))
    assert names(back) == ["2", "1"]
    top = listed(alice, JobFilter(), newer_than=str(back["newer"]))
    assert (names(top), top["newer"], top["older"]) == (["4", "3"], None, first["older"])
    assert names(listed(alice, JobFilter(), older_than="x" * 40)) == ["4", "3"]


def test_the_address_holds_the_filters(jobs: dict[str, Job], alice: User, client: Client) -> None:
    client.force_login(alice)
    page = client.get("/jobs", {"show": "nonsense", "owner": "bob", "q": "tone & run", "kind": ""}).text
    assert 'href="/jobs?show=attention&amp;owner=bob&amp;q=tone+%26+run"' in page
    assert "No job matches" in page
    assert client.get("/jobs?kind=none&cursor=9999999999999999999&newer=-1").status_code == 200
    assert "at least three letters" in client.get("/jobs?q=to").text


def test_the_headline_and_what_is_next(jobs: dict[str, Job], alice: User, team: Team) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    make_job(team, status="failed", finished_at=long_ago)
    Job.objects.filter(pk=jobs["queued"].pk).update(wait_reason="Every GPU is busy.")
    context = listed(alice, JobFilter(kind="train"))
    assert context["headline"] == "2 running, 1 waiting, 1 held, 1 failed in the last day"
    assert context["next_in_line"] == jobs["queued"]


def test_left_is_estimated_from_progress(team: Team, alice: User) -> None:
    began = timezone.now() - timedelta(minutes=30)
    job = make_job(team, kind="train", status="running", started_at=began, progress_done=75, progress_total=100)
    far = timezone.now() + timedelta(hours=1)
    make_attempt(job, make_host("atlas"), claimed_at=began, lease_expires_at=far)

    def left() -> float | None:
        value: float | None = listed(alice, JobFilter())["rows"][0]["left_seconds"]
        return value

    assert left() == pytest.approx(600, abs=5)
    Job.objects.update(stalled_at=began)
    assert left() is None
    Job.objects.update(stalled_at=None, progress_done=0.5)
    assert left() is None


def test_a_page_of_jobs_costs_a_fixed_number_of_queries(
    team: Team, alice: User, client: Client, django_assert_max_num_queries: Any
) -> None:
    client.force_login(alice)
    host = make_host("atlas")
    client.get("/jobs")
    for _ in range(30):
        make_attempt(make_job(team, created_by=alice, status="succeeded"), host, ended_at=timezone.now())
        make_job(team, created_by=make_user()).after.add(make_job(team, kind="download", status="running"))
    with django_assert_max_num_queries(40):
        assert client.get("/jobs").status_code == 200


def test_rest_takes_the_same_filters(jobs: dict[str, Job], alice: User, client: Client) -> None:
    client.force_login(alice)

    def found(**query: str) -> list[str]:
        return [row["name"] for row in client.get("/api/v1/jobs", query).json()["items"]]

    assert found(owner="bob", status="running") == ["stuck", "bobs tone run"]
    assert found(team="other", q="tone", engine="fake-eval") == ["broken Tone"]
    assert found(host="atlas", kind="train") == ["bobs tone run"]
    assert client.get("/api/v1/jobs", {"host": "brio"}).json()["items"][0]["host"] == "brio", "the last attempt's"
    wrong = {
        "status": "queud", "kind": "trian", "engine": "vlm", "team": "strangers", "owner": "mallory", "host": "atlass",
        "q": "to",
    }  # fmt: skip
    for field, value in wrong.items():
        answer = client.get("/api/v1/jobs", {field: value})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_names_are_found_by_an_index_of_three_letters(db: None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'jobs_by_name'")
        row = cursor.fetchone()
    assert row is not None
    assert "gin_trgm_ops" in row[0]


def test_counts_that_take_too_long_are_left_out(team: Team, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job(team, name="one")
    slow = {key: (title, q & Q(name=RawSQL("pg_sleep(5)::text", []))) for key, (title, q) in job_list.STATES.items()}
    monkeypatch.setattr(job_list, "STATES", slow | {"all": ("All", Q())})
    monkeypatch.setattr(job_list, "COUNT_SECONDS", 0.05)
    context = listed(alice, JobFilter())
    assert ([count for _, _, _, count in context["tabs"]], names(context)) == ([""] * 6, ["one"])


def test_a_person_without_a_team_sees_nothing(team: Team) -> None:
    make_job(team)
    context = listed(make_user("lone"), JobFilter(q="job"))
    assert ({count for _, _, _, count in context["tabs"]}, context["rows"]) == ({"0"}, [])
