"""Overview, first run, hardware, search, settings: real rows, the viewer's own, in few queries."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Role, Team, User
from apps.dashboard.fleet_picture import fleet_picture
from apps.dashboard.overview import overview_facts
from apps.dashboard.search import find
from apps.dashboard.shell import MOST_BARS, shell_facts
from apps.dashboard.usage import usage_figures
from apps.fleet.models import Device, Reservation
from apps.gateway.models import UsageRecord, VirtualKey
from apps.jobs.models import Job
from tests.factories import (
    GIB,
    api_headers,
    make_attempt,
    make_endpoint,
    make_host,
    make_job,
    make_model_version,
    make_sample,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def red() -> Team:
    return make_team("Red")


@pytest.fixture
def alice(red: Team) -> User:
    return make_user("alice", team=red)


@pytest.fixture
def carol() -> User:
    return make_user("carol", team=make_team("Blue"))


def answer_once(team: Team, **fields: Any) -> None:
    fields = {"ttft_ms": 300, "completion_tokens": 100, "duration_ms": 900} | fields
    UsageRecord.objects.create(uuid=uuid.uuid4(), team_id=team.pk, route="r", status=200, **fields)


def hold(job: Job, device: Device, *, ram_gib: int = 0, slot: int = 0) -> None:
    attempt = make_attempt(job, device.host)
    Reservation.objects.create(device=device, holder=attempt.uuid, slot=slot, ram_bytes=ram_gib * GIB)


def test_first_run_walks_to_the_overview(client: Client, alice: User, red: Team) -> None:
    make_user("boss", is_superuser=True)
    client.force_login(alice)
    assert "Waiting for a first host" in client.get("/").text
    make_host("box")
    assert "Next: pick a first model" in client.get("/").text
    make_model_version(red)
    assert "Next: ask a model something" in client.get("/").text
    assert "Run the tour" in client.get("/").text
    answer_once(red)
    assert "Nothing is served now" in client.get("/").text


def test_first_run_offers_a_viewer_nothing_to_press(client: Client, red: Team) -> None:
    client.force_login(make_user("bob", team=red, role=Role.VIEWER))
    make_host("box")
    page = client.get("/").text
    assert "/models/import" not in page.partition("<main")[2].partition("</main")[0]
    assert "Run the tour" not in page


def test_htmx_gets_the_live_part_alone(client: Client, alice: User) -> None:
    client.force_login(alice)
    part = client.get("/", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="overview-live"')
    assert part.headers["Vary"] == "HX-Request, Cookie"


def test_the_cpu_is_shared_and_says_by_whom(alice: User, red: Team) -> None:
    cpu = make_host("box", ram_gib=16).devices.get()
    hold(make_job(red, kind="serve", name="chat", status="running"), cpu, ram_gib=4)
    hold(make_job(red, kind="train", name="tune", status="running"), cpu, ram_gib=2, slot=1)
    [picture] = fleet_picture(alice)
    [well] = picture.wells
    assert [(holder.name, holder.state) for holder in well.holders] == [("chat", "Live"), ("tune", "Training")]
    assert well.parts == [("", 25.0), ("act", 12.5)]
    assert well.free_bytes == 8 * GIB, "2 GiB stay with the system"


def test_a_stranger_sees_that_a_gpu_is_held_but_not_by_what(client: Client, carol: User, red: Team) -> None:
    gpu = make_host("box", gpus=1).devices.get(kind="gpu")
    hold(make_job(red, name="secret-plan", status="running"), gpu)
    client.force_login(carol)
    page = client.get("/hardware").text
    assert "The GPU is in use" in page
    assert "another team" in page
    assert "secret-plan" not in page


def test_hardware_headline_counts_free_gpus_and_names_silent_hosts(client: Client, alice: User) -> None:
    make_host("atlas", gpus=2)
    make_host("flint", gpus=4, last_seen_at=timezone.now() - timedelta(minutes=5))
    client.force_login(alice)
    page = client.get("/hardware").text
    assert "2 GPUs free: 2 RTX 4090" in page
    assert "flint does not report" in page
    assert "Unreachable" in page


def test_hosts_over_rest(client: Client, alice: User, red: Team) -> None:
    host = make_host("box", ram_gib=16)
    make_sample(host, at=timezone.now() - timedelta(minutes=1), cpu_percent=99)
    make_sample(host, cpu_percent=12)
    hold(make_job(red, status="running"), host.devices.get(), ram_gib=3)
    [row] = client.get("/api/v1/hosts", headers=api_headers(alice)).json()["items"]
    assert row["load"]["cpu_percent"] == 12
    assert row["devices"][0]["reserved_ram_bytes"] == 3 * GIB
    assert row["is_silent"] is False


def test_overview_says_the_worst_first(alice: User, red: Team) -> None:
    make_endpoint(red, "good", status="running")
    assert overview_facts(alice)["headline"] == "Serving normally"
    make_endpoint(red, "broken", status="failed", reason="out_of_memory", cause="tried to allocate 2 GiB")
    facts = overview_facts(alice)
    assert facts["headline"] == "Serving, with 1 endpoint down"
    [alert] = facts["alerts"]
    assert alert.sentence == "failed. Out of memory: tried to allocate 2 GiB"


def test_alerts_are_of_the_last_day_and_of_ones_own_team(alice: User, carol: User, red: Team) -> None:
    make_job(red, name="old", status="failed", finished_at=timezone.now() - timedelta(days=2))
    make_job(red, name="echo", status="failed", reason="dependency_failed")
    make_job(red, name="held", status="held", reason="worker_lost")
    assert [alert.subject for alert in overview_facts(alice)["alerts"]] == ["held"]
    assert overview_facts(carol)["alerts"] == []


def test_usage_figures_are_the_teams_own(alice: User, carol: User, red: Team) -> None:
    for milliseconds in (100, 200, 300):
        answer_once(red, ttft_ms=milliseconds)
    answer_once(red, ttft_ms=None, at=timezone.now() - timedelta(days=2))
    figures = usage_figures(alice)
    assert figures["request_count"] in (0, 3), "0 in the first moments after midnight"
    assert figures["tokens_per_second"] == 1.0
    assert figures["ttft_p95_ms"] == pytest.approx(290)
    assert usage_figures(carol)["ttft_p95_ms"] is None


def test_search_finds_what_one_may_see(client: Client, alice: User, carol: User, red: Team) -> None:
    endpoint = make_endpoint(red, "support-chat", status="running")
    job = make_job(red, name="support-tune", kind="train")
    make_model_version(red, "support-7b")
    titles = {hit.title for _, hits in find(alice, "support") for hit in hits}
    assert titles == {"support-chat", "support-tune", "support-7b"} | {endpoint.replicas.get().job.name}
    assert [hit.title for _, hits in find(alice, job.public_id) for hit in hits] == ["support-tune"]
    assert find(carol, "support") == []
    client.force_login(alice)
    assert 'role="option"' in client.get("/search?q=hard").text
    assert "Nothing is named like “&lt;b&gt;”" in client.get("/search?q=<b>").text


def test_a_virtual_key_is_shown_once_and_revoked(client: Client, alice: User, carol: User) -> None:
    client.force_login(alice)
    bad = client.post("/settings/keys", {"name": "n", "requests_per_minute": "many"})
    assert bad.status_code == 422
    assert "whole number" in bad.text
    page = client.post("/settings/keys", {"name": "notebook", "requests_per_minute": "60"}).text
    key = VirtualKey.objects.get()
    assert "<code>sk-sw-" in page
    assert "<code>sk-sw-" not in client.get("/settings/tokens").text
    client.force_login(carol)
    assert client.post(f"/settings/keys/{key.public_id}/revoke").status_code == 404
    client.force_login(alice)
    assert client.post(f"/settings/keys/{key.public_id}/revoke").status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_only_an_admin_makes_a_join_command(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.post("/settings/join-tokens").status_code == 403
    client.force_login(make_user("boss", is_superuser=True))
    assert "stackweb-worker join --url" in client.post("/settings/join-tokens").text


def test_pages_need_few_queries_however_large_the_fleet(client: Client, alice: User, red: Team) -> None:
    answer_once(red)
    client.force_login(alice)
    counts = []
    for _ in range(2):
        for _ in range(10):
            host = make_host(gpus=2)
            make_sample(host)
            hold(make_job(red, kind="train", status="running"), host.devices.get(kind="gpu", index=0))
            make_endpoint(red, status="running")
            make_job(red, status="failed")
        for path in ("/", "/hardware", "/settings", "/settings/tokens", "/search?q=job"):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(path).status_code == 200
            counts.append(len(queries))
    assert counts[:5] == counts[5:], "a page asks more with more rows"
    assert max(counts) <= 40, counts


def test_the_shell_costs_few_queries(alice: User) -> None:
    make_sample(make_host(gpus=2))
    with CaptureQueriesContext(connection) as queries:
        facts = shell_facts(alice)
    assert len(queries) <= 8
    assert facts["pulse"] == [{"value": 50, "off": False}] * 2
    assert facts["pulse_words"] == "0/2 busy"


def test_a_large_fleet_has_one_bar_a_host(alice: User) -> None:
    make_sample(make_host("atlas", gpus=MOST_BARS))
    make_host("brio", gpus=1)  # never reported a load
    facts = shell_facts(alice)
    assert facts["pulse"] == [{"value": 50, "off": False}, {"value": 0, "off": True}]
    assert facts["pulse_words"] == f"0/{MOST_BARS + 1} busy"


def test_the_bars_of_any_number_of_hosts_have_room(alice: User) -> None:
    for _ in range(2 * MOST_BARS + 1):
        make_host()
    assert len(shell_facts(alice)["pulse"]) == MOST_BARS // 3 * 2 + 1


def test_the_sidebar_and_the_overview_count_the_same_jobs(red: Team, alice: User) -> None:
    make_job(red, kind="serve", status="running")
    assert (shell_facts(alice)["jobs"], "No job runs." in overview_facts(alice)["lede"]) == (0, True)
    make_job(red, kind="train", status="running")
    assert (shell_facts(alice)["jobs"], "1 job runs" in overview_facts(alice)["lede"]) == (1, True)
