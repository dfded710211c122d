"""A fine-tune that waits is told which smaller batch would run now, and a step still learns from as many rows."""

from __future__ import annotations

import pytest

from apps.accounts.models import Team, User
from apps.catalog.models import ModelVersion
from apps.finetunes.estimates import estimate_training
from apps.finetunes.models import Dataset
from apps.finetunes.services import create_fine_tune
from apps.fleet.models import EngineEnvironment, Host
from apps.fleet.querysets import largest_device
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from tests.factories import GIB, make_host, make_job

OPTIONS = {"micro_batch_size": 32, "sequence_len": 2048}


@pytest.fixture
def brio(host: Host) -> Host:
    """A small GPU that is free, beside a large one that is not; the host of the other tests takes no work."""
    Host.objects.filter(pk=host.pk).update(cordoned=True)
    brio = make_host("brio", gpus=2)
    brio.devices.filter(kind="gpu", index=0).update(memory_bytes=80 * GIB)
    brio.devices.filter(kind="gpu", index=1).update(memory_bytes=12 * GIB)
    EngineEnvironment.objects.create(host=brio, engine="axolotl", variant="cuda", path="/opt/cuda")
    return brio


def waiting_tune(team: Team, alice: User, base: ModelVersion, dataset: Dataset) -> Job:
    make_job(team, kind="train", gpus_needed=1, vram_bytes_needed=60 * GIB)
    place_waiting_jobs()
    job: Job = create_fine_tune(
        team=team, user=alice, name="polite", base=base, dataset=dataset, engine="axolotl", options=OPTIONS
    ).job
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.status == "queued", job.wait_reason
    return job


def test_the_largest_batch_that_fits_what_is_free_is_named(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset, brio: Host
) -> None:
    job = waiting_tune(team, alice, base, dataset)
    gpu = largest_device("gpu")
    needed = {
        rows: estimate_training(base=base, dataset=dataset, options=OPTIONS | {"micro_batch_size": rows}, device=gpu)
        for rows in (32, 16, 8, 4, 2, 1)
    }
    rows = next(rows for rows, each in needed.items() if each and each.total_bytes < 12 * GIB)
    assert rows < 32
    expected = f"Or runs now with micro_batch_size {rows} and gradient_accumulation_steps {32 // rows} on brio."
    assert job.wait_hint.endswith(expected)
    assert job.vram_bytes_needed > 12 * GIB


def test_without_free_room_no_batch_is_named(
    team: Team, alice: User, base: ModelVersion, dataset: Dataset, brio: Host
) -> None:
    make_job(team, kind="train", gpus_needed=1, vram_bytes_needed=12 * GIB, priority=1)
    assert "micro_batch_size" not in waiting_tune(team, alice, base, dataset).wait_hint
