"""A log over REST: as JSON with offsets, or as plain text."""

from __future__ import annotations

from django.test import Client

from apps.accounts.models import Team, User
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
