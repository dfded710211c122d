"""A broker that is gone or hangs holds nobody up; a host's user reaches its own keys only."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings as now
from django.test import Client

from apps.fleet.broker import broker_answers, broker_url_for
from apps.fleet.models import Host, JoinToken
from apps.fleet.services import create_join_token
from apps.jobs import doorbell
from tests.factories import make_host, make_user

PATIENCE_SECONDS = 5.0


@pytest.fixture(autouse=True)
def fresh_publisher() -> Iterator[None]:
    doorbell._publisher.cache_clear()
    yield
    doorbell._publisher.cache_clear()


@pytest.fixture(params=["gone", "hangs"])
def sick_broker(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if request.param == "hangs":
            port.listen()
        settings.REDIS_URL = f"redis://127.0.0.1:{port.getsockname()[1]}/0"
        yield


def test_a_sick_broker_is_noticed_and_submitting_does_not_wait_for_it(sick_broker: None) -> None:
    begun = time.monotonic()
    assert not broker_answers()
    doorbell._ring(doorbell._publisher(""), "jobs.place", "control")
    assert time.monotonic() - begun < PATIENCE_SECONDS


@pytest.mark.django_db
def test_a_join_uses_up_no_token_and_takes_no_name_while_the_broker_is_sick(sick_broker: None, client: Client) -> None:
    _, token = create_join_token(user=make_user("admin", is_superuser=True))
    assert join(client, "swj_unknown").status_code == 401  # the first request also loads every page
    begun = time.monotonic()
    refused = join(client, token)
    assert time.monotonic() - begun < PATIENCE_SECONDS
    assert (refused.status_code, refused.json()["title"]) == (503, "Broker away")
    assert (Host.objects.count(), JoinToken.objects.get().used_at) == (0, None)


@pytest.mark.django_db
def test_a_join_after_it_gets_a_way_to_the_broker(redis_url: str, client: Client) -> None:
    _, token = create_join_token(user=make_user("admin", is_superuser=True))
    joined = join(client, token)
    assert (joined.status_code, joined.json()["broker_url"].startswith("redis://host-atlas:")) == (201, True)


def join(client: Client, token: str) -> Any:
    body = {"name": "atlas", "inventory": {"cpu": {"model": "EPYC", "cores": 4}, "ram_bytes": 2**34, "disk": {}}}
    headers = {"Authorization": f"Bearer {token}", "Stackweb-Protocol": "1"}
    return client.post("/api/worker/v1/join", body, "application/json", headers=headers)


@pytest.mark.django_db
def test_a_hosts_broker_user_reaches_its_own_keys_only(redis_url: str) -> None:
    assert broker_answers()
    atlas, brio = make_host("atlas"), make_host("brio")
    url = broker_url_for(atlas)
    assert url == broker_url_for(atlas), "a renewed user keeps its password"
    assert url != broker_url_for(brio)
    with redis.Redis.from_url(url) as client:
        client.set("host.atlas.x", "1")
        for key in ("host.brio.x", "x"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.set(key, "1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("FLUSHALL")
    assert now.REDIS_URL not in url


@pytest.mark.django_db
def test_a_hosts_broker_user_outlives_a_restart_of_the_broker(redis_url: str) -> None:
    url = broker_url_for(make_host("cedar"))
    with redis.Redis.from_url(redis_url) as admin:
        admin.acl_load()  # what the embedded broker does at every start
    with redis.Redis.from_url(url) as client:
        assert client.set("host.cedar.x", "1")
