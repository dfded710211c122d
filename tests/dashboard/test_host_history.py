"""The history panel of a host's page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.dashboard.host_history import history_facts
from apps.fleet.ingest import record_telemetry
from apps.fleet.rollups import roll_up
from tests.factories import make_host, make_sample, make_team, make_user
from tests.fleet.test_telemetry import sample

pytestmark = pytest.mark.django_db


def test_charts_of_the_chosen_device_and_span() -> None:
    host = make_host("atlas", gpus=2)
    now = timezone.now()
    for minutes in (9, 6, 3):
        record_telemetry(host=host, samples=[sample(host, now - timedelta(minutes=minutes), power=None)], now=now)
    roll_up(now=now)
    facts = history_facts(host, span="", device="")
    assert [(each.key, each.title, len(each.load)) for each in facts["choices"]] == [
        ("0", "GPU 0", 3), ("1", "GPU 1", 3), ("cpu", "CPU", 3),
    ]  # fmt: skip
    assert (facts["device"], facts["span"], facts["step"]) == ("0", "1h", "10 s")
    charts = {chart["title"]: chart["data"] for chart in facts["charts"]}
    assert list(charts) == ["Utilization", "Memory in use", "Temperature"], "what no sensor measured has no chart"
    assert charts["Memory in use"]["line"] == [24, "24 GiB"]
    assert [value for value in charts["Memory in use"]["series"][0]["values"] if value] == [1, 1, 1]
    week = history_facts(host, span="7d", device="cpu")
    assert [chart["title"] for chart in week["charts"]] == ["Utilization", "Memory in use"]
    assert [line["name"] for line in week["charts"][0]["data"]["series"]] == ["mean", "highest"]
    assert history_facts(host, span="99y", device="9") | {"charts": 0} == facts | {"charts": 0}


def test_the_panel_stands_on_the_page_and_comes_alone_for_a_switch(client: Client) -> None:
    host = make_host("atlas", gpus=1)
    client.force_login(make_user(team=make_team()))
    page = client.get("/hardware/atlas").text
    assert page.count('id="history"') == 1
    assert "Nothing was measured in this time" in page
    make_sample(host)
    part = client.get("/hardware/atlas?span=24h&device=0", headers={"HX-Request": "true", "HX-Target": "history"}).text
    assert part.lstrip().startswith("<section")
    assert "2 min a point" in part
    live = client.get("/hardware/atlas", headers={"HX-Request": "true", "HX-Target": "host-live"}).text
    assert 'id="history"' not in live
