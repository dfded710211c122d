"""The Usage page: a month of the viewer's teams, its CSV and its REST."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.costs.accrual import accrue_costs
from tests.factories import api_headers, make_attempt, make_host, make_job, make_team, make_user

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def team() -> Team:
    return make_team("Research")


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


def ran(team: Team, hours: float, name: str = "a run", gpus: int = 1) -> None:
    host = make_host(gpus=2)
    host.devices.filter(kind="gpu").update(gpu_type="h100-sxm")
    fields = {"claimed_at": NOON, "ended_at": NOON + timedelta(hours=hours), "device_indexes": list(range(gpus))}
    make_attempt(make_job(team, name=name), host, **fields)
    accrue_costs(now=NOON + timedelta(days=2))


def test_the_page_says_what_the_teams_of_a_person_spent(client: Client, team: Team, alice: User) -> None:
    ran(team, 2)
    ran(make_team("Strangers"), 5, name="not for alice")
    client.force_login(alice)
    page = client.get("/usage?month=2026-11").content.decode()
    assert "$ 5.90 spent in November" in page
    assert "20 Nov, Research: $ 5.90" in page
    assert "Strangers" not in page
    assert "not for alice" not in page


def test_without_a_price_the_page_counts_hours(client: Client, team: Team, alice: User, settings: object) -> None:
    settings.CURRENCY = "EUR"  # type: ignore[attr-defined]
    ran(team, 3)
    client.force_login(alice)
    page = client.get("/usage?month=2026-11").content.decode()
    assert "3.0 GPU-hours used in November" in page
    assert "no price" in page


def test_an_empty_month_and_one_that_nobody_can_read(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "Nothing ran in March" in client.get("/usage?month=2026-03").content.decode()
    assert client.get("/usage?month=soon").status_code == 200


def test_a_quota_stands_beside_what_was_used(client: Client, team: Team, alice: User) -> None:
    ran(team, 2)
    Team.objects.filter(pk=team.pk).update(gpu_hours_per_month=8)
    client.force_login(alice)
    assert 'aria-valuenow="25"' in client.get("/usage?month=2026-11").content.decode()


def test_csv_has_every_attempt_and_no_formula(client: Client, team: Team, alice: User) -> None:
    ran(team, 1, name="=HYPERLINK(1)")
    client.force_login(alice)
    answer = client.get("/usage.csv?month=2026-11")
    assert "stackweb-usage-2026-11.csv" in answer["Content-Disposition"]
    (row,) = csv.DictReader(answer.content.decode().splitlines())
    assert (row["name"], row["device_type"], row["device_hours"]) == ("'=HYPERLINK(1)", "h100-sxm", "1.000000")
    assert (row["cost"], row["currency"]) == ("2.950000", "USD")


def test_rest_gives_the_same_csv_to_a_token(client: Client, team: Team, alice: User) -> None:
    ran(team, 1)
    headers = api_headers(alice)
    given = client.get("/api/v1/costs?month=2026-11&format=csv", headers=headers)
    client.force_login(alice)
    assert given.content == client.get("/usage.csv?month=2026-11").content
    refused = client.get("/api/v1/costs?format=xlsx", headers=headers)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "format")


def test_rest_gives_the_sums_and_names_a_wrong_month(client: Client, team: Team, alice: User) -> None:
    ran(team, 2, gpus=2)
    headers = api_headers(alice)
    answer = client.get("/api/v1/costs?month=2026-11&group=gpu_type", headers=headers).json()
    assert (answer["total"]["gpu_seconds"], answer["total"]["cost"]) == (14400, 11.8)
    assert [row["label"] for row in answer["items"]] == ["h100-sxm"]
    for path, field in (("month=Nov", "month"), ("month=9999-12", "month"), ("group=colour", "group")):
        refused = client.get(f"/api/v1/costs?{path}", headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_a_jobs_cost_is_its_teams_alone(client: Client, team: Team, alice: User) -> None:
    ran(team, 2)
    job = team.jobs.get() if hasattr(team, "jobs") else make_job(team)
    stranger = make_user("carol", team=make_team())
    assert client.get(f"/api/v1/jobs/{job.public_id}/cost", headers=api_headers(stranger)).status_code == 404
    assert client.get(f"/api/v1/jobs/{job.public_id}/cost", headers=api_headers(alice)).status_code == 200
    client.force_login(alice)
    assert "Cost" in client.get(f"/jobs/{job.public_id}/cost").content.decode()
