"""Why a job waits, and quotas, as people and programs see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.catalog.placement import model_ref
from apps.jobs.models import Job
from apps.jobs.queue import stand_of, waiting_jobs
from apps.jobs.scheduling import place_waiting_jobs
from tests.factories import GIB, api_headers, make_host, make_job, make_stored_version, make_team, make_user
from tests.jobs.conftest import submit


def waiting_job(team: Team, alice: User) -> Job:
    make_host("brio", gpus=2)
    submit(team, alice, gpus=2)
    job = submit(team, alice, gpus=2, vram_bytes=20 * GIB)
    place_waiting_jobs()
    job.refresh_from_db()
    return job


def test_a_waiting_job_says_what_each_host_says(client: Client, team: Team, alice: User) -> None:
    job = waiting_job(team, alice)
    found = client.get(f"/api/v1/jobs/{job.public_id}/waiting", headers=api_headers(alice)).json()
    assert (found["reason"], found["place"], found["length"]) == (job.wait_reason, 1, 1)
    (brio,) = found["hosts"]
    assert (brio["host"], brio["offers"], brio["can_ever"], brio["is_free"]) == (
        "brio",
        "2 × RTX 4090, 0 free",
        True,
        False,
    )
    client.force_login(alice)
    page = client.get(f"/jobs/{job.public_id}").content.decode()
    assert "Why is it waiting?" in page
    assert "2 × RTX 4090, 0 free" in page


def test_a_job_that_does_not_wait_has_no_reason(client: Client, team: Team, alice: User) -> None:
    waiting_job(team, alice)
    runs = Job.objects.exclude(status="queued").get()
    refused = client.get(f"/api/v1/jobs/{runs.public_id}/waiting", headers=api_headers(alice))
    assert (refused.status_code, "does not wait" in refused.json()["detail"]) == (409, True)


def test_neighbours_of_other_teams_have_no_name(client: Client, team: Team, alice: User) -> None:
    job = waiting_job(team, alice)
    other = make_team()
    submit(other, make_user(team=other), gpus=2)
    found = client.get(f"/api/v1/jobs/{job.public_id}/waiting", headers=api_headers(alice)).json()
    assert [(row["is_this"], row["id"]) for row in found["neighbours"]] == [(True, job.public_id), (False, None)]
    assert found["neighbours"][1]["name"] == "A job of another team"


def test_a_team_at_its_quota_waits_and_says_so(client: Client, team: Team, alice: User) -> None:
    make_host("brio", gpus=2)
    boss = make_user(is_superuser=True)
    answer = client.patch(
        f"/api/v1/teams/{team.slug}/quota", {"gpus_at_once": 1}, "application/json", headers=api_headers(boss)
    )
    assert (answer.status_code, answer.json()["gpus_at_once"]) == (200, 1)
    jobs = [submit(team, alice, gpus=1) for _ in range(2)]
    place_waiting_jobs()
    for job in jobs:
        job.refresh_from_db()
    assert [job.status for job in jobs] == ["starting", "queued"]
    assert "1 of 1" in jobs[1].wait_reason
    assert "quota" in jobs[1].wait_hint


def test_a_limit_that_is_left_out_stays_and_a_misspelt_one_is_named(client: Client, team: Team) -> None:
    boss = api_headers(make_user(is_superuser=True))

    def patch(body: dict[str, Any]) -> Any:
        return client.patch(f"/api/v1/teams/{team.slug}/quota", body, "application/json", headers=boss)

    def limits() -> tuple[int | None, int | None]:
        team.refresh_from_db()
        return team.gpus_at_once, team.gpu_hours_per_month

    assert patch({"gpus_at_once": 4, "gpu_hours_per_month": 100}).status_code == 200
    assert patch({"gpus_at_once": 2}).json()["gpu_hours_per_month"] == 100
    assert limits() == (2, 100)
    refused = patch({"gpu_hour_per_month": 50})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "gpu_hour_per_month")
    assert patch({"gpus_at_once": 3, "gpu_hours_per_month": -1}).json()["errors"][0]["field"] == "gpu_hours_per_month"
    assert limits() == (2, 100)
    assert patch({"gpu_hours_per_month": None}).status_code == 200
    assert limits() == (2, None)


@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_a_wrong_quota_is_named_and_changes_nothing(client: Client, team: Team, value: str) -> None:
    client.force_login(make_user(is_superuser=True))
    page = client.post(f"/settings/teams/{team.slug}/quota", {"gpus_at_once": value}, follow=True).content.decode()
    assert "gpus_at_once is a whole number" in page
    team.refresh_from_db()
    assert team.gpus_at_once is None


def test_only_an_admin_sets_a_quota(client: Client, team: Team, alice: User) -> None:
    refused = client.patch(
        f"/api/v1/teams/{team.slug}/quota", {"gpus_at_once": 9}, "application/json", headers=api_headers(alice)
    )
    assert refused.status_code == 403
    stranger = make_user(team=make_team())
    assert client.get(f"/api/v1/teams/{team.slug}/quota", headers=api_headers(stranger)).status_code == 404


def test_the_place_in_the_line_is_the_schedulers(team: Team, alice: User) -> None:
    kinds = [("evaluate", 0), ("train", 0), ("train", 5), ("evaluate", 5), ("train", 0)]
    jobs = [submit(team, alice, kind=kind, gpus=1, priority=priority) for kind, priority in kinds]
    line = [row.pk for row in waiting_jobs()]
    assert line == [jobs[number].pk for number in (2, 3, 1, 4, 0)]
    for number, pk in enumerate(line):
        stand = stand_of(Job.objects.get(pk=pk), neighbours=1)
        assert stand is not None
        assert (stand.place, stand.length) == (number + 1, 5)
        assert [row.pk for row in stand.near] == line[max(0, number - 1) : number + 2]
    Job.objects.filter(pk=line[0]).update(not_before=timezone.now() + timedelta(minutes=1))
    assert stand_of(Job.objects.get(pk=line[0]), neighbours=1) is None


def test_a_job_whose_files_lie_elsewhere_waits_for_that_host(team: Team, alice: User) -> None:
    atlas = make_host("atlas", gpus=1)
    make_host("brio", gpus=1)
    version = make_stored_version(team, source="path", source_ref="/data/tiny", host=atlas)
    model = model_ref(version).model_dump()

    def job(name: str, **fields: Any) -> Job:
        spec = {"kind": "evaluate", "engine": "fake-eval", "model": model}
        return make_job(team, name=name, gpus_needed=1, spec=spec, **fields)

    first = job("first", time_limit_seconds=3600)
    place_waiting_jobs()
    second, third = job("second"), job("third")
    place_waiting_jobs()
    assert first.attempts.get().host == atlas
    for waiting in (second, third):
        waiting.refresh_from_db()
        assert waiting.wait_reason == "Its files lie only on atlas. Needs 1 GPU on one host; atlas has 0 free."
        assert "It starts elsewhere once its files lie there too." in waiting.wait_hint
        assert not waiting.attempts.exists()
    assert second.expected_start_at is not None
    assert first.public_id in second.wait_hint
