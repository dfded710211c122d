"""What is wrong is refused with a clear problem+json, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import serializers
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.engines.registry import get_engine
from apps.fleet.models import Reservation
from apps.jobs.leases import MAX_RESULT_BYTES
from apps.jobs.models import Attempt, Job, JobEvent, Output
from apps.jobs.scheduling import place_waiting_jobs
from apps.jobs.services import cancel_job, default_placement
from tests.factories import GIB, make_host
from tests.jobs.conftest import Worker, start, submit
from tests.jobs.test_promises import post

pytestmark = pytest.mark.usefixtures("redis_url")


def everything() -> str:
    rows = [
        row for model in (Job, Attempt, JobEvent, Output, Reservation) for row in model._default_manager.order_by("pk")
    ]
    return serializers.serialize("json", rows)


def lease(attempt: Attempt, token: str = "") -> str:
    return f"epoch={attempt.epoch}&lease_token={token or attempt.lease_token}"


def ended(attempt: Attempt, **body: Any) -> dict[str, Any]:
    return {"epoch": attempt.epoch, "lease_token": attempt.lease_token, **body}


OF_THE_WORKER: dict[str, tuple[Callable[[Attempt], tuple[str, Any]], int, str]] = {
    "a log with a gap": (
        lambda a: (f"logs?offset=9&{lease(a)}", b"late"),
        409,
        "The log has 0 bytes; the chunk starts at 9.",
    ),
    "a log before its start": (lambda a: (f"logs?offset=-1&{lease(a)}", b"x"), 422, "offset must be 0 or more."),
    "a log under a stale token": (lambda a: (f"logs?offset=0&{lease(a, 'old')}", b"x"), 409, "not the attempt's"),
    "metrics under a stale token": (lambda a: (f"metrics?{lease(a, 'old')}", {"points": []}), 409, "not the attempt's"),
    "a file under a stale token": (lambda a: (f"outputs?name=x&{lease(a, 'old')}", b"x"), 409, "not the attempt's"),
    "a file without a name": (lambda a: (f"outputs?name=&{lease(a)}", b"x"), 422, "1 to 300 characters"),
    "a file with a long name": (lambda a: (f"outputs?name={'n' * 301}&{lease(a)}", b"x"), 422, "1 to 300 characters"),
    "an end under a stale token": (
        lambda a: ("finish", ended(a, exit_code=0) | {"lease_token": "old"}),
        409,
        "not the attempt's",
    ),
    "an end of another epoch": (lambda a: ("finish", ended(a, exit_code=0) | {"epoch": 2}), 409, "not the attempt's"),
    "an end for an unknown reason": (lambda a: ("finish", ended(a, reason="bored")), 422, "reason"),
    "a result over the limit": (
        lambda a: ("finish", ended(a, exit_code=0, result={"data": "x" * MAX_RESULT_BYTES})),
        413,
        "1,048,576 is the limit",
    ),
    "a claim of another epoch": (lambda a: ("claim", {"epoch": 2}), 409, "is over or was replaced"),
}


@pytest.mark.parametrize("name", OF_THE_WORKER)
def test_of_a_worker(team: Team, alice: User, worker: Worker, name: str) -> None:
    _, attempt = start(team, alice, worker, ram_bytes=10**9)
    ask, status, says = OF_THE_WORKER[name]
    path, body = ask(attempt)
    before = everything()
    answer = worker.call("POST", f"attempts/{attempt.uuid}/{path}", body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.content
    assert says in str(answer.json())
    assert everything() == before


def test_a_result_at_the_limit_is_taken(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    room = MAX_RESULT_BYTES - len('{"data": ""}')
    assert worker.finish(attempt, exit_code=0, result={"data": "x" * room}).status_code == 200


def test_a_claim_and_writes_after_the_end(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    worker.finish(attempt, exit_code=0)
    before = everything()
    for path, body in (
        ("claim", {"epoch": 1}),
        (f"logs?offset=0&{lease(attempt)}", b"late"),
        (f"metrics?{lease(attempt)}", {"points": []}),
        (f"outputs?name=x&{lease(attempt)}", b"late"),
        (f"started?{lease(attempt)}", {"argv": ["late"]}),
    ):
        answer = worker.call("POST", f"attempts/{attempt.uuid}/{path}", body)
        assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json"), path
    assert worker.finish(attempt, exit_code=1, reason="bad_config").status_code == 200  # said again
    assert everything() == before


def test_a_second_claim_by_its_host_changes_no_lease(team: Team, alice: User, worker: Worker) -> None:
    job, attempt = start(team, alice, worker)
    worker.claim(attempt)
    again = Attempt.objects.get(pk=attempt.pk)
    assert (again.lease_token, again.claimed_at, again.epoch) == (attempt.lease_token, attempt.claimed_at, 1)
    assert job.attempts.count() == 1


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_of_a_person(team: Team, alice: User, worker: Worker, action: str) -> None:
    done, attempt = start(team, alice, worker)
    worker.finish(attempt, exit_code=0)
    before = everything()
    answer = post(alice, f"jobs/{done.public_id}/{action}", {})
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert done.public_id in answer.json()["detail"]
    assert everything() == before


def test_a_cancelled_job_is_not_cancelled_again(team: Team, alice: User) -> None:
    job = submit(team, alice)
    cancel_job(job=job, user=alice)
    before = everything()
    assert post(alice, f"jobs/{job.public_id}/cancel", {}).status_code == 409
    assert everything() == before


def test_numbers_of_a_host_that_no_column_holds_are_refused(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    beat = {"uuid": str(attempt.uuid), "epoch": 1, "lease_token": attempt.lease_token}
    for port in (-1, 65_536):
        (answer,) = worker.call("POST", "heartbeat", {"attempts": [beat | {"port": port}]}).json()["attempts"]
        assert (answer["answer"], answer["error"].partition(":")[0]) == ("refused", "port")
    assert worker.call("POST", "heartbeat", {"attempts": [beat] * 1001}).status_code == 422
    port_before = attempt.port
    attempt.refresh_from_db()
    assert attempt.port == port_before
    late = {"name": "loss", "step": 1, "value": 1, "at": "9999-12-31T23:59:59-14:00"}
    path = f"attempts/{attempt.uuid}/metrics?epoch=1&lease_token={attempt.lease_token}"
    assert worker.call("POST", path, {"points": [late]}).status_code == 422


@pytest.mark.parametrize(
    ("asked", "field", "message"),
    [
        (
            {"gpus": 9},
            "gpus",
            "No host has 9 GPUs; brio has the most, 4 GPUs. Ask for at most 4, or add a larger host.",
        ),
        (
            {"gpus": 1, "vram_bytes": 90 * GIB},
            "vram_bytes",
            "The job needs 90.0 GiB on each GPU; the largest GPU here is cinder's with 80.0 GiB. "
            "Ask for less, or add a host with larger GPUs.",
        ),
        (
            {"gpus": 3, "vram_bytes": 40 * GIB},
            "gpus",
            "No host has 3 × 40.0 GiB; cinder has 2 of that size. Ask for fewer GPUs, or smaller ones.",
        ),
        ({"gpus": 1, "pinned": True}, "gpus", "asks for 1 GPU; atlas has none"),
    ],
)
def test_gpus_that_no_host_has_are_refused(
    team: Team, alice: User, worker: Worker, asked: dict[str, Any], field: str, message: str
) -> None:
    make_host("brio", gpus=4)
    make_host("cinder", gpus=2).devices.filter(kind="gpu").update(memory_bytes=80 * GIB)
    make_host("gone", gpus=16, left_at=timezone.now())
    if asked.pop("pinned", False):
        asked["pinned_host"] = worker.host
    for kind in ("train", "serve", "evaluate"):
        before = everything()
        with pytest.raises(Problem) as refused:
            submit(team, alice, kind=kind, **asked)
        assert (refused.value.status, refused.value.errors[0].field) == (422, field)
        assert message in refused.value.detail
        assert everything() == before


def test_what_the_fleet_has_is_accepted_and_anything_while_there_is_no_host(team: Team, alice: User) -> None:
    job = submit(team, alice, gpus=9, vram_bytes=900 * GIB)
    place_waiting_jobs()
    job.refresh_from_db()
    assert job.wait_reason == "No host is connected."
    make_host("brio", gpus=4)
    assert submit(team, alice, gpus=4, vram_bytes=24 * GIB).status == "queued"
    with pytest.raises(Problem, match="No host has 5 GPUs"):
        submit(team, alice, gpus=5)


def test_without_any_gpu_the_cpu_is_named(team: Team, alice: User, worker: Worker) -> None:
    with pytest.raises(Problem, match=r"asks for 1 GPU; no host here has one. Ask for none"):
        submit(team, alice, gpus=1)


def test_a_gpu_of_a_host_that_left_is_no_default(worker: Worker) -> None:
    make_host("gone", gpus=2, left_at=timezone.now())
    assert default_placement(get_engine("lm-eval")) == ("cpu", 0)
    make_host("brio", gpus=1)
    assert default_placement(get_engine("lm-eval")) == ("cuda", 1)
    assert default_placement(get_engine("lm-eval"), only=worker.host) == ("cpu", 0)


@pytest.mark.parametrize(
    ("host", "gpu"),
    [
        ({}, {"uuid": "AMD-1", "name": "AMD Instinct MI300X"}),
        ({}, {"driver": "470.42"}),
        ({"architecture": "aarch64"}, {}),
    ],
)
def test_a_gpu_on_which_the_engine_does_not_run_is_no_default(
    worker: Worker, host: dict[str, str], gpu: dict[str, str]
) -> None:
    odd = make_host("odd", gpus=1, **host)
    odd.devices.filter(kind="gpu").update(**gpu)
    assert default_placement(get_engine("lm-eval")) == ("cpu", 0)
    assert default_placement(get_engine("fake-eval")) == ("cuda", 1), "it needs no environment"
    odd.environments.create(engine="lm-eval", variant="cuda", path="/opt/lm-eval")
    assert default_placement(get_engine("lm-eval")) == ("cuda", 1), "its operator gave one"


def test_an_engine_that_no_operator_gave_yet_is_asked_for_on_a_gpu(worker: Worker) -> None:
    brio = make_host("brio", gpus=1)
    assert default_placement(get_engine("llama-cpp")) == ("cuda", 1)
    worker.host.environments.create(engine="llama-cpp", variant="cpu", path="/opt/llama")
    assert default_placement(get_engine("llama-cpp")) == ("cpu", 0)
    brio.environments.create(engine="llama-cpp", variant="cuda", path="/opt/llama")
    assert default_placement(get_engine("llama-cpp")) == ("cuda", 1)
