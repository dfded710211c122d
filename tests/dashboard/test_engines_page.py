"""The map of the stack: every system has a row, archived ones are labelled and not recommended."""

from __future__ import annotations

import uuid
from datetime import date

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.catalog.models import LineageEdge, ModelVersion
from apps.dashboard.levels_here import levels_here
from apps.engines.locks import lock_sha256
from apps.fleet.models import EngineEnvironment, Host
from apps.gateway.models import UsageRecord
from apps.planning.stack_map import stack_map
from apps.serving.models import Endpoint
from tests.factories import (
    make_attempt,
    make_endpoint,
    make_eval_run,
    make_host,
    make_job,
    make_live_endpoint,
    make_model_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db


def row_of(client: Client, title: str) -> str:
    """Its row of the map, as HTML."""
    return client.get("/engines").content.decode().split(f'name nowrap">{title}<')[1].split("</tr>")[0]


def test_every_system_has_its_row_with_a_source(client: Client) -> None:
    team = make_team("Lab")
    client.force_login(make_user("alice", team=team))
    page = client.get("/engines").content.decode()
    known = stack_map()
    rows = [*known.serving_engines, *known.training_tools]
    assert [each.title for each in rows if each.title not in page] == []
    assert [each.name for each in [*known.benchmarks, *known.quantisations] if each.name not in page] == []
    everything = [*rows, *known.benchmarks, *known.quantisations, *known.other_systems]
    assert all(each.source and date(2026, 1, 1) < each.read for each in everything)
    assert page.count("read 26 Nov 2026") == len(everything)
    assert all(each.questions and each.metric and each.saturation for each in known.benchmarks)
    assert "archived upstream in March 2026" in page
    assert "No host here has a GPU" in page


def test_what_was_measured_here_stands_in_the_row(client: Client) -> None:
    team = make_team("Lab")
    client.force_login(make_user("alice", team=team))
    endpoint = make_endpoint(team, "chat")
    Endpoint.objects.filter(pk=endpoint.pk).update(engine="vllm")
    for ttft in (100.0, 200.0, 300.0):
        UsageRecord.objects.create(
            uuid=uuid.uuid4(), team_id=team.pk, route="chat", endpoint_id=endpoint.pk, status=200,
            completion_tokens=50, ttft_ms=ttft, duration_ms=1000,
        )  # fmt: skip
    row = row_of(client, "vLLM")
    assert "200" in row
    assert ">50<" in row


def test_environments_are_told_host_by_host(client: Client) -> None:
    team = make_team("Lab")
    client.force_login(make_user("alice", team=team))
    assert "on no host yet" in row_of(client, "vLLM")
    for name in ("atlas", "brio", "cora", "dune", "echo"):
        host = make_host(name, gpus=1)
        spec = {"kind": "install", "engine": "install", "payload": {"engine": "vllm", "variant": "cuda"}}
        states = {"brio": ("failed", "running"), "cora": ("succeeded", "failed"), "dune": ("failed", "succeeded")}
        for status in states.get(name, ()):
            make_job(team, kind="install", spec=spec, pinned_host=host, status=status)
        lock = {"atlas": lock_sha256("vllm", "cuda"), "echo": "f" * 64}.get(name)
        if lock:
            EngineEnvironment.objects.create(
                host=host, engine="vllm", variant="cuda", lock_sha256=lock, path=f"/env/{name}"
            )
    said = "on atlas (cuda), outdated on echo (cuda), installing on brio (cuda), failed on cora (cuda), not on dune"
    assert said in row_of(client, "vLLM")
    assert "on no host yet" in row_of(client, "Axolotl")


def test_a_tools_steps_are_the_middle_of_its_fine_tunes_here(client: Client) -> None:
    team, host = make_team("Lab"), make_host("atlas")
    client.force_login(make_user("alice", team=team))
    assert "n 1" not in row_of(client, "Axolotl")
    for seconds, code in ((0.5, 0), (0.25, 0), (4.0, 0), (0.01, 1)):
        job = make_job(team, kind="train", engine="axolotl", spec={"kind": "train", "engine": "axolotl"})
        make_attempt(job, host, exit_code=code, measurements={"step_seconds": seconds})
    row = row_of(client, "Axolotl")
    assert "2.00" in row
    assert "n 3" in row


def test_what_a_level_keeps_is_told_by_our_own_scores(client: Client) -> None:
    team, suite = make_team("Lab"), make_suite()
    client.force_login(make_user("alice", team=team))
    plain = make_model_version(team, precision="bf16")
    quantised, tuned = (make_model_version(team, precision="int4-awq") for _ in range(2))
    LineageEdge.objects.create(parent=plain, child=quantised, relation="quantisation")
    LineageEdge.objects.create(parent=plain, child=tuned, relation="fine_tune")
    make_eval_run(plain, suite, {"colours": "1111100000"}, precision="bf16")
    make_eval_run(tuned, suite, {"colours": "1111111111"}, precision="int4-awq")
    make_eval_run(quantised, suite, {"colours": "1000000000"}, precision="int4-awq", num_fewshot=5)
    assert "n 1" not in row_of(client, "int4-awq")
    make_eval_run(quantised, suite, {"colours": "1111000000"}, precision="int4-awq")
    row = row_of(client, "int4-awq")
    assert "80.0" in row
    assert "n 1" in row
    client.force_login(make_user("carol", team=make_team("Other")))
    assert "80.0" not in row_of(client, "int4-awq")


def test_what_a_level_gains_is_told_by_our_own_requests(client: Client) -> None:
    team, host = make_team("Lab"), make_host("atlas", gpus=1)
    client.force_login(make_user("alice", team=team))
    plain = make_model_version(team, precision="bf16")
    served = ((plain, {}, 100.0), (plain, {"quantization": "fp8"}, 150.0))
    for number, (version, options, speed) in enumerate(served):
        _served(version, host, number, options, speed)
    row = row_of(client, "fp8")
    assert "1.50 ×" in row
    assert "n 1" in row
    assert "1.50" not in row_of(client, "int8")


def test_more_levels_ask_no_more_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    team, host = make_team("Lab"), make_host("atlas", gpus=1)
    alice = make_user("alice", team=team)
    plain, *others = (make_model_version(team, precision=name) for name in ("bf16", "int8", "int4-awq", "int4-gptq"))
    for number, version in enumerate((plain, *others)):
        _served(version, host, number, {}, 100.0)
    LineageEdge.objects.create(parent=plain, child=others[0], relation="quantisation")
    with django_assert_num_queries(8):
        assert levels_here(alice)["int8"].speed == 1.0
    for other in others[1:]:
        LineageEdge.objects.create(parent=plain, child=other, relation="quantisation")
    with django_assert_num_queries(8):
        assert len(levels_here(alice)) == 3


def _served(version: ModelVersion, host: Host, number: int, options: dict[str, str], speed: float) -> None:
    measured = {"device_indexes": [0], "measurements": {"decode_tokens_per_second": speed}}
    endpoint = make_live_endpoint(version.team, host, f"chat-{number}", port=18100 + number, **measured)
    Endpoint.objects.filter(pk=endpoint.pk).update(version=version, options=options)


def test_models_are_recommended_for_a_named_gpu_and_for_ours(client: Client) -> None:
    client.force_login(make_user("alice", team=make_team("Lab")))
    named = client.get("/engines", {"gpu": "H100 80GB", "objective": "quality"}).content.decode()
    assert "Artificial Analysis (independent)" in named
    assert "is not known" in client.get("/engines", {"gpu": "abacus"}).content.decode()
    make_host("atlas", gpus=1)
    assert "RTX 4090" in client.get("/engines", {"objective": "speed"}).content.decode()
