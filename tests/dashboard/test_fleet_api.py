"""What is wrong with the fleet and what waits for it, for automation."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.fleet.models import FleetAlert
from tests.factories import api_headers, make_job, make_team, make_user

pytestmark = pytest.mark.django_db


def test_alerts_and_the_queue_by_need(client: Client) -> None:
    team = make_team()
    headers = api_headers(make_user("alice", team=team))
    assert client.get("/api/v1/fleet", headers=headers).json() == {"alerts": [], "waiting": []}
    FleetAlert.objects.create(kind=FleetAlert.Kind.SILENT_HOSTS, text="Half of the hosts are silent.")
    for gpus in (2, 2, 1):
        make_job(team, gpus_needed=gpus)
    found = client.get("/api/v1/fleet", headers=headers).json()
    assert [(each["kind"], each["text"]) for each in found["alerts"]] == [
        ("silent_hosts", "Half of the hosts are silent.")
    ]
    assert [(each["need"], each["count"]) for each in found["waiting"]] == [("2 GPUs", 2), ("1 GPU", 1)]


def test_a_job_says_what_it_needs_and_what_waits_for_it(client: Client) -> None:
    team = make_team()
    job = make_job(team, gpus_needed=2, vram_bytes_needed=5 * 2**30, spread=True)
    later = make_job(team)
    later.after.add(job)
    found = client.get(f"/api/v1/jobs/{job.public_id}", headers=api_headers(make_user("alice", team=team))).json()
    names = ("gpus", "gpu_memory_bytes", "spread", "pinned_host", "followers")
    assert [found[name] for name in names] == [2, 5 * 2**30, True, None, [later.public_id]]
