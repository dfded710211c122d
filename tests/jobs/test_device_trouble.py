"""What a host says of its devices, ports and processes, and what the server makes of it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from apps.accounts.models import AuditEvent, Team, User
from apps.fleet.models import Host, PortLease
from apps.fleet.reservations import FIRST_PORT, LAST_PORT, lease_port, release_all
from apps.jobs.models import JobEvent
from apps.jobs.reasons import Reason
from tests.factories import make_host
from tests.jobs.conftest import Worker, start


def test_an_attempt_that_cannot_be_killed_drains_its_host_and_keeps_its_devices(
    team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker)
    beat = {"uuid": str(attempt.uuid), "epoch": 1, "lease_token": attempt.lease_token, "is_stuck": True}
    for _ in range(2):
        assert worker.call("POST", "heartbeat", {"attempts": [beat]}).status_code == 200
    host = Host.objects.get(pk=worker.host.pk)
    assert (host.cordoned, host.is_draining) == (True, True)
    assert host.cordon_reason == f"Processes of {job.public_id} cannot be killed; restart {host.name}, or fence it."
    assert JobEvent.objects.filter(job=job, what="Cannot be killed", attempt=attempt).count() == 1
    attempt.refresh_from_db()
    assert attempt.ended_at is None


def test_two_that_cannot_be_killed_are_told_once_each_and_keep_the_operators_reason(
    team: Team, alice: User, worker: Worker
) -> None:
    attempts = [start(team, alice, worker, ram_bytes=2**30)[1] for _ in range(2)]
    Host.objects.update(cordoned=True, is_draining=True, cordon_reason="new disk")
    lease = {"epoch": 1, "is_stuck": True}
    beats = [{"uuid": str(each.uuid), "lease_token": each.lease_token} | lease for each in attempts]
    for _ in range(3):
        worker.call("POST", "heartbeat", {"attempts": beats})
    assert JobEvent.objects.filter(what="Cannot be killed").count() == 2
    assert Host.objects.get(pk=worker.host.pk).cordon_reason == "new disk"
    assert not AuditEvent.objects.filter(action="host.drained").exists()


def test_how_an_attempt_is_kept_apart_stands_with_what_ran(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    worker.call("POST", f"attempts/{attempt.uuid}/started?{lease}", {"argv": ["x"], "isolation": "cgroup"})
    attempt.refresh_from_db()
    assert attempt.ran["isolation"] == "cgroup"


@pytest.mark.parametrize("reason", [Reason.DEVICE_BUSY, Reason.PORT_TAKEN])
def test_a_busy_gpu_or_port_is_the_machines_fault_and_runs_again(
    reason: Reason, team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker)
    cause = "Another process holds 3.0 GiB of GPU-a: pid 7 (python), user bob."
    body = {"epoch": 1, "lease_token": attempt.lease_token, "reason": reason, "cause": cause}
    assert worker.call("POST", f"attempts/{attempt.uuid}/finish", body).status_code == 200
    job.refresh_from_db()
    assert (job.status, job.infrastructure_losses) == ("queued", 1)
    assert JobEvent.objects.filter(job=job, detail=cause).exists()


def test_r16_the_next_lease_is_another_port_also_after_the_last(db: None) -> None:
    host = make_host("atlas")
    first, second, third = (uuid4() for _ in range(3))
    assert lease_port(host=host, holder=first) == FIRST_PORT
    release_all(holder=first)
    assert lease_port(host=host, holder=second) == FIRST_PORT + 1
    PortLease.objects.filter(holder=second).update(port=LAST_PORT)
    assert lease_port(host=host, holder=third) == FIRST_PORT
