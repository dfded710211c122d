"""A stream ends when whoever reads it may no longer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.models import Session
from django.test import Client

from apps.accounts.models import Team, User
from apps.jobs import streams
from apps.jobs.lookups import still_sees
from apps.jobs.streams import log_stream
from tests.factories import make_job, make_team, make_user

pytestmark = pytest.mark.django_db(transaction=True)


async def _all(events: AsyncIterator[bytes]) -> list[bytes]:
    return [event async for event in events]


def test_a_stream_asks_again_and_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.0)
    monkeypatch.setattr(streams, "HEARTBEAT_EVERY", 1)
    answers = [True, True, False]
    job = make_job(make_team())
    response = log_stream(job, None, None, may_go_on=lambda: answers.pop(0))
    events: Any = response.streaming_content
    assert async_to_sync(_all)(events) == [b": still here\n\n"] * 2
    assert answers == []


@pytest.mark.parametrize("how", ["disabled", "signed out", "left the team"])
def test_who_is_gone_sees_no_more(how: str) -> None:
    team: Team = make_team()
    alice: User = make_user("alice", team=team)
    job = make_job(team)
    client = Client()
    client.force_login(alice)
    request: Any = client.get(f"/jobs/{job.public_id}").wsgi_request
    assert still_sees(request, job)
    if how == "disabled":
        User.objects.update(is_active=False)
    elif how == "signed out":
        Session.objects.all().delete()
    else:
        alice.memberships.all().delete()
    assert not still_sees(request, job)
