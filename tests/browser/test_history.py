"""The history of a host's devices: charts are drawn, and a switch brings others without a new page."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apps.fleet.ingest import record_telemetry
from apps.fleet.models import Host
from apps.fleet.rollups import roll_up
from apps.fleet.schemas import SampleIn
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import GIB, make_host, make_team, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def fill(host: Host) -> None:
    """Half a day, a sample a minute."""
    now = timezone.now()
    gpus = list(host.devices.filter(kind="gpu"))
    samples = []
    for minutes in range(720, 0, -1):
        wave = 50 + 40 * math.sin(minutes / 20)
        loads = [
            {"uuid": gpu.uuid, "util_percent": round(wave), "memory_used_bytes": (10 + gpu.index) * GIB,
             "temperature_c": 40 + wave / 4, "power_w": 100 + 4 * wave}
            for gpu in gpus
        ]  # fmt: skip
        sample = {"at": now - timedelta(minutes=minutes), "cpu_percent": 20, "ram_used_bytes": 9 * GIB, "gpus": loads}
        samples.append(SampleIn.model_validate(sample))
    record_telemetry(host=host, samples=samples, now=now)
    roll_up(now=now)


def test_charts_of_another_device_and_span(server: Server, signed_in: SignedIn) -> None:
    host = make_host("atlas", gpus=2)
    host.devices.filter(kind="gpu").update(power_limit_w=600)
    fill(host)
    page = signed_in(make_user("ana", team=make_team("Platform")))
    page.goto(f"{server.url}/hardware/atlas")
    history = page.locator("#history")
    expect(history.locator("canvas")).to_have_count(4)
    expect(history).to_contain_text("History of GPU 0")
    history.get_by_role("link", name="24 h").click()
    expect(history).to_contain_text("2 min a point")
    expect(history.locator("canvas")).to_have_count(4)
    expect(history.locator(".readout").first).to_contain_text("highest")
    history.get_by_role("link", name="CPU").click()
    expect(history).to_contain_text("History of CPU")
    expect(history.locator("canvas")).to_have_count(2)
    expect(history.get_by_role("link", name="24 h")).to_have_attribute("aria-current", "true")
