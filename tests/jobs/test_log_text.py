"""A log over REST: as JSON with offsets, or as plain text."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.models import Team, User
from apps.jobs.attempt_logs import read_log
from tests.jobs.conftest import Worker, start


def test_a_log_comes_as_plain_text_too(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    url = f"/api/v1/jobs/{job.public_id}/logs"
    asks = Client()
    asks.force_login(alice)
    assert asks.get(url, {"format": "text"}).content == b""
    worker.call("POST", f"attempts/{attempt.uuid}/logs?{lease}&offset=0", 'one\n"zwö"\n'.encode())
    whole = asks.get(url, {"format": "text"})
    assert (whole.getvalue().decode(), whole["Content-Type"]) == ('one\n"zwö"\n', "text/plain; charset=utf-8")
    assert "attachment" not in whole.get("Content-Disposition", "")
    assert asks.get(url, {"format": "text", "offset": 4}).getvalue().decode() == '"zwö"\n'
    assert asks.get(url).json()["text"] == 'one\n"zwö"\n'
    wrong = asks.get(url, {"format": "txt"})
    assert (wrong.status_code, "text" in wrong.json()["detail"]) == (422, True)


@pytest.mark.parametrize("offset", [8, 9, 2**63, 10**30])
def test_past_its_end_a_log_is_empty_through_every_door(team: Team, alice: User, worker: Worker, offset: int) -> None:
    job, attempt = start(team, alice, worker)
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    worker.call("POST", f"attempts/{attempt.uuid}/logs?{lease}&offset=0", b"one\ntwo\n")
    asks = Client()
    asks.force_login(alice)
    url = f"/api/v1/jobs/{job.public_id}/logs"
    text = asks.get(url, {"format": "text", "offset": offset})
    assert (text.status_code, text.getvalue(), text.get("Content-Length", "0")) == (200, b"", "0")
    told = asks.get(url, {"offset": offset}).json()
    assert (told["offset"], told["next_offset"], told["size_bytes"], told["text"]) == (offset, offset, 8, "")
    attempt.refresh_from_db()
    assert read_log(attempt, offset) == b""
