"""Hardware and host pages, operator actions and REST: who may, what is shown, at what cost."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import AuditEvent, Team, User
from apps.dashboard.fleet_picture import fleet_picture
from apps.dashboard.hardware import hardware_facts
from apps.dashboard.overview import alerts, overview_facts
from apps.fleet.freeze import review_silence
from apps.fleet.models import Device, Host, Reservation
from apps.fleet.services import enrol_host
from apps.jobs.lifecycle import end_attempt
from apps.jobs.models import Attempt, Job
from tests.factories import api_headers, make_attempt, make_host, make_job, make_sample, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def red() -> Team:
    return make_team("Red")


@pytest.fixture
def alice(red: Team) -> User:
    return make_user("alice", team=red, display_name="Alice Ahn")


@pytest.fixture
def boss(red: Team) -> User:
    return make_user("boss", team=red, is_superuser=True)


@pytest.fixture
def site(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


def use(host: Host, index: int, job: Job) -> Attempt:
    now = timezone.now()
    attempt = make_attempt(
        job, host, claimed_at=now, lease_expires_at=now + timedelta(minutes=1), device_indexes=[index]
    )
    Reservation.objects.create(device=host.devices.get(kind="gpu", index=index), holder=attempt.uuid)
    return attempt


def shown(page: str) -> str:
    return page.partition("<main")[2].partition("</main")[0]


def test_busy_and_free_are_counted_and_filtered(site: Client, red: Team, alice: User) -> None:
    atlas, box = make_host("atlas", gpus=3), make_host("box")
    use(atlas, 0, make_job(red, kind="serve", name="chat-prod", status="running", created_by=alice))
    facts = hardware_facts(alice)
    assert facts["filters"] == [("all", "All", 4), ("busy", "Busy", 1), ("free", "Free", 3)]
    page = shown(site.get("/hardware", {"show": "busy"}).text)
    assert "chat-prod" in page
    assert "Serving" in page
    assert "GPU 1" not in page
    assert f'id="{box.name}"' not in page
    free = shown(site.get("/hardware", {"show": "free"}).text)
    assert "chat-prod" not in free.partition("<table")[2]


def test_a_gpu_that_another_program_uses_is_not_free(site: Client, alice: User) -> None:
    make_sample(make_host("atlas", gpus=1))  # 12 of 24 GiB in use, and no job
    assert hardware_facts(alice)["filters"] == [("all", "All", 1), ("busy", "Busy", 0), ("free", "Free", 0)]
    assert "outside Stackweb" in shown(site.get("/hardware").text).partition("<table")[2]


@pytest.mark.parametrize("asked", ["chat", "ahn", "atlas:0", "rtx ahn", "ATLAS 0"])
def test_the_search_finds_by_job_person_host_and_device(site: Client, red: Team, alice: User, asked: str) -> None:
    atlas = make_host("atlas", gpus=2)
    make_host("brio", gpus=2)
    use(atlas, 0, make_job(red, kind="serve", name="chat-prod", status="running", created_by=alice))
    rows = shown(site.get("/hardware", {"q": asked}).text).partition("<table")[2]
    assert "chat-prod" in rows
    assert "brio" not in rows
    assert "No device matches" in site.get("/hardware", {"q": "nothing-like-it"}).text


def test_a_polled_page_brings_head_and_filters_along(site: Client) -> None:
    make_host("atlas", gpus=1)
    part = site.get("/hardware", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="hardware-live"')
    assert part.count('hx-swap-oob="morph"') == 2
    assert "hx-swap-oob" not in site.get("/hardware").text


def test_waiting_jobs_are_counted_by_need_for_everybody(client: Client, red: Team) -> None:
    make_host("atlas", gpus=1)
    download = make_job(red, kind="download", status="running")
    for gpus, after in ((2, []), (2, []), (1, [download]), (0, [])):
        make_job(red, gpus_needed=gpus, ram_bytes_needed=1).after.set(after)
    client.force_login(make_user("carol", team=make_team("Blue")))
    page = client.get("/hardware").text
    assert "4 jobs wait: 2 for 2 GPUs, 1 for another job and 1 for memory." in page


def test_the_alert_stands_on_overview_and_hardware_until_it_ends(site: Client, red: Team) -> None:
    hosts = [make_host(name, last_seen_at=timezone.now() - timedelta(minutes=5)) for name in ("atlas", "brio")]
    review_silence()

    user = User.objects.get(username="boss")
    assert "2 of 2 hosts are silent at once: atlas, brio." in site.get("/hardware").text
    assert [alert.subject for alert in alerts(user, fleet_picture(user))] == ["Scheduling is frozen."], "and no more"
    Host.objects.update(last_seen_at=timezone.now())
    review_silence()
    assert "silent at once" not in site.get("/hardware").text
    assert hosts[0].name in site.get("/hardware").text


def test_512_gpus_cost_the_queries_of_two(alice: User, red: Team, client: Client) -> None:
    client.force_login(alice)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/hardware").status_code == 200
        return len(captured)

    make_host("h-0", gpus=2)
    use(Host.objects.get(), 0, make_job(red, status="running", created_by=alice))
    make_sample(Host.objects.get())
    few = queries()
    for number in range(1, 64):
        host = make_host(f"h-{number}", gpus=8)
        make_sample(host)
        for index in range(0, 8, 2):
            use(host, index, make_job(red, status="running", created_by=alice))
    assert Device.objects.filter(kind="gpu").count() == 506
    assert queries() == few


def test_a_large_fleet_comes_in_pages_of_whole_hosts(site: Client, alice: User) -> None:
    for number in range(26):
        make_host(f"h-{number:02}", gpus=8)
    first = hardware_facts(alice)
    assert ([group.picture.host.name for group in first["groups"]][-1], first["pages"]) == ("h-12", [1, 2])
    second = hardware_facts(alice, page=99)
    assert [group.picture.host.name for group in second["groups"]] == [f"h-{number}" for number in range(13, 26)]
    assert hardware_facts(alice, asked="h-25")["pages"] == [1], "a search looks at all of them"
    assert 'aria-label="Page 2"' in site.get("/hardware", {"page": "2"}).text


def test_a_host_page_says_what_it_is_and_who_uses_it(site: Client, red: Team) -> None:
    host = make_host("atlas", gpus=2, warnings=["No cgroup."], cuda_version="12.8", boot_id="b")
    first, second = host.devices.filter(kind="gpu").order_by("index")
    Device.objects.filter(pk=first.pk).update(links=[{"uuid": second.uuid, "kind": "nvlink"}])
    use(host, 1, make_job(red, kind="train", name="tune-7", status="running"))
    make_attempt(make_job(red, name="old-eval", status="succeeded"), host, ended_at=timezone.now())
    page = shown(site.get("/hardware/atlas").text)
    for said in ("tune-7", "old-eval", "No cgroup.", "12.8", "NVLink", "It takes new work. 1 job runs here."):
        assert said in page, said
    assert site.get("/hardware/nowhere").status_code == 404


def test_a_stranger_sees_a_host_but_not_whose_jobs(client: Client, red: Team) -> None:
    host = make_host("atlas", gpus=1)
    use(host, 0, make_job(red, name="secret-plan", status="running"))
    carol = make_user("carol", team=make_team("Blue"))
    client.force_login(carol)
    page = client.get("/hardware/atlas").text
    assert "another team&#x27;s job" in page or "another team's job" in page
    assert "secret-plan" not in page
    assert "Operate" not in page
    answer = client.get("/api/v1/hosts/atlas", headers=api_headers(carol)).json()
    assert [row["job"] for row in answer["running"]] == [None]


ACTIONS: list[tuple[str, dict[str, Any]]] = [
    ("cordon", {"reason": "new disk"}), ("drain", {}), ("uncordon", {}), ("fence", {"confirm": "atlas"}),
]  # fmt: skip


@pytest.mark.parametrize(("action", "body"), ACTIONS)
def test_only_an_admin_operates_and_it_is_written_down(
    client: Client, alice: User, boss: User, action: str, body: dict[str, Any]
) -> None:
    make_host("atlas", cordoned=action == "uncordon", last_seen_at=timezone.now() - timedelta(minutes=5))
    path = f"/api/v1/hosts/atlas/{action}"
    assert client.post(path, body, "application/json", headers=api_headers(alice)).status_code == 403
    done = client.post(path, body, "application/json", headers=api_headers(boss))
    assert done.status_code == 200, done.text
    assert AuditEvent.objects.get(action__startswith="host.").actor == boss
    assert done.json()["events"][0]["actor"] == "boss"
    client.force_login(alice)
    assert client.post(f"/hardware/atlas/{action}", body).status_code == 403


def test_forms_do_the_same_and_say_what_happened(site: Client) -> None:
    make_host("atlas", gpus=1)
    for action, body, said in (
        ("cordon", {"reason": "disk", "back": "hardware"}, "atlas takes no new work"),
        ("uncordon", {}, "atlas takes work again"),
        ("drain", {"now": "1"}, "It is empty and may be switched off"),
        ("fence", {"confirm": "atlas"}, "has just reported, so it is not off"),
        ("price", {"gpu_hour_price": "2,5"}, "The price of atlas is kept"),
        ("price", {"gpu_hour_price": "cheap"}, "gpu_hour_price must be a number"),
        ("price", {"gpu_hour_price": "nan"}, "gpu_hour_price must be from 0 to 1000"),
        ("price", {"gpu_hour_price": "inf"}, "gpu_hour_price must be from 0 to 1000"),
        ("devices/0/slots", {"slots": "4"}, "The slots of GPU 0 are kept"),
        ("devices/0/slots", {"slots": "none"}, "slots must be from 1 to 16"),
        ("fence", {"confirm": "atlas", "force": "1"}, "atlas is fenced"),
    ):
        answer = site.post(f"/hardware/atlas/{action}", body, follow=True)
        assert said in answer.text.replace("&#x27;", "'"), (action, said)
    assert site.post("/hardware/atlas/devices/7/slots", {"slots": "2"}).status_code == 404
    host = Host.objects.get()
    assert (str(host.gpu_hour_price), host.devices.get(kind="gpu").slots, host.state) == ("2.5000", 4, "fenced")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/drain", {"Now": True}, "Now"),
        ("POST", "/cordon", {"why": "disk"}, "why"),
        ("POST", "/fence", {"confirm": "atlas", "forced": True}, "forced"),
        ("PATCH", "", {"gpu_hour_price": 2, "gpu_price": 2}, "gpu_price"),
        ("PATCH", "", {"gpu_hour_price": "NaN"}, "gpu_hour_price"),
        ("PATCH", "/devices/0", {"slots": 2, "slot": 4}, "slot"),
    ],
)
def test_a_misspelt_field_is_named_and_nothing_changes(
    client: Client, boss: User, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    make_host("atlas", gpus=1, last_seen_at=timezone.now() - timedelta(minutes=5))
    before = list(Host.objects.values())
    answer = client.generic(
        method, f"/api/v1/hosts/atlas{path}", json.dumps(body), "application/json", headers=api_headers(boss)
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert list(Host.objects.values()) == before
    assert not AuditEvent.objects.filter(action__startswith="host.").exists()


def test_rest_sets_price_and_slots_and_names_what_is_wrong(client: Client, boss: User) -> None:
    host = make_host("atlas", gpus=1)
    headers = api_headers(boss)

    def patch(path: str, body: dict[str, Any]) -> Any:
        return client.patch(f"/api/v1/hosts/{path}", body, "application/json", headers=headers)

    assert patch("atlas", {"gpu_hour_price": "1.89"}).json()["gpu_hour_price"] == "1.8900"
    assert patch("atlas", {"gpu_hour_price": -1}).json()["errors"][0]["field"] == "gpu_hour_price"
    assert patch("atlas/devices/0", {"slots": 3}).json()["slots"] == 3
    Reservation.objects.create(device=host.devices.get(kind="gpu"), slot=2, holder=uuid.uuid4())
    refused = patch("atlas/devices/0", {"slots": 4})
    assert (refused.status_code, "GPU atlas:0 is held by" in refused.json()["detail"]) == (409, True)
    assert patch("atlas/devices/9", {"slots": 2}).status_code == 404
    host.devices.filter(kind="gpu").update(is_present=False)
    assert patch("atlas/devices/0", {"slots": 4}).status_code == 404, "a GPU that is gone"
    assert patch("nowhere", {"gpu_hour_price": 1}).status_code == 404
    wrong = client.post("/api/v1/hosts/atlas/fence", {"confirm": "x"}, "application/json", headers=headers)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "confirm")


def test_a_host_that_left_stays_by_name_and_counts_no_more(site: Client) -> None:
    make_host("atlas", gpus=1)
    make_host("gone", gpus=4, left_at=timezone.now(), last_seen_at=timezone.now() - timedelta(days=1))
    page = shown(site.get("/hardware").text)
    assert "1 GPU free" in page
    assert ">Left<" in page
    assert "gone does not report" not in page
    assert "of 1 ready" in page


def test_only_a_host_that_is_gone_and_holds_nothing_is_removed(
    site: Client, red: Team, alice: User, boss: User
) -> None:
    atlas, gone = make_host("atlas", gpus=1), make_host("old", gpus=1)
    attempt = use(gone, 0, make_job(red, status="running"))
    refused = site.delete("/api/v1/hosts/atlas", headers=api_headers(boss))
    assert (refused.status_code, "within a day" in refused.json()["detail"]) == (409, True)
    assert "Remove host" not in site.get("/hardware/atlas").text
    Host.objects.filter(pk=gone.pk).update(last_seen_at=timezone.now() - timedelta(hours=25))
    assert "Remove host" in site.get("/hardware/old").text
    assert "Jobs still belong to old" in site.delete("/api/v1/hosts/old", headers=api_headers(boss)).json()["detail"]
    end_attempt(attempt, exit_code=0, reason="", cause="", result={})
    site.force_login(alice)
    assert site.post("/hardware/old/remove").status_code == 403
    site.force_login(boss)
    assert site.post("/hardware/old/remove", follow=True).redirect_chain == [("/hardware", 302)]
    assert [row["name"] for row in site.get("/api/v1/hosts").json()["items"]] == [atlas.name]
    assert site.get("/hardware/old").status_code == 404
    assert hardware_facts(boss)["gpu_count"] == 1
    assert Attempt.objects.get(pk=attempt.pk).host.name == "old", "history keeps the name"
    enrol_host(name="old")
    assert site.get("/hardware/old").status_code == 200


def test_no_headline_speaks_of_hosts_that_are_gone(boss: User) -> None:
    make_host("atlas")
    Host.objects.filter(pk=make_host("second", gpus=1).pk).update(left_at=timezone.now(), last_seen_at=None)
    facts = hardware_facts(boss)
    assert "second" not in facts["headline"] + facts["lede"]
    assert "No host has a GPU" in facts["lede"]
    assert [picture.host.name for picture in overview_facts(boss)["hosts"]] == ["atlas"]
    Host.objects.update(fenced_at=timezone.now())
    assert hardware_facts(boss)["headline"] == "No host is connected"
