"""Create, stop and start; what the reservation covers; what a state says."""

from __future__ import annotations

import pytest

from apps.accounts.models import Role
from apps.accounts.problems import Problem
from apps.calibration.models import Estimate
from apps.jobs.models import Job
from apps.jobs.services import retry_job
from apps.jobs.states import JobStatus
from apps.jobs.terms import Terms
from apps.serving.links import endpoint_url, replica_ended
from apps.serving.models import Endpoint, Route
from apps.serving.plans import KV_SPACE_OPTION
from apps.serving.services import create_endpoint, start_endpoint, stop_endpoint
from apps.serving.states import endpoint_state
from tests.factories import (
    GIB,
    make_attempt,
    make_host,
    make_live_endpoint,
    make_model_version,
    make_stored_version,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


def created(**fields: object) -> Endpoint:
    team = make_team()
    alice, host = make_user(team=team), make_host()
    version = make_stored_version(team, name="SmolLM2.135M", host=host)
    return create_endpoint(team=team, user=alice, version=version, **fields)  # type: ignore[arg-type]


def the_job(endpoint: Endpoint) -> Job:
    job: Job = endpoint.replicas.order_by("-pk")[0].job
    return job


def test_an_endpoint_gets_a_name_a_route_and_a_replica() -> None:
    endpoint = created()
    job = the_job(endpoint)
    assert endpoint.name == "smollm2-135m"
    assert Route.objects.get(team=endpoint.team, name=endpoint.name).targets.get().endpoint == endpoint
    assert (job.kind, job.engine, job.status) == ("serve", "vllm", JobStatus.QUEUED)
    assert job.spec["served_name"] == endpoint.name
    assert job.spec["model"]["version_id"] == endpoint.version.public_id
    assert endpoint_url(job) == f"/endpoints/{endpoint.public_id}"


def test_on_the_cpu_the_reservation_covers_weights_overhead_and_the_engines_kv_cache() -> None:
    endpoint = created(options={"max_model_len": 2048})
    job = the_job(endpoint)
    estimates = {row.quantity: row.value for row in Estimate.objects.filter(job=job)}
    space = job.spec["options"][KV_SPACE_OPTION]
    assert space >= 1
    assert estimates["kv_cache_bytes"] == space * GIB
    assert job.ram_bytes_needed == estimates["peak_memory_bytes"]
    assert job.ram_bytes_needed >= estimates["weights_bytes"] + space * GIB
    assert f"'VLLM_CPU_KVCACHE_SPACE': '{space}'" in str(job.preview["env"])


def test_on_a_gpu_the_job_asks_for_as_many_as_share_each_layer() -> None:
    team = make_team()
    alice = make_user(team=team)
    version = make_stored_version(team, host=make_host(gpus=4))
    endpoint = create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 3})
    job = the_job(endpoint)
    assert (job.variant, job.gpus_needed, job.ram_bytes_needed) == ("cuda", 3, 0)
    assert job.spec["options"][KV_SPACE_OPTION] is None


def test_the_ledger_keeps_how_fast_one_request_decodes_where_that_is_known() -> None:
    team = make_team()
    alice, host = make_user(team=team), make_host(gpus=1)
    version = make_stored_version(team, host=host)

    def speed(name: str) -> Estimate | None:
        job = the_job(create_endpoint(team=team, user=alice, version=version, name=name))
        found: Estimate | None = Estimate.objects.filter(job=job, quantity="decode_tokens_per_second").first()
        return found

    known = speed("known")
    assert known is not None
    assert 0 < known.low < known.value < known.high
    assert (known.unit, known.formula_version, known.context["device"]) == ("tok/s", "roofline-2", "RTX 4090")
    host.devices.filter(kind="gpu").update(name="Abacus 9000")
    assert speed("unknown") is None


def test_fp8_is_made_at_load_from_plain_weights_only() -> None:
    team = make_team()
    alice, host = make_user(team=team), make_host(gpus=1)
    version = make_stored_version(team, host=host)
    plain = create_endpoint(team=team, user=alice, version=version, name="plain")
    halved = create_endpoint(team=team, user=alice, version=version, name="halved", options={"quantization": "fp8"})
    assert "--quantization" in the_job(halved).preview["argv"]
    weights = [Estimate.objects.get(job=the_job(each), quantity="weights_bytes").value for each in (plain, halved)]
    assert weights[1] < 0.8 * weights[0]
    packed = make_stored_version(team, name="packed", host=host, precision="int4-awq")
    with pytest.raises(Problem) as refused:
        create_endpoint(team=team, user=alice, version=packed, options={"quantization": "fp8"})
    assert refused.value.errors[0].field == "options.quantization"


def test_gpus_that_no_host_has_are_refused_and_nothing_is_made() -> None:
    team = make_team()
    alice, host = make_user(team=team), make_host("atlas", gpus=4)
    make_host("brio", gpus=2)
    version = make_stored_version(team, host=host)
    with pytest.raises(Problem) as refused:
        create_endpoint(team=team, user=alice, version=version, options={"tensor_parallel": 6})
    (error,) = refused.value.errors
    assert (refused.value.status, error.field, error.nearest) == (422, "options.tensor_parallel", "4")
    assert error.message == "An endpoint can have at most 4 GPUs here, those of atlas; you ask for 6."
    assert (Endpoint.objects.count(), Job.objects.count()) == (0, 0)


def test_a_model_outside_the_formulas_is_served_without_an_estimate() -> None:
    team = make_team()
    alice, host = make_user(team=team), make_host()
    version = make_stored_version(team, host=host, facts={"config": {"model_type": "mystery"}})
    job = the_job(create_endpoint(team=team, user=alice, version=version))
    assert not Estimate.objects.filter(job=job).exists()
    assert job.ram_bytes_needed > 2 * 269_060_552


@pytest.mark.parametrize(
    ("fields", "field", "hint"),
    [
        ({"name": "Chat Prod"}, "name", "hyphens"),
        ({"name": "-x"}, "name", "hyphens"),
        ({"engine": "vlm"}, "engine", "vllm"),
        ({"options": {"max_modle_len": 5}}, "options.max_modle_len", "max_model_len"),
        ({"options": {"max_model_len": 3}}, "options.max_model_len", "16"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_made(fields: dict[str, object], field: str, hint: str) -> None:
    with pytest.raises(Problem) as refused:
        created(**fields)
    assert refused.value.status == 422
    assert refused.value.errors[0].field == field
    assert hint in refused.value.errors[0].message
    assert not Endpoint.objects.exists()
    assert not Job.objects.exists()


def test_a_taken_name_and_a_viewer_are_refused() -> None:
    endpoint = created(name="chat")
    with pytest.raises(Problem, match="exists"):
        create_endpoint(team=endpoint.team, user=endpoint.created_by, version=endpoint.version, name="chat")
    viewer = make_user(team=endpoint.team, role=Role.VIEWER)
    with pytest.raises(Problem) as refused:
        stop_endpoint(endpoint=endpoint, user=viewer)
    assert refused.value.status == 403


def test_stop_and_start_make_a_new_replica() -> None:
    endpoint = created()
    alice = endpoint.created_by
    with pytest.raises(Problem, match="Stop it before"):
        start_endpoint(endpoint=endpoint, user=alice)
    stop_endpoint(endpoint=endpoint, user=alice)
    endpoint.refresh_from_db()
    assert (endpoint.wish, endpoint_state(endpoint).word) == (Endpoint.Wish.STOPPED, "Stopped")
    with pytest.raises(Problem, match="nothing to stop"):
        stop_endpoint(endpoint=endpoint, user=alice)
    start_endpoint(endpoint=endpoint, user=alice)
    endpoint.refresh_from_db()
    assert (endpoint.wish, endpoint.replicas.count()) == (Endpoint.Wish.RUNNING, 2)
    assert endpoint_state(endpoint).word == "Queued"


def test_every_start_keeps_what_the_first_job_took_from_another() -> None:
    endpoint = created()
    alice, first = endpoint.created_by, the_job(endpoint)
    first.references = {"options.max_model_len": {"from": "job-1", "value": "result.context"}}
    first.spec["options"]["max_model_len"] = 1024
    first.save()
    for _ in range(2):
        stop_endpoint(endpoint=endpoint, user=alice)
        start_endpoint(endpoint=endpoint, user=alice)
        assert the_job(endpoint) != first
        assert the_job(endpoint).spec["options"]["max_model_len"] == 1024


def test_a_start_keeps_the_urgency_and_the_place_that_were_asked_for() -> None:
    endpoint = created(terms=Terms(priority=7, spread=True))
    for _ in range(2):
        stop_endpoint(endpoint=endpoint, user=endpoint.created_by)
        start_endpoint(endpoint=endpoint, user=endpoint.created_by)
        job = the_job(endpoint)
        assert (job.status, job.priority, job.spread) == (JobStatus.QUEUED, 7, True)


def test_a_start_without_an_earlier_job_has_the_usual_terms() -> None:
    endpoint = created()
    alice = endpoint.created_by
    endpoint.replicas.all().delete()
    start_endpoint(endpoint=endpoint, user=alice)
    assert (the_job(endpoint).priority, the_job(endpoint).spread) == (0, False)


def test_states_say_what_to_expect() -> None:
    team, host = make_team(), make_host("atlas")
    endpoint = make_live_endpoint(team, host)
    assert endpoint_state(endpoint).is_ready
    assert endpoint_state(endpoint).sentence == "chat is live on atlas."
    job = the_job(endpoint)
    Job.objects.filter(pk=job.pk).update(status="starting", phase="loading")
    state = endpoint_state(endpoint)
    assert (state.word, state.is_ready, state.is_moving) == ("Loading", False, True)
    Job.objects.filter(pk=job.pk).update(
        status="failed", reason="out_of_memory", cause="No memory left.", finished_at=job.created_at
    )
    job.attempts.update(ended_at=job.created_at)
    down = endpoint_state(endpoint)
    assert (down.word, down.is_ended) == ("Down", True)
    assert down.sentence == "chat is down: out of memory. No memory left."


def test_a_failed_replica_leaves_the_endpoint_wished_for() -> None:
    endpoint = make_live_endpoint(make_team(), make_host())
    job = the_job(endpoint)
    job.status = JobStatus.FAILED
    replica_ended(job)
    endpoint.refresh_from_db()
    assert endpoint.wish == Endpoint.Wish.RUNNING
    job.status = JobStatus.CANCELLED
    replica_ended(job)
    endpoint.refresh_from_db()
    assert endpoint.wish == Endpoint.Wish.STOPPED


def test_the_newest_replica_counts_and_rows_come_in_few_queries(django_assert_num_queries: object) -> None:
    team, host = make_team(), make_host()
    endpoints = [make_live_endpoint(team, host, f"chat-{number}", port=18100 + number) for number in range(3)]
    old = make_attempt(the_job(endpoints[0]), host, ended_at=endpoints[0].created_at, epoch=9)
    with django_assert_num_queries(5):  # type: ignore[operator]
        rows = list(Endpoint.objects.with_newest_job().order_by("name"))
        states = [endpoint_state(row) for row in rows]
    assert [state.word for state in states] == ["Live"] * 3
    assert states[0].attempt != old


def test_a_version_without_files_still_shows_a_plan() -> None:
    team = make_team()
    make_host()
    endpoint = create_endpoint(team=team, user=make_user(team=team), version=make_model_version(team, "bare"))
    assert the_job(endpoint).ram_bytes_needed > 0


def test_only_the_newest_replica_runs_again_and_its_endpoint_with_it() -> None:
    endpoint = created()
    old, alice = the_job(endpoint), endpoint.created_by
    assert alice is not None
    stop_endpoint(endpoint=endpoint, user=alice)
    start_endpoint(endpoint=endpoint, user=alice)
    with pytest.raises(Problem, match="Start the endpoint instead"):
        retry_job(job=old, user=alice)
    newest = the_job(endpoint)
    stop_endpoint(endpoint=endpoint, user=alice)
    retry_job(job=newest, user=alice)
    endpoint.refresh_from_db()
    assert endpoint.wish == "running"
