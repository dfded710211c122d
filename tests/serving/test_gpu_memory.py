"""An endpoint asks for GPUs that hold its estimate, and for the share of each that its engine takes."""

from __future__ import annotations

import pytest

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.catalog.models import ModelVersion
from apps.fleet.models import Host, Reservation
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.serving.models import Endpoint
from apps.serving.plans import plan_serving
from apps.serving.services import create_endpoint
from tests.factories import GIB, LLAMA_CONFIG, make_host, make_stored_version
from tests.serving.test_cheaper import LARGE

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_url")]


@pytest.fixture
def brio() -> Host:
    """One GPU of 24 GiB."""
    return make_host("brio", gpus=1)


@pytest.fixture
def atlas() -> Host:
    host = make_host("atlas", gpus=1)
    host.devices.filter(kind="gpu").update(name="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB)
    return host


def large(team: Team, host: Host) -> ModelVersion:
    """40 GiB of 16-bit weights, which only a large GPU holds."""
    return make_stored_version(team, name="large", host=host, facts={"config": LARGE, "weights_bytes": 40 * GIB})


def job_of(endpoint: Endpoint) -> Job:
    job: Job = endpoint.replicas.get().job
    return job


def test_it_goes_to_the_gpu_that_is_large_enough_though_a_small_one_is_free(
    team: Team, alice: User, brio: Host, atlas: Host
) -> None:
    version = large(team, atlas)
    endpoint = create_endpoint(team=team, user=alice, version=version, engine="fake-serve")
    small = make_stored_version(team, host=brio)
    other = create_endpoint(team=team, user=alice, version=small, engine="fake-serve")
    place_waiting_jobs()
    assert 40 * GIB < job_of(endpoint).vram_bytes_needed < 80 * GIB
    assert job_of(endpoint).attempts.get().host == atlas
    assert job_of(other).attempts.get().host == brio


def test_it_waits_for_the_large_one_and_says_so(team: Team, alice: User, brio: Host, atlas: Host) -> None:
    version = large(team, atlas)
    first, second = (
        create_endpoint(team=team, user=alice, version=version, engine="fake-serve", name=name) for name in ("a", "b")
    )
    place_waiting_jobs()
    assert job_of(first).attempts.get().host == atlas
    waiting = job_of(second)
    size = f"{waiting.vram_bytes_needed / GIB:.1f} GiB"
    assert waiting.wait_reason == f"Needs 1 × {size} on one host; atlas has 0 free."


def test_what_no_gpu_holds_is_refused_with_the_numbers(team: Team, alice: User, brio: Host) -> None:
    version = large(team, brio)
    plan = plan_serving(version=version, engine="vllm", options={}, name="large")
    assert plan.fit is not None
    assert not plan.fit.fits
    with pytest.raises(Problem) as refused:
        create_endpoint(team=team, user=alice, version=version)
    (error,) = refused.value.errors
    size = f"{int(plan.fit.required_bytes / 0.9) / GIB:.1f} GiB"
    assert (refused.value.status, error.field) == (422, "vram_bytes")
    assert error.message.startswith(f"The job needs {size} on each GPU; the largest GPU here is brio's with 24.0 GiB.")
    assert not Endpoint.objects.exists()


def test_a_lower_share_needs_a_larger_gpu(team: Team, brio: Host) -> None:
    version = make_stored_version(team, host=brio)
    ask = {"engine": "vllm", "name": "x", "version": version}
    usual, half = (
        plan_serving(options={"max_model_len": 2048, "gpu_memory_utilization": share}, **ask)  # type: ignore[arg-type]
        for share in (0.9, 0.45)
    )
    assert half.vram_bytes == pytest.approx(2 * usual.vram_bytes, rel=0.01)
    assert (usual.gpu_share, half.gpu_share) == (0.9, 0.45)
    assert (half.need.vram_bytes, half.need.gpu_share) == (half.vram_bytes, 0.45)


def test_on_a_divided_gpu_an_engine_gets_the_slots_that_its_share_covers(team: Team, alice: User, brio: Host) -> None:
    """Of four slots: a fifth of the memory and the CUDA context lie in one, nine tenths in none but all."""
    brio.devices.filter(kind="gpu").update(slots=4)
    version = make_stored_version(team, host=brio)

    def held(name: str, share: float) -> int:
        options = {"max_model_len": 2048, "gpu_memory_utilization": share}
        plan = plan_serving(version=version, engine="vllm", options=options, name=name)
        need = plan.need
        job = job_of(create_endpoint(team=team, user=alice, version=version, engine="fake-serve", name=name))
        Job.objects.filter(pk=job.pk).update(
            vram_bytes_needed=need.vram_bytes, gpu_share_needed=need.gpu_share, ram_bytes_needed=0
        )
        place_waiting_jobs()
        job.refresh_from_db()
        return Reservation.objects.filter(holder__in=job.attempts.values("uuid"), released_at=None).count()

    assert held("fifth", 0.2) == 1
    assert held("half", 0.5) == 3
    assert held("most", 0.9) == 0


def test_without_an_estimate_it_takes_a_whole_gpu_of_any_size(team: Team, alice: User, brio: Host) -> None:
    version = make_stored_version(team, host=brio, facts={"config": {"model_type": "mystery"}})
    job = job_of(create_endpoint(team=team, user=alice, version=version))
    assert (job.gpus_needed, job.vram_bytes_needed, job.gpu_share_needed) == (1, 0, 0)


def test_it_is_judged_on_the_gateways_own_gpus(
    team: Team, brio: Host, atlas: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = large(team, brio)
    everywhere = plan_serving(version=version, engine="vllm", options={}, name="x")
    monkeypatch.setattr("apps.serving.plans.local_host", lambda: brio)
    here = plan_serving(version=version, engine="vllm", options={}, name="x")
    assert (everywhere.device, here.device) == (atlas.devices.get(kind="gpu"), brio.devices.get(kind="gpu"))
    assert everywhere.fit is not None
    assert here.fit is not None
    assert (everywhere.fit.fits, here.fit.fits) == (True, False)


def test_llama_cpp_asks_for_the_layers_that_go_to_the_gpu(team: Team, brio: Host) -> None:
    brio.environments.create(engine="llama-cpp", variant="cuda", path="/opt/llama")
    facts = {"config": LLAMA_CONFIG, "weights_bytes": 10 * GIB, "layers": 30, "format": "gguf"}
    version = make_stored_version(team, host=brio, precision="q8_0", facts=facts)
    all_of_it, half = (
        plan_serving(version=version, engine="llama-cpp", options={"gpu_layers": layers}, name="x")
        for layers in (999, 15)
    )
    assert 5 * GIB < half.vram_bytes < 6 * GIB
    assert 10 * GIB < all_of_it.vram_bytes < 11 * GIB
    assert all_of_it.gpu_share == 0
