"""What was said before a run stays, and is held against what the engine said after."""

from __future__ import annotations

import pytest

from apps.calibration.comparisons import compare
from apps.calibration.schemas import estimates_out
from apps.calibration.services import NewEstimate, record_estimates
from apps.jobs.models import Job
from tests.factories import make_attempt, make_host, make_job, make_team

pytestmark = pytest.mark.django_db


def estimate(quantity: str = "weights_bytes", value: float = 100.0, unit: str = "bytes") -> NewEstimate:
    return NewEstimate(quantity, unit, value, value * 0.9, value * 1.2, "high", "test-1")


@pytest.fixture
def job() -> Job:
    return make_job(make_team(), status="running")


def test_the_first_estimate_of_a_quantity_counts(job: Job) -> None:
    record_estimates(job=job, estimates=[estimate(value=100.0)])
    record_estimates(job=job, estimates=[estimate(value=200.0), estimate("load_seconds", 40.0, "seconds")])
    record_estimates(job=make_job(job.team), estimates=[estimate(value=300.0)])
    rows = compare(job)
    assert [(row.quantity, row.title, row.value, row.unit) for row in rows] == [
        ("weights_bytes", "Weights", 100.0, "bytes"),
        ("load_seconds", "Load time", 40.0, "seconds"),
    ]
    assert (rows[0].low, rows[0].high) == (90.0, 120.0)


def test_nothing_is_measured_before_the_engine_says_so(job: Job) -> None:
    record_estimates(job=job, estimates=[estimate(), estimate("peak_widgets", 3.0, "widgets")])
    make_attempt(job, make_host(), measurements={"something_else": 5})
    rows = compare(job)
    assert [(row.title, row.measured, row.error_fraction) for row in rows] == [
        ("Weights", None, None),
        ("peak_widgets", None, None),
    ]


def test_the_newest_attempts_word_counts(job: Job) -> None:
    record_estimates(job=job, estimates=[estimate(value=100.0), estimate("load_seconds", 0.0, "seconds")])
    host = make_host()
    make_attempt(job, host, measurements={"weights_bytes": 500.0, "load_seconds": 7.0}, ended_at=job.created_at)
    make_attempt(job, host, measurements={"weights_bytes": 125.0})
    weights, load = compare(job)
    assert (weights.measured, weights.error_fraction) == (125.0, 0.25)
    assert (load.measured, load.error_fraction) == (7.0, None), "no error in relation to an estimate of 0"
    assert estimates_out(job)[0] == {
        "quantity": "weights_bytes", "unit": "bytes", "low": 90.0, "value": 100.0, "high": 120.0,
        "measured": 125.0, "error_fraction": 0.25,
    }  # fmt: skip
