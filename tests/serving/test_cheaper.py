"""An endpoint that waits is told which smaller plan would run now, and the plan is true."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Team, User
from apps.catalog.models import LineageEdge, ModelVersion
from apps.fleet.models import EngineEnvironment, Host
from apps.jobs.models import Job
from apps.jobs.scheduling import place_waiting_jobs
from apps.serving.models import Endpoint
from apps.serving.plans import plan_serving
from apps.serving.services import create_endpoint
from tests.factories import (
    GIB,
    LLAMA_CONFIG,
    api_headers,
    make_host,
    make_job,
    make_stored_version,
)

pytestmark = pytest.mark.django_db

LARGE = LLAMA_CONFIG | {
    "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64, "num_attention_heads": 40,
    "num_key_value_heads": 8, "vocab_size": 152064, "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip
PACKED = LARGE | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}


@pytest.fixture
def brio() -> Host:
    host = make_host("brio", gpus=4)
    for variant in ("cpu", "cuda"):
        EngineEnvironment.objects.create(host=host, engine="vllm", variant=variant, path=f"/opt/{variant}")
    return host


def large(team: Team, host: Host) -> ModelVersion:
    facts = {"config": LARGE, "weights_bytes": 65 * 10**9}
    return make_stored_version(team, name="large", host=host, context_length=4096, facts=facts)


def packed(team: Team, host: Host, name: str = "large") -> ModelVersion:
    facts = {"config": PACKED, "weights_bytes": 19 * 10**9}
    return make_stored_version(team, name=name, label="awq", host=host, precision="int4-awq", facts=facts,
                               context_length=4096)  # fmt: skip


def waiting(endpoint: Endpoint) -> Job:
    place_waiting_jobs()
    job: Job = endpoint.replicas.get().job
    assert job.status == "queued", job.wait_reason
    return job


def take(team: Team, gpus: int) -> None:
    make_job(team, kind="train", gpus_needed=gpus)
    place_waiting_jobs()


@pytest.mark.parametrize("is_same_model", [True, False])
def test_a_version_in_another_precision_is_named_with_the_gpus_it_needs(
    team: Team, alice: User, brio: Host, client: Client, is_same_model: bool
) -> None:
    version = large(team, brio)
    other = packed(team, brio, "large" if is_same_model else "large-awq")
    if not is_same_model:
        LineageEdge.objects.create(parent=version, child=other, relation="quantisation")
    take(team, 2)
    job = waiting(create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 4}))
    plan = plan_serving(version=other, engine="vllm", options={"tensor_parallel": 1}, name="x")
    assert plan.fit is not None
    assert plan.fit.fits
    assert job.wait_hint.endswith(f"Or runs now at int4-awq ({other.public_id}) with 1 GPU on brio.")
    body = client.get(f"/api/v1/jobs/{job.public_id}/waiting", headers=api_headers(alice)).json()
    assert body["hint"] == job.wait_hint


def test_what_does_not_fit_or_has_no_place_is_not_named(team: Team, alice: User, brio: Host) -> None:
    version = large(team, brio)
    take(team, 2)
    job = waiting(create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 4}))
    assert "now" not in job.wait_hint, "65 GB do not fit on two GPUs of 24 GiB"
    packed(team, brio)
    take(team, 2)
    assert "now" not in waiting(job.replica.endpoint).wait_hint


def test_a_small_model_that_asked_for_many_gpus_runs_on_one(team: Team, alice: User, brio: Host) -> None:
    version = make_stored_version(team, host=brio)
    take(team, 2)
    job = waiting(create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 4}))
    assert job.wait_hint.endswith("Or runs now with 1 GPU on brio.")


def test_on_the_cpu_a_shorter_context_takes_less_memory(team: Team, alice: User) -> None:
    host = make_host("brio", ram_gib=16)
    EngineEnvironment.objects.create(host=host, engine="vllm", variant="cpu", path="/opt/cpu")
    facts = {"config": LLAMA_CONFIG | {"num_key_value_heads": 9, "max_position_embeddings": 65536}}
    version = make_stored_version(team, host=host, context_length=65536, facts=facts)
    endpoint = create_endpoint(team=team, user=alice, version=version)
    needed = endpoint.replicas.get().job.ram_bytes_needed
    Job.objects.filter(pk=endpoint.replicas.get().job_id).update(priority=0)
    make_job(team, kind="train", priority=9, ram_bytes_needed=14 * GIB - needed + GIB)
    job = waiting(endpoint)
    assert job.wait_hint.endswith("Or runs now with max_model_len 32,768 on brio.")


def queries_of_a_look() -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        place_waiting_jobs()
    return [query["sql"] for query in queries]


def test_a_look_at_the_same_room_asks_no_plan_again(team: Team, alice: User, brio: Host) -> None:
    version = make_stored_version(team, host=brio)
    take(team, 2)
    endpoint = create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 4})
    first = queries_of_a_look()
    told = waiting(endpoint).wait_hint
    again = queries_of_a_look()
    assert any("serving_endpoint" in sql for sql in first)
    assert not any("serving_endpoint" in sql or "catalog_" in sql for sql in again)
    assert len(again) < len(first) - 8
    assert told == waiting(endpoint).wait_hint
    assert "Or runs now with 1 GPU on brio." in told
    make_job(team, kind="train", gpus_needed=1)
    assert any("serving_endpoint" in sql for sql in queries_of_a_look()), "the free room has changed"
    take(team, 1)
    assert "now" not in waiting(endpoint).wait_hint
