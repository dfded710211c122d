"""The fit table and the deploy form say how fast, where, from when on and how soon; measured beside estimated."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.accounts.models import Team, User
from apps.catalog.fit import device_classes, every_fit
from apps.catalog.models import Location, ModelVersion
from apps.dashboard.fit_rows import FitRow, fit_rows
from apps.fleet.models import Device, Host, Reservation
from apps.gateway.decode_speeds import note_decode_speeds
from apps.gateway.models import UsageRecord
from apps.jobs.models import Job
from apps.planning.reference import reference_model
from apps.serving.services import create_endpoint
from tests.factories import (
    make_attempt,
    make_endpoint,
    make_host,
    make_job,
    make_stored_version,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def alice(client: Client, team: Team) -> User:
    user = make_user("alice", team=team)
    client.force_login(user)
    return user


def with_gpu(name: str) -> Host:
    host = make_host(name)
    gpu = {"name": "NVIDIA GeForce RTX 3090", "memory_bytes": 24_576 << 20}
    Device.objects.create(host=host, kind="gpu", uuid=f"GPU-{name}", **gpu)
    return host


def hold(host: Host, job: Job) -> None:
    attempt = make_attempt(job, host, claimed_at=timezone.now())
    Reservation.objects.create(device=host.devices.get(kind="gpu"), holder=attempt.pk)


@pytest.fixture
def version(team: Team) -> ModelVersion:
    facts = {"config": dict(reference_model("Llama-3.1-8B").config), "weights_bytes": 16_000_000_000}
    found = make_stored_version(team, name="llama", host=with_gpu("atlas"), facts=facts, precision="bf16")
    found.artifacts.update(size_bytes=16_000_000_000)
    return found


def rows(user: User, version: ModelVersion) -> list[FitRow]:
    return fit_rows(user, version, [fit for device in device_classes() for fit in every_fit(version, device)])


def test_a_row_says_speed_hosts_and_times(client: Client, alice: User, version: ModelVersion) -> None:
    with_gpu("brio")
    row = rows(alice, version)[0]
    assert row.fit.speed is not None
    low, middle, high = row.fit.speed.decode
    assert low < middle < high
    there, elsewhere = row.starts
    assert (there.host, there.is_now, there.download) == ("atlas", True, None)
    assert elsewhere.download is not None
    assert elsewhere.seconds[1] > there.seconds[1] > 0
    page = client.get(f"/models/{version.model.public_id}").text
    assert '18 to 50<span class="u">tok/s</span>' in page
    assert "now, atlas" in page
    assert "files are there" in page
    assert "high confidence" in page or "medium confidence" in page


def test_a_gguf_file_has_its_speed_too_and_the_ledger_judges_it(
    client: Client, alice: User, team: Team, version: ModelVersion
) -> None:
    facts = version.facts | {"format": "gguf", "weights_bytes": 4_920_000_000, "gguf_file": "llama.gguf"}
    ModelVersion.objects.update(facts=facts, precision="Q4_K_M")
    version.refresh_from_db()
    version.artifacts.update(format="gguf")
    speed = rows(alice, version)[0].fit.speed
    assert speed is not None
    low, middle, high = speed.decode
    assert 90 < middle < 150, "4.9 GB of 936 GB/s, and 32 layers' kernels"
    page = client.get(f"/models/{version.model.public_id}").text
    assert '68 to 150<span class="u">tok/s</span>' in page
    job = create_endpoint(team=team, user=alice, version=version, engine="llama-cpp").replicas.get().job
    kept = job.estimates.get(quantity="decode_tokens_per_second")
    assert (kept.context["engine"], kept.context["device"]) == ("llama-cpp", "NVIDIA GeForce RTX 3090")
    assert (kept.low, kept.high) == (pytest.approx(low, rel=0.05), pytest.approx(high, rel=0.05))
    options = {"gpu_layers": 10}
    halved = create_endpoint(team=team, user=alice, version=version, engine="llama-cpp", name="some", options=options)
    assert not halved.replicas.get().job.estimates.filter(quantity="decode_tokens_per_second").exists()


def test_a_held_gpu_is_named_with_the_job_it_waits_for(
    client: Client, alice: User, team: Team, version: ModelVersion
) -> None:
    brio = with_gpu("brio")
    server, training = make_job(team, kind="serve"), make_job(team, kind="train", time_limit_seconds=7200)
    Job.objects.update(status="running")
    hold(Host.objects.get(name="atlas"), server)
    hold(brio, training)
    soonest, last = rows(alice, version)[0].starts
    assert (soonest.host, soonest.is_now, soonest.waits_for) == ("brio", False, (training.public_id,))
    assert soonest.wait_seconds == pytest.approx(7200, abs=60)
    assert (last.host, last.at, last.waits_for) == ("atlas", None, (server.public_id,))
    page = client.get(f"/models/{version.model.public_id}").text
    assert "in 1 h 59 m, brio" in page or "in 2 h 00 m, brio" in page
    assert f"after {server.public_id}, atlas" in page
    Host.objects.update(cordoned=True)
    assert rows(alice, version) == []
    assert "No host takes work now" in client.get(f"/endpoints/new?version={version.public_id}").text


def test_a_host_that_the_gateway_does_not_reach_can_start_nothing(
    client: Client, alice: User, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.dashboard.fit_rows.local_host", lambda: make_host("gateway"))
    (row,) = [row for row in rows(alice, version) if row.fit.device.kind == "gpu"][:1]
    assert (row.starts, row.is_out_of_reach) == ([], True)
    monkeypatch.setattr("apps.dashboard.fit_rows.local_host", lambda: Host.objects.get(name="gateway"))
    assert "not beside the gateway" in client.get(f"/models/{version.model.public_id}").text


def test_what_ran_here_stands_beside_its_estimate(
    client: Client, alice: User, team: Team, version: ModelVersion
) -> None:
    endpoint = make_endpoint(team, "chat", version=version, status="running", phase="ready")
    up = {"ready_at": timezone.now() - timedelta(hours=1), "measurements": {"start_seconds": 74.0}}
    attempt = make_attempt(endpoint.replicas.get().job, Host.objects.get(name="atlas"), device_indexes=[0], **up)
    answered = {"team_id": team.pk, "route": "chat", "endpoint_id": endpoint.pk, "status": 200, "is_stream": True}
    alone = ((50, 1100.0), (40, 2100.0), (30, 2100.0), (20, 2100.0), (10, 4100.0))
    at_once = ((5, 90_100.0), (5.1, 80_100.0), (5.2, 70_100.0), (5.3, 60_100.0))
    for minutes, took in alone + at_once:
        UsageRecord.objects.create(
            uuid=uuid.uuid4(), completion_tokens=101, ttft_ms=100.0, duration_ms=took,
            at=timezone.now() - timedelta(minutes=minutes), **answered,
        )  # fmt: skip
    assert note_decode_speeds() == 1
    attempt.refresh_from_db()
    measured = rows(alice, version)[0].measured
    assert measured is not None
    assert (measured.decode, measured.start_seconds) == (pytest.approx(50), 74.0)
    assert measured.decode == attempt.measurements["decode_tokens_per_second"], "the ledger's figure"
    page = client.get(f"/models/{version.model.public_id}").text
    assert '<span class="tag measured">measured</span> 50<span class="u">tok/s</span>' in page
    assert '<span class="tag measured">measured</span> 1 m 14 s' in page
    stranger = make_user("carol", team=make_team("Other"))
    foreign = rows(stranger, version)[0].measured
    assert foreign is not None
    assert foreign.decode is None, "another team's requests are its own"


def test_the_deploy_form_says_the_same(client: Client, alice: User, version: ModelVersion) -> None:
    page = client.get(f"/endpoints/new?version={version.public_id}&max_model_len=8192").text
    assert '18 to 50<span class="u">tok/s</span>' in page
    assert "Can start now, atlas: answers" in page
    assert "of it to fetch the weights" not in page
    Location.objects.all().delete()
    alone = client.get(f"/endpoints/new?version={version.public_id}").text
    assert "Too big" not in alone, "vLLM takes the longest context that fits"
    assert "of it to fetch the weights" in alone


def test_forty_rows_ask_no_more_than_one(
    alice: User, version: ModelVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fits = [fit for device in device_classes() for fit in every_fit(version, device)]
    with django_assert_num_queries(11):
        few = fit_rows(alice, version, fits)
    with django_assert_num_queries(11):
        many = fit_rows(alice, version, fits * 40)
    assert len(many) == 40 * len(few)
