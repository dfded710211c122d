"""Waiting as a server asks, within bounds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from apps.engines.patience import Patience, asked_wait


def refusal(status: int = 429, **headers: str) -> httpx2.HTTPStatusError:
    request = httpx2.Request("GET", "http://hub")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.HTTPStatusError("no", request=request, response=httpx2.Response(status, headers=named))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "37"}, 37),
        ({"retry_after": " 0 "}, 0),
        ({"Retry_After": "9" * 40}, 999_999_999),
        ({"Retry_After": "soon"}, 5),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 -0000"}, 5),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=12;t=55'}, 5),
        ({}, 5),
    ],
)
def test_what_a_server_may_say(headers: dict[str, str], seconds: float) -> None:
    assert asked_wait(refusal(**headers)) == seconds


def test_a_date_counts_from_now() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert asked_wait(refusal(Retry_After=later)) == pytest.approx(90, abs=2)


def test_only_a_refusal_by_429_asks_to_wait() -> None:
    assert asked_wait(refusal(503, Retry_After="3")) is None
    assert asked_wait(OSError()) is None


def test_the_last_refusal_is_raised_and_each_wait_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("apps.engines.patience.time.sleep", slept.append)
    answers = [refusal(Retry_After="2"), refusal(Retry_After="3")]
    told: list[float] = []

    def ask() -> str:
        if answers:
            raise answers.pop(0)
        return "heard"

    patience = Patience(tries=3, seconds_left=6, on_wait=told.append)
    assert patience.hear(ask) == "heard"
    assert (slept, told, patience.seconds_left) == ([2, 3], [2, 3], 1)
    answers = [refusal(Retry_After="2")]
    with pytest.raises(httpx2.HTTPStatusError):
        patience.hear(ask)
    assert slept == [2, 3]


def test_a_refusal_is_the_last_once_to_wait_is_futile() -> None:
    asked = 0

    def ask() -> str:
        nonlocal asked
        asked += 1
        raise refusal(Retry_After="60")

    given_up = threading.Event()
    given_up.set()
    with pytest.raises(httpx2.HTTPStatusError):
        Patience(tries=6, seconds_left=500, wait=given_up.wait).hear(ask)
    assert asked == 1
