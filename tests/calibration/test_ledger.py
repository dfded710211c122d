"""How accurate estimates were: grouped, corrected from three runs on, and shown to who may see them."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.models import Team
from apps.calibration.ledger import entries, groups, precedent_for
from apps.calibration.services import NewEstimate, past_accuracy, record_estimates
from apps.statistics.accuracy import Outcome, accuracy_of
from tests.factories import api_headers, make_attempt, make_host, make_job, make_team, make_user

CONTEXT = {"device": "RTX 4090", "engine": "vllm"}


def new(value: float, formula: str = "f-1", **context: str) -> NewEstimate:
    bounds = (value * 0.9, value * 1.1)
    return NewEstimate("peak_memory_bytes", "bytes", value, *bounds, "high", formula, CONTEXT | context)


def ran(team: Team, estimated: float, measured: float, formula: str = "f-1", **context: str) -> None:
    job = make_job(team, kind="serve", name=f"served {measured:g}")
    record_estimates(job=job, estimates=[new(estimated, formula, **context)])
    make_attempt(job, make_host(), measurements={"peak_memory_bytes": measured})


def test_a_factor_needs_three_runs_and_stays_bounded() -> None:
    runs = [Outcome(100, 90, 110, measured) for measured in (120, 121, 119)]
    assert accuracy_of([]) is None
    two, three = accuracy_of(runs[:2]), accuracy_of(runs)
    assert two is not None
    assert two.factor is None
    assert three is not None
    assert three.factor == pytest.approx(1 + 0.2 * 3 / 5)
    assert (three.n, three.held, three.bias) == (3, 0, pytest.approx(0.2))
    wild = accuracy_of([Outcome(1, 1, 1, 900)] * 50)
    assert wild is not None
    assert wild.factor == 2.0


@pytest.mark.django_db
def test_runs_are_grouped_by_device_engine_and_formula() -> None:
    team = make_team()
    for measured in (110, 112, 108):
        ran(team, 100, measured)
    ran(team, 100, 300, formula="f-0")
    ran(team, 100, 95, device="L4")
    job = make_job(team)
    record_estimates(job=job, estimates=[new(100)])  # nothing came yet
    assert len(entries()) == 5
    found = {(group.device, group.formula_version): group.accuracy for group in groups(entries())}
    assert found["RTX 4090", "f-1"].n == 3
    assert found["RTX 4090", "f-0"].factor is None
    asked = {"quantity": "peak_memory_bytes", "engine": "vllm", "formula_version": "f-1", "family": ""}
    here = precedent_for(device="L4", **asked)
    assert here is not None
    assert here.accuracy.median_error == pytest.approx(0.05)


@pytest.mark.django_db
def test_a_new_estimate_shows_its_own_and_the_corrected_value() -> None:
    team = make_team()
    assert past_accuracy([new(200)], "peak_memory_bytes") is None
    for _ in range(3):
        ran(team, 100, 110)
    past = past_accuracy([new(200)], "peak_memory_bytes")
    assert past is not None
    assert past.corrected == pytest.approx(200 * (1 + 0.1 * 3 / 5))
    assert past_accuracy([new(200, formula="f-2")], "peak_memory_bytes") is None


@pytest.mark.django_db
def test_the_models_own_family_speaks_once_it_has_three_runs(client: Client) -> None:
    team = make_team("Lab")
    for _ in range(5):
        ran(team, 100, 150, family="llama")
    for _ in range(2):
        ran(team, 100, 80, family="qwen3")
    few = past_accuracy([new(200, family="qwen3")], "peak_memory_bytes")
    assert few is not None
    assert (few.family, few.n, few.corrected) == ("", 7, pytest.approx(200 * (1 + 0.5 * 7 / 9)))
    ran(team, 100, 80, family="qwen3")
    own = past_accuracy([new(200, family="qwen3")], "peak_memory_bytes")
    assert own is not None
    assert (own.family, own.n, own.corrected) == ("qwen3", 3, pytest.approx(200 * (1 - 0.2 * 3 / 5)))
    unknown = past_accuracy([new(200)], "peak_memory_bytes")
    assert unknown is not None
    assert (unknown.family, unknown.n) == ("", 8)
    alice = make_user("alice", team=team)
    client.force_login(alice)
    assert "vllm, qwen3 models, formula f-1" in client.get("/calibration").text
    rows = client.get("/api/v1/calibration", headers=api_headers(alice)).json()["items"]
    assert [(row["family"], row["n"]) for row in rows] == [("", 8), ("llama", 5), ("qwen3", 3)]
    assert client.get("/calibration.csv").text.splitlines()[-1].endswith(",qwen3")


@pytest.mark.django_db
def test_page_csv_and_rest(client: Client) -> None:
    team, other = make_team("Lab"), make_team("Other")
    alice = make_user("alice", team=team)
    client.force_login(alice)
    assert "No estimate has met a measurement yet" in client.get("/calibration").content.decode()
    for measured in (110, 112, 108):
        ran(team, 100, measured)
    ran(other, 100, 777)
    page = client.get("/calibration").content.decode()
    assert "off by 11% in the median on RTX 4090 with vllm" in page
    assert "served 112" in page
    assert "served 777" not in page  # another team's job is counted, not named
    assert "Another team: +677%" in page
    lines = client.get("/calibration.csv").content.decode().splitlines()
    assert lines[1].startswith("peak_memory_bytes,RTX 4090,vllm,f-1,4,")
    ran(team, 100, 101, device="=1+1")
    assert "peak_memory_bytes,'=1+1,vllm" in client.get("/calibration.csv").content.decode()
    (row, _) = client.get("/api/v1/calibration", headers=api_headers(alice)).json()["items"]
    assert (row["n"], row["range_held"]) == (4, 2)
    none = client.get("/api/v1/calibration?engine=sglang", headers=api_headers(alice)).json()
    assert none == {"items": [], "next": None}
