"""The planner's decode speed is held against requests that had the engine to themselves."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import Team
from apps.calibration.services import NewEstimate, past_accuracy, record_estimates
from apps.gateway.decode_speeds import QUANTITY, Timed, note_decode_speeds, rates_alone
from apps.gateway.models import UsageRecord
from apps.jobs.models import Attempt
from apps.serving.models import Endpoint
from tests.factories import api_headers, make_host, make_live_endpoint, make_team, make_user

START = datetime(2026, 11, 30, tzinfo=timezone.get_fixed_timezone(0))
CONTEXT = {"device": "RTX 4090", "engine": "vllm"}


def estimate() -> NewEstimate:
    return NewEstimate(QUANTITY, "tok/s", 100.0, 60.0, 140.0, "low", "roofline-2", CONTEXT)


def served(team: Team, number: int = 0, *, ready: timedelta = timedelta(hours=1)) -> Endpoint:
    endpoint = make_live_endpoint(
        team, make_host(), f"chat-{number}", port=18100 + number, ready_at=timezone.now() - ready
    )
    record_estimates(job=endpoint.replicas.get().job, estimates=[estimate()])
    return endpoint


def answer(endpoint: Endpoint, *, minutes: float, rate: float = 80.0, seconds: float = 1.0, **fields: object) -> None:
    """Ended some minutes ago; the first token came at once."""
    given = {"status": 200, "is_stream": True, "completion_tokens": round(rate * seconds) + 1, "ttft_ms": 0.0,
             "duration_ms": 1000 * seconds, "at": timezone.now() - timedelta(minutes=minutes)} | fields  # fmt: skip
    UsageRecord.objects.create(
        uuid=uuid.uuid4(), team_id=endpoint.team_id, route=endpoint.name, endpoint_id=endpoint.pk, **given
    )


def told(endpoint: Endpoint) -> float | None:
    value: float | None = Attempt.objects.get(job__replica__endpoint=endpoint).measurements.get(QUANTITY)
    return value


def test_only_requests_without_company_count() -> None:
    def timed(begun: float, ended: float, rate: float | None) -> Timed:
        return Timed(START + timedelta(seconds=begun), START + timedelta(seconds=ended), rate)

    within = [timed(0, 10, 1.0), timed(2, 3, 2.0), timed(4, 5, 3.0)]  # the second and third run beside the first
    chained = [timed(20, 22, 4.0), timed(21, 23, 5.0)]
    alone = [timed(30, 31, 6.0), timed(31, 32, 7.0), timed(40, 41, None), timed(50, 51, 8.0)]
    assert rates_alone([*alone, *within, *chained]) == [6.0, 7.0, 8.0]
    assert rates_alone([]) == []


@pytest.mark.django_db
def test_the_middle_of_five_requests_is_kept_with_the_attempt() -> None:
    endpoint = served(make_team(), ready=timedelta(minutes=30))
    Attempt.objects.update(measurements={"weights_bytes": 5.0})
    for number in range(4):
        answer(endpoint, minutes=2 + number, rate=80 + number)
    answer(endpoint, minutes=31, rate=500)  # before it was ready
    answer(endpoint, minutes=8, rate=500, prompt_tokens=30_000)
    answer(endpoint, minutes=9, rate=500, is_stream=False)
    answer(endpoint, minutes=10, rate=500, completion_tokens=15)
    answer(endpoint, minutes=11, rate=500, is_exact=False)
    answer(endpoint, minutes=12, rate=500, seconds=20)
    answer(endpoint, minutes=12.1, rate=500, status=502)  # beside the one before
    assert note_decode_speeds() == 0
    assert told(endpoint) is None
    answer(endpoint, minutes=15, rate=20)
    assert note_decode_speeds() == 1
    assert told(endpoint) == pytest.approx(81)
    assert Attempt.objects.get().measurements["weights_bytes"] == 5.0


@pytest.mark.django_db
def test_a_server_whose_speed_nobody_estimated_is_measured_too() -> None:
    endpoint = served(make_team())
    endpoint.replicas.get().job.estimates.all().delete()
    for number in range(5):
        answer(endpoint, minutes=2 + number)
    assert note_decode_speeds() == 1
    assert told(endpoint) == pytest.approx(80)


@pytest.mark.django_db
def test_the_ledger_shows_the_error_and_corrects_from_three_servers_on(client: Client) -> None:
    team = make_team("Lab")
    alice = make_user("alice", team=team)
    client.force_login(alice)
    for number in range(3):
        assert (past := past_accuracy([estimate()], QUANTITY)) is None or past.corrected is None
        endpoint = served(team, number)
        for minutes in range(2, 7):
            answer(endpoint, minutes=minutes)
        note_decode_speeds()
    corrected = past_accuracy([estimate()], QUANTITY)
    assert corrected is not None
    assert corrected.corrected == pytest.approx(100 * (1 - 0.2 * 3 / 5))
    page = client.get("/calibration").content.decode()
    assert "Decode speed estimates are off by 20% in the median on RTX 4090 with vllm" in page
    (row,) = client.get("/api/v1/calibration", headers=api_headers(alice)).json()["items"]
    assert (row["quantity"], row["n"], row["median_error"], row["range_held"]) == (QUANTITY, 3, pytest.approx(0.2), 3)
    assert f"{QUANTITY},RTX 4090,vllm,roofline-2,3,0.2" in client.get("/calibration.csv").content.decode()
