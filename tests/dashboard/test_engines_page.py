"""The map of the stack: every system has a row, archived ones are labelled and not recommended."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from apps.gateway.models import UsageRecord
from apps.planning.stack_map import stack_map
from apps.serving.models import Endpoint
from tests.factories import make_endpoint, make_host, make_team, make_user

pytestmark = pytest.mark.django_db


def test_every_system_has_its_row_with_a_source(client: Client) -> None:
    team = make_team("Lab")
    client.force_login(make_user("alice", team=team))
    page = client.get("/engines").content.decode()
    known = stack_map()
    rows = [*known.serving_engines, *known.training_tools]
    assert [each.title for each in rows if each.title not in page] == []
    assert [each.name for each in [*known.benchmarks, *known.quantisations] if each.name not in page] == []
    assert all(each.source for each in [*rows, *known.benchmarks])
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
    row = client.get("/engines").content.decode().split("vLLM</div>")[1].split("</tr>")[0]
    assert "200" in row
    assert ">50<" in row


def test_models_are_recommended_for_a_named_gpu_and_for_ours(client: Client) -> None:
    client.force_login(make_user("alice", team=make_team("Lab")))
    named = client.get("/engines", {"gpu": "H100 80GB", "objective": "quality"}).content.decode()
    assert "Artificial Analysis (independent)" in named
    assert "is not known" in client.get("/engines", {"gpu": "abacus"}).content.decode()
    make_host("atlas", gpus=1)
    assert "RTX 4090" in client.get("/engines", {"objective": "speed"}).content.decode()
