"""Hosts: enrolled, joined, and what they report about themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.accounts.tokens import digest_token
from apps.fleet import worker_api
from apps.fleet.models import Device, Host, HostToken, JoinToken
from apps.fleet.schemas import InventoryIn
from apps.fleet.services import create_join_token, enrol_host, join_host, record_inventory
from tests.factories import api_headers, make_team, make_user
from tests.threads import Beside

pytestmark = pytest.mark.django_db
GIB = 1024**3


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broker users are tested where there is a broker (tests/flows)."""
    monkeypatch.setattr(worker_api, "broker_url_for", lambda host: f"redis://{host.name}@broker/0")


@pytest.fixture
def admin() -> User:
    return make_user("admin", team=make_team(), is_superuser=True)


def inventory(*gpus: str, **fields: Any) -> dict[str, Any]:
    rows = [{"index": n, "uuid": uuid, "name": "RTX 4090", "memory_bytes": 24 * GIB} for n, uuid in enumerate(gpus)]
    whole = {"cpu": {"model": "EPYC", "cores": 32}, "ram_bytes": 64 * GIB, "disk": {"total_bytes": 10**12}}
    return whole | {"gpus": rows} | fields


def join(client: Client, token: str, name: str = "atlas", body: dict[str, Any] | None = None) -> Any:
    return client.post(
        "/api/worker/v1/join", {"name": name, "inventory": inventory("GPU-a") if body is None else body},
        "application/json", headers={"Authorization": f"Bearer {token}", "Stackweb-Protocol": "1"},
    )  # fmt: skip


def call(client: Client, path: str, token: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Stackweb-Protocol": "1"}
    return client.post(f"/api/worker/v1/{path}", body, "application/json", headers=headers)


def telemetry(at: datetime) -> dict[str, Any]:
    return {"at": at.isoformat(), "cpu_percent": 12.5, "ram_used_bytes": GIB, "disk_free_bytes": 5}


def test_enrolling_again_ends_the_token_of_before(client: Client) -> None:
    host, first = enrol_host(name="atlas")
    again, second = enrol_host(name="atlas")
    assert (again, Host.objects.count()) == (host, 1)
    assert call(client, "inventory", first, inventory()).status_code == 401
    assert call(client, "inventory", second, inventory()).status_code == 200
    assert first not in str(HostToken.objects.values())


@pytest.mark.parametrize("name", ["", "Atlas", "a_b", "-a", "a-", "a" * 64, "a.b", "a\n"])
def test_a_host_name_that_is_none_is_refused(client: Client, admin: User, name: str) -> None:
    _, token = create_join_token(user=admin)
    refused = join(client, token, name)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "name")
    assert JoinToken.objects.get().used_at is None, "a mistyped name must not use up the token"


def test_a_host_joins_once_by_a_token_and_is_shown(client: Client, admin: User) -> None:
    made = client.post("/api/v1/join-tokens", {}, "application/json", headers=api_headers(admin))
    assert made.status_code == 201
    token = made.json()["token"]
    assert token in made.json()["command"]
    assert JoinToken.objects.get().digest == digest_token(token)
    joined = join(client, token)
    assert joined.status_code == 201, joined.content
    body = joined.json()
    assert (body["host"]["name"], body["queue"], body["broker_prefix"]) == ("atlas", "gpu.atlas", "host.atlas.")
    assert call(client, "telemetry", body["host_token"], telemetry(timezone.now())).status_code == 200
    (host,) = client.get("/api/v1/hosts", headers=api_headers(admin)).json()["items"]
    assert [(each["kind"], each["memory_bytes"]) for each in host["devices"]] == [("cpu", 64 * GIB), ("gpu", 24 * GIB)]
    assert (host["is_silent"], host["load"]["cpu_percent"], host["cpu_count"]) == (False, 12.5, 32)
    member = api_headers(make_user(team=make_team()))
    assert client.post("/api/v1/join-tokens", {}, "application/json", headers=member).status_code == 403


def test_every_refused_join_says_what_is_wrong(client: Client, admin: User) -> None:
    _, used = create_join_token(user=admin)
    assert join(client, used, "atlas").status_code == 201
    old, expired = create_join_token(user=admin)
    JoinToken.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    _, fresh = create_join_token(user=admin)
    for token, name, status, words in (
        ("swj_nothing", "brio", 401, "This join token is unknown. Make a new one under Hardware, Add a GPU host."),
        (used, "brio", 401, "This join token was used on"),
        (expired, "brio", 401, "This join token expired on"),
        (fresh, "atlas", 409, "has joined already"),
    ):
        answer = join(client, token, name)
        # The worker's command shows the detail alone.
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert list(Host.objects.values_list("name", flat=True)) == ["atlas"]
    assert join(client, fresh, "brio").status_code == 201, "a refusal must not use up the token"


@pytest.mark.parametrize("gone", ["fenced_at", "left_at"])
def test_a_host_that_is_gone_may_join_again_under_its_name(client: Client, admin: User, gone: str) -> None:
    before = join(client, create_join_token(user=admin)[1]).json()["host_token"]
    Host.objects.update(**{gone: timezone.now()}, cordoned=True, cordon_reason="moved")
    again = join(client, create_join_token(user=admin)[1])
    assert again.status_code == 201, again.text
    host = Host.objects.get()
    assert (host.fenced_at, host.left_at) == (None, None)
    assert host.cordoned == (gone == "left_at"), "a cordon that an operator set outlives a goodbye"
    assert call(client, "telemetry", before, telemetry(timezone.now())).status_code == 401
    assert join(client, create_join_token(user=admin)[1]).status_code == 409


@pytest.mark.django_db(transaction=True)
def test_of_two_hosts_that_join_at_once_under_one_name_one_wins() -> None:
    boss = make_user("boss", is_superuser=True)
    tokens = [create_join_token(user=boss)[1] for _ in range(2)]
    body = InventoryIn.model_validate(inventory("GPU-a"))
    with transaction.atomic():
        _, kept = join_host(join_token=tokens[0], name="atlas", inventory=body)
        second = Beside(lambda: join_host(join_token=tokens[1], name="atlas", inventory=body))
        second.until_it_waits()
    refused = second.end()
    assert isinstance(refused, Problem)
    assert (refused.status, "has joined already" in refused.detail) == (409, True)
    assert HostToken.objects.get(revoked_at=None).digest == digest_token(kept)
    assert JoinToken.objects.filter(used_at=None).count() == 1, "a refusal must not use up the token"


def test_devices_that_vanish_stay_as_absent_and_come_back() -> None:
    host, _ = enrol_host(name="atlas")
    record_inventory(host=host, inventory=InventoryIn.model_validate(inventory("GPU-a", "GPU-b")))
    before = {device.uuid: device.pk for device in host.devices.all()}
    record_inventory(host=host, inventory=InventoryIn.model_validate(inventory("GPU-b", cpu={"cores": 8})))
    present = {device.uuid: (device.is_present, device.index) for device in host.devices.all()}
    assert present == {"cpu": (True, 0), "GPU-a": (False, 0), "GPU-b": (True, 0)}
    host.refresh_from_db()
    assert (host.cpu_count, host.is_silent) == (8, False)
    record_inventory(host=host, inventory=InventoryIn.model_validate(inventory("GPU-a", "GPU-b")))
    assert {device.uuid: device.pk for device in host.devices.filter(is_present=True)} == before


def test_one_hosts_inventory_leaves_anothers_devices_alone() -> None:
    hosts = [enrol_host(name=name)[0] for name in ("atlas", "brio")]
    for host in hosts:
        record_inventory(host=host, inventory=InventoryIn.model_validate(inventory("GPU-a")))
    record_inventory(host=hosts[0], inventory=InventoryIn.model_validate(inventory()))
    assert list(Device.objects.filter(kind="gpu").values_list("host__name", "is_present")) == [
        ("atlas", False),
        ("brio", True),
    ]


def test_environments_follow_the_inventory() -> None:
    host, _ = enrol_host(name="atlas")

    def environments(*rows: tuple[str, str]) -> dict[str, Any]:
        found = [{"engine": "vllm", "variant": "cpu", "path": path, "state": state} for path, state in rows]
        return inventory(environments=found)

    for rows, paths in (
        ([("/env/a", "ready"), ("/env/b", "half_made"), ("/opt/vllm", "configured")], ["/env/a", "/opt/vllm"]),
        ([("/env/b", "ready")], ["/env/b"]),
        ([], []),
    ):
        record_inventory(host=host, inventory=InventoryIn.model_validate(environments(*rows)))
        assert sorted(host.environments.values_list("path", flat=True)) == paths


def test_a_host_is_silent_after_a_while() -> None:
    host, _ = enrol_host(name="atlas")
    assert host.is_silent
    host.last_seen_at = timezone.now()
    assert not host.is_silent
    host.last_seen_at -= timedelta(seconds=46)
    assert host.is_silent


TOO_LATE = "9999-12-31T23:59:59-14:00"  # Postgres keeps it, Python cannot read it again


@pytest.mark.parametrize("field", ["booted_at", "ram_bytes", "cpu", "disk", "environments"])
def test_an_inventory_that_could_not_be_kept_or_read_again_is_refused(client: Client, field: str) -> None:
    _, token = enrol_host(name="atlas")
    wrong: dict[str, Any] = {
        "booted_at": TOO_LATE, "ram_bytes": -1, "cpu": {"cores": -1}, "disk": {"free_bytes": -1},
        "environments": [{"engine": "vllm", "variant": "cpu", "path": "/e", "size_bytes": -1}],
    }  # fmt: skip
    answer = call(client, "inventory", token, inventory() | {field: wrong[field]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert Host.objects.get().booted_at is None


@pytest.mark.parametrize("wrong", [{"index": -1}, {"memory_bytes": -1}, {"uuid": "cpu"}, {"uuid": "GPU-1"}])
def test_a_gpu_that_is_no_row_of_its_own_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    _, token = enrol_host(name="atlas")
    body = inventory("GPU-1", "GPU-2")
    body["gpus"][1] |= wrong
    assert call(client, "inventory", token, body).status_code == 422
    assert not Device.objects.exists()
