"""Telemetry on the server: kept once, rolled up, forgotten by the day, and read back as a chart needs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.fleet.energy import energy_joules
from apps.fleet.history import POINTS, device_history, recent_load
from apps.fleet.ingest import record_telemetry
from apps.fleet.models import FLEET_ID, Device, DeviceHour, DeviceMinute, DeviceSample, Host, HostLoad
from apps.fleet.partitions import SAMPLES, _partitions
from apps.fleet.rollups import forget, roll_up
from apps.fleet.schemas import InventoryIn, SampleIn
from apps.fleet.services import enrol_host, note_host_seen, record_inventory
from tests.factories import api_headers, make_host, make_team, make_user
from tests.fleet.test_hosts import call

pytestmark = pytest.mark.django_db
GIB = 1024**3
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def sample(host: Host, at: datetime, util: float = 50, power: float | None = 200, **fields: Any) -> SampleIn:
    gpus = [
        {"uuid": gpu.uuid, "util_percent": util, "memory_used_bytes": GIB, "temperature_c": 60, "power_w": power}
        for gpu in host.devices.filter(kind="gpu")
    ]
    return SampleIn.model_validate({"at": at, "cpu_percent": 12.5, "ram_used_bytes": GIB, "gpus": gpus} | fields)


def steady(host: Host, start: datetime, seconds: int, **fields: Any) -> None:
    """A sample every 5 s, sent in one call just after."""
    samples = [sample(host, start + timedelta(seconds=second), **fields) for second in range(0, seconds, 5)]
    record_telemetry(host=host, samples=samples, now=start + timedelta(seconds=seconds))


def gpu_of(host: Host, index: int = 0) -> Device:
    return host.devices.get(kind="gpu", index=index)


def after(**time: float) -> datetime:
    return NOON + timedelta(**time)


def test_both_shapes_of_the_call_and_a_sample_sent_twice(client: Client) -> None:
    host, token = enrol_host(name="atlas")
    Device.objects.create(host=host, kind="cpu", uuid="cpu", name="CPU")
    now = timezone.now()

    def body(second: int, cpu_percent: float) -> dict[str, Any]:
        at = (now + timedelta(seconds=second)).isoformat()
        return {"at": at, "cpu_percent": cpu_percent, "ram_used_bytes": GIB, "disk_free_bytes": 5}

    assert call(client, "telemetry", token, body(0, 12.5)).json() == {"kept": 1}
    assert call(client, "telemetry", token, {"samples": [body(0, 99), body(5, 20)]}).status_code == 200
    assert list(DeviceSample.objects.order_by("at").values_list("util_percent", flat=True)) == [12.5, 20]
    host.refresh_from_db()
    assert (host.disk_free_bytes, host.is_silent, host.load.cpu_percent) == (5, False, 20)
    for wrong, field in (
        (body(0, 1) | {"at": "2026-11-20T12:00:00"}, "samples.0.at"),  # no time zone
        ({"samples": [body(0, 1), {}]}, "samples.1.at"),
        ({"samples": []}, "samples"),
        ({"samples": [body(0, 1)] * 501}, "samples"),
    ):
        answer = call(client, "telemetry", token, wrong)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_backlog_is_one_copy_and_a_resent_one_adds_what_is_missing() -> None:
    host = make_host(gpus=8)
    samples = [sample(host, after(seconds=5 * n)) for n in range(120)]
    record_telemetry(host=host, samples=samples[:1], now=NOON)
    with CaptureQueriesContext(connection) as queries:
        assert record_telemetry(host=host, samples=samples[1:60], now=after(minutes=10)) == 59 * 9
    assert len(queries) <= 8
    record_telemetry(host=host, samples=samples, now=after(minutes=10))  # its answer was lost
    assert DeviceSample.objects.count() == 120 * 9


def test_what_has_no_place_in_the_history() -> None:
    host = make_host(gpus=1)
    stray = sample(host, NOON, gpus=[{"uuid": "GPU-unheard-of", "util_percent": 9}])
    too_old, far_ahead = sample(host, after(hours=-25)), sample(host, after(hours=1), cpu_percent=77)
    assert record_telemetry(host=host, samples=[too_old, stray, far_ahead], now=NOON) == 1  # the CPU, at noon
    load = HostLoad.objects.get()
    assert (load.cpu_percent, load.at) == (77, after(minutes=10))
    # The clock is set right: what comes is shown at once, and kept.
    assert record_telemetry(host=host, samples=[sample(host, after(seconds=5))], now=after(seconds=5)) == 2
    assert HostLoad.objects.get().cpu_percent == 12.5


def test_samples_become_minutes_hours_and_the_fleet() -> None:
    host = make_host(gpus=2)
    gpu = gpu_of(host)
    steady(host, NOON, 60, util=100, power=300)
    steady(host, after(minutes=1), 60, util=0, power=100)
    assert roll_up(now=after(minutes=2, seconds=9)) == 1
    minutes = DeviceMinute.objects.filter(device_id=gpu.pk).order_by("at")
    assert [(row.at, row.seconds, row.util_percent, row.power_w) for row in minutes] == [
        (NOON, 60, 100, 300), (after(minutes=1), 60, 0, 100),
    ]  # fmt: skip
    hour = DeviceHour.objects.get(device_id=gpu.pk)
    assert (hour.at, hour.seconds, hour.util_percent, hour.util_max, hour.temperature_c) == (NOON, 120, 50, 100, 60)
    fleet = DeviceMinute.objects.filter(device_id=FLEET_ID).order_by("at").first()
    assert fleet is not None
    assert (fleet.util_percent, fleet.memory_bytes, fleet.power_w) == (100, 2 * GIB, 600)
    assert DeviceHour.objects.get(device_id=FLEET_ID).power_w == 400
    assert roll_up(now=after(minutes=2, seconds=50)) == 0


def test_late_samples_roll_their_minute_again_and_twice_is_once() -> None:
    host, other = make_host(gpus=1), make_host(gpus=1)
    for each in (host, other):
        steady(each, NOON, 30)
    roll_up(now=after(minutes=5))
    assert DeviceMinute.objects.get(device_id=gpu_of(host).pk).seconds == 30
    steady(host, after(seconds=30), 30, util=90)
    assert roll_up(now=after(minutes=6)) == 2
    before = list(DeviceMinute.objects.order_by("pk").values())
    late = DeviceMinute.objects.get(device_id=gpu_of(host).pk)
    assert (late.seconds, late.util_percent) == (60, 70)
    assert DeviceMinute.objects.get(device_id=gpu_of(other).pk).util_percent == 50
    assert DeviceMinute.objects.get(device_id=FLEET_ID).util_percent == 60
    HostLoad.objects.update(roll_from=NOON)  # a run that broke off
    roll_up(now=after(minutes=6))
    assert list(DeviceMinute.objects.order_by("pk").values()) == before


def test_old_days_are_dropped_and_old_hours_deleted() -> None:
    host = make_host(gpus=1)
    for days in (0, 1, 2):
        steady(host, after(days=days), 10)
    DeviceHour.objects.create(device_id=1, at=after(days=-363), seconds=1)
    DeviceHour.objects.create(device_id=1, at=after(days=-362), seconds=1)
    there = set(_partitions(SAMPLES))  # the day on which this runs may have one too, from a test that commits
    forget(now=after(days=2, hours=1))
    kept = set(_partitions(SAMPLES))
    assert [name[-4:] for name in sorted(there - kept)] == ["1120"]
    assert [name[-4:] for name in sorted(kept - there)] == ["1123"]  # tomorrow's is made
    assert DeviceSample.objects.filter(at__lt=after(hours=1)).count() == 0
    assert DeviceSample.objects.count() == 2 * 2 * 2
    assert DeviceHour.objects.get().at == after(days=-362)


@pytest.mark.parametrize(
    ("span", "table", "step"),
    [
        (timedelta(hours=1), "sample", 10),
        (timedelta(hours=2), "sample", 10),
        (timedelta(hours=24), "minute", 120),
        (timedelta(days=7), "hour", 3600),
        (timedelta(days=30), "hour", 3600),
        (timedelta(days=365), "hour", 13 * 3600),
    ],
)
def test_a_chart_has_at_most_720_points_from_the_cheapest_table(span: timedelta, table: str, step: int) -> None:
    now = after(seconds=7)
    with CaptureQueriesContext(connection) as queries:
        found = device_history(1, now - span, now, now=now)
    assert (found.step_seconds, f"fleet_device{table}" in queries[0]["sql"]) == (step, True)
    assert span.total_seconds() / step - 1 <= len(found.times) <= POINTS
    assert found.times[0] >= (now - span).timestamp()
    assert {len(column) for column in found.values.values()} == {len(found.times)}


def test_history_has_gaps_where_nothing_was_measured() -> None:
    host = make_host(gpus=1)
    steady(host, NOON, 20, util=40)
    steady(host, after(seconds=40), 20, util=80, power=None)
    found = device_history(gpu_of(host).pk, NOON, after(minutes=1), now=after(minutes=1))
    assert [at - NOON.timestamp() for at in found.times] == [0, 10, 20, 30, 40, 50]
    assert found.values["util_percent"] == [40, 40, None, None, 80, 80]
    assert found.values["power_w"] == [200, 200, None, None, None, None]
    roll_up(now=after(minutes=3))
    rolled = device_history(gpu_of(host).pk, NOON, after(hours=12), now=after(days=2))
    assert (rolled.values["util_percent"][0], rolled.values["util_max"][0]) == (60, 80)
    assert recent_load([gpu_of(host).pk], now=after(minutes=3)) == {gpu_of(host).pk: [60]}
    assert device_history(1, NOON, NOON, now=NOON).times == []


def test_energy_is_of_covered_time_whether_rolled_up_or_not() -> None:
    host = make_host(gpus=2)
    gpus = [gpu_of(host, index) for index in (0, 1)]
    steady(host, NOON, 120)
    steady(host, after(minutes=10), 60, power=100)

    def joules(start: float, end: float, devices: list[Device] = gpus) -> float | None:
        return energy_joules(devices=devices, start=after(minutes=start), end=after(minutes=end))

    for _ in range(2):  # from samples, then from minutes
        assert joules(0, 60) == pytest.approx(2 * (120 * 200 + 60 * 100))
        assert joules(0, 60, gpus[:1]) == pytest.approx(120 * 200 + 60 * 100)
        assert joules(0.5, 1) == pytest.approx(2 * 30 * 200)
        assert joules(3, 9) is None
        roll_up(now=after(minutes=12))
    steady(host, after(minutes=12), 30)  # minutes and samples together
    assert joules(10, 13) == pytest.approx(2 * (60 * 100 + 30 * 200))


def test_the_inventory_tells_slices_and_links() -> None:
    host = make_host()
    gpu = {"name": "NVIDIA A100", "memory_bytes": 40 * GIB, "driver": "580"}
    found = {
        "cpu": {}, "ram_bytes": GIB, "disk": {},
        "gpus": [
            gpu | {"index": 0, "uuid": "GPU-0", "power_limit_w": 250, "links": [{"uuid": "GPU-1", "kind": "nvlink"}]},
            gpu | {"index": 1, "uuid": "GPU-1", "is_split": True},
            gpu | {"index": 2, "uuid": "MIG-1", "mig_profile": "3g.20gb"},
        ],
    }  # fmt: skip
    record_inventory(host=host, inventory=InventoryIn.model_validate(found))
    whole, split, part = host.devices.filter(kind="gpu").order_by("index")
    assert (whole.links, whole.power_limit_w) == ([{"uuid": "GPU-1", "kind": "nvlink"}], 250)
    assert [each.is_present for each in (whole, split, part)] == [True, False, True]
    assert (part.mig_profile, part.uuid) == ("3g.20gb", "MIG-1")
    steady(host, timezone.now() - timedelta(minutes=3), 60)
    roll_up(now=timezone.now())
    fleet = DeviceMinute.objects.filter(device_id=FLEET_ID).order_by("at").first()
    assert fleet is not None
    assert fleet.power_w == 400, "a slice's power is its GPU's already"


def test_a_host_that_calls_often_is_written_seldom() -> None:
    now = timezone.now()
    host = make_host(last_seen_at=now - timedelta(seconds=1))
    note_host_seen(host=host)
    host.refresh_from_db()
    assert host.last_seen_at == now - timedelta(seconds=1)
    for stale in (None, now - timedelta(seconds=3)):
        Host.objects.update(last_seen_at=stale)
        note_host_seen(host=host)
        host.refresh_from_db()
        assert host.last_seen_at is not None
        assert host.last_seen_at >= now


def test_history_over_rest(client: Client) -> None:
    host, headers = make_host("atlas", gpus=2), api_headers(make_user(team=make_team()))
    start = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=5)
    steady(host, start, 60, util=40)

    def ask(path: str, **query: str) -> Any:
        return client.get(f"/api/v1/{path}", query, headers=headers)

    body = ask("hosts/atlas/history", device="1").json()
    assert (body["device"], body["step_seconds"]) == (gpu_of(host, 1).uuid, 10)
    assert len(body["times"]) == len(body["values"]["power_w"]) <= POINTS
    assert [value for value in body["values"]["util_percent"] if value is not None] == [40] * 6
    alone = ask("hosts/atlas/history", device="cpu", metric="memory_bytes", **{"from": start.isoformat()}).json()
    assert alone["device"] == "cpu"
    assert list(alone["values"]) == ["memory_bytes"]
    assert alone["values"]["memory_bytes"][:6] == [GIB] * 6
    assert datetime.fromisoformat(alone["times"][0]) == start
    roll_up(now=start + timedelta(minutes=1))
    day_ago = (timezone.now() - timedelta(days=1)).isoformat()
    fleet = ask("fleet/history", metric="power_w", **{"from": day_ago}).json()["values"]["power_w"]
    assert [value for value in fleet if value is not None] == [400]
    for path, query, status, field in (
        ("hosts/none/history", {}, 404, None),
        ("hosts/atlas/history", {"device": "7"}, 422, "device"),
        ("hosts/atlas/history", {"metric": "speed"}, 422, "metric"),
        ("hosts/atlas/history", {"from": "2026-11-20T12:00:00"}, 422, "from"),
        ("hosts/atlas/history", {"from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z"}, 422, "from"),
        ("fleet/history", {"from": "2020-11-21T00:00:00Z"}, 422, "from"),
    ):
        answer = ask(path, **query)
        assert answer.status_code == status, answer.json()
        assert (answer.json().get("errors") or [{"field": None}])[0]["field"] == field


def test_figures_that_cannot_be_leave_a_gap_and_keep_nobody_from_being_rolled_up() -> None:
    broken, sound = make_host(gpus=2), make_host(gpus=1)
    steady(broken, NOON, 60, util=1e30, power=3e38)
    steady(sound, NOON, 60, power=200)
    roll_up(now=NOON + timedelta(minutes=2))
    fleet = DeviceMinute.objects.get(device_id=FLEET_ID, at=NOON)
    assert (fleet.util_percent, fleet.power_w) == (50, 200)


@pytest.mark.parametrize("asked", ["from", "to"])
def test_a_span_at_the_calendars_end_is_refused(client: Client, asked: str) -> None:
    headers = api_headers(make_user(team=make_team()))
    answer = client.get("/api/v1/fleet/history", {asked: "0001-01-01T00:00:00Z"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == asked
