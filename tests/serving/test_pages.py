"""The pages of endpoints: what they say, what they do, and what a form can never do."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.accounts.models import Role, User
from apps.catalog.policies import set_policy
from apps.engines.registry import get_engine
from apps.gateway.endpoint_list import endpoint_list
from apps.gateway.models import UsageRecord
from apps.jobs.models import Job
from apps.serving.forms import EndpointForm
from apps.serving.models import Endpoint
from tests.factories import make_host, make_live_endpoint, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab(client: Client) -> tuple[Client, object]:
    team = make_team("Lab")
    alice = make_user("alice", team=team)
    client.force_login(alice)
    return client, team


def use(endpoint: Endpoint, **fields: object) -> None:
    shape = {"status": 200, "prompt_tokens": 10, "completion_tokens": 30, "ttft_ms": 100.0, "duration_ms": 900.0}
    UsageRecord.objects.create(
        uuid=uuid.uuid4(), team_id=endpoint.team_id, route=endpoint.name, endpoint_id=endpoint.pk, **(shape | fields)
    )


def test_the_list_shows_states_and_metered_figures(lab: tuple[Client, object]) -> None:
    client, team = lab
    host = make_host()
    chat = make_live_endpoint(team, host, "chat")  # type: ignore[arg-type]
    make_live_endpoint(team, host, "quiet", port=18101)  # type: ignore[arg-type]
    for ttft in (100.0, 200.0, 300.0):
        use(chat, ttft_ms=ttft, at=timezone.now())
    use(chat, status=502, ttft_ms=None)
    use(chat, at=timezone.now() - timezone.timedelta(hours=2))
    alice = team.users.get()  # type: ignore[attr-defined]
    page = endpoint_list(alice)
    rows = {row.endpoint.name: row for row in page["rows"]}
    assert page["headline"] == "Every endpoint is live"
    figures = rows["chat"].figures
    assert (figures.request_count, figures.ttft_p50_ms, figures.error_fraction) == (4, 200.0, 0.25)
    assert figures.tokens_per_second == pytest.approx(120 / 300)
    assert sum(figures.requests_by_time) == 4
    assert rows["quiet"].figures.request_count == 0
    assert endpoint_list(alice, show="stopped")["rows"] == []
    assert [row.endpoint.name for row in endpoint_list(alice, search="qui")["rows"]] == ["quiet"]
    html = client.get("/endpoints", headers={"HX-Request": "true"}).content.decode()
    assert html.count("<tr id=") == 2
    assert "<html" not in html


def test_an_endpoint_of_another_team_does_not_exist(lab: tuple[Client, object]) -> None:
    client, _ = lab
    other = make_live_endpoint(make_team(), make_host())
    for path in ("", "/stop", "/start"):
        method = client.post if path else client.get
        assert method(f"/endpoints/{other.public_id}{path}").status_code == 404


def test_the_page_shows_how_to_call_and_stop(lab: tuple[Client, object]) -> None:
    client, team = lab
    endpoint = make_live_endpoint(team, make_host())  # type: ignore[arg-type]
    page = client.get(f"/endpoints/{endpoint.public_id}")
    assert page.status_code == 200
    html = page.content.decode()
    assert "http://testserver/v1" in html
    assert "Stop chat?" in html
    assert page.context["may_stop"]
    assert not page.context["may_start"]


def test_the_preview_is_what_the_deploy_runs(lab: tuple[Client, object]) -> None:
    client, team = lab
    version = make_stored_version(team, host=make_host())  # type: ignore[arg-type]
    form = {"version": version.pk, "name": "chat", "engine": "vllm", "option-max_model_len": "1024"}
    shown = client.post("/endpoints/preview", form).context["command"]
    assert any("--max-model-len 1024" in line for line in shown["lines"])
    assert any("<port>" in line for line in shown["lines"])
    deployed = client.post("/endpoints/new", form)
    endpoint = Endpoint.objects.get()
    assert deployed.headers["location"] == f"/endpoints/{endpoint.public_id}"
    assert Job.objects.get().preview["env"] == shown["env"]


def test_the_preview_names_the_rule_that_forbids_the_model_and_who_may_lift_it(lab: tuple[Client, object]) -> None:
    client, team = lab
    version = make_stored_version(team, host=make_host())  # type: ignore[arg-type]
    form = {"version": version.pk, "name": "chat", "engine": "vllm"}
    assert client.post("/endpoints/preview", form).context["refusal"] == ""
    ada = make_user("ada", team=team, role=Role.ADMIN)  # type: ignore[arg-type]
    rules: dict[str, Any] = {"licenses": [], "formats": ["safetensors"], "remote_code": False}
    set_policy(team=team, user=ada, license_classes=["copyleft"], **rules)  # type: ignore[arg-type]
    shown = client.post("/endpoints/preview", form)
    assert "tiny is under apache-2.0, a licence of the class “permissive”" in shown.text
    assert "ada may change that under Settings, Model policy." in shown.text
    assert shown.context["plan"].fit  # what it would take stays in sight
    refused = client.post("/endpoints/new", form)
    assert refused.status_code == 422
    assert shown.context["refusal"] in refused.text


def test_the_preview_names_a_wrong_option_and_what_comes_first(lab: tuple[Client, object]) -> None:
    client, team = lab
    version = make_stored_version(team, host=make_host("atlas"))  # type: ignore[arg-type]
    form = {"version": version.pk, "engine": "vllm", "option-max_model_len": "3"}
    assert "Context length" in client.post("/endpoints/preview", form).context["refusal"]
    good = client.post("/endpoints/preview", form | {"option-max_model_len": ""})
    assert "is installed on atlas first" in good.context["first_steps"][0]
    make_host("borea", ram_gib=64)
    elsewhere = client.post("/endpoints/preview", form | {"option-max_model_len": ""})
    assert any("fetched to borea" in step for step in elsewhere.context["first_steps"])


def test_the_form_asks_for_its_version_once(
    lab: tuple[Client, object], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, team = lab
    version = make_stored_version(team)  # type: ignore[arg-type]
    form = EndpointForm(user=User.objects.get(), initial={"version": str(version.pk)})
    with django_assert_num_queries(1):
        assert [each["name"] for each in form.offered_engines()] == ["vllm"]
        assert form.chosen_version == version


def test_a_form_cannot_supply_argv(lab: tuple[Client, object]) -> None:
    client, team = lab
    version = make_stored_version(team, host=make_host())  # type: ignore[arg-type]
    evil = "--trust-remote-code"
    form = {"version": version.pk, "name": "chat", "engine": "vllm"}
    extra = {"argv": evil, "option-argv": evil, "option-env": evil, "option-extra_args": evil, "spec": evil}
    assert client.post("/endpoints/new", form | extra).status_code == 302
    job = Job.objects.get()
    assert set(job.spec["options"]) == set(get_engine("vllm").Options.model_fields)
    assert evil not in str(job.spec) + str(job.preview)
    for name, value in (("name", f"a {evil}"), ("option-dtype", evil), ("option-max_num_seqs", f"8 {evil}")):
        assert client.post("/endpoints/new", form | {"name": "other", name: value}).status_code == 422
    assert Job.objects.count() == 1


def test_a_link_fills_in_options_and_a_wrong_one_is_only_shown(client: Client) -> None:
    team = make_team()
    host = make_host(gpus=2)
    version = make_stored_version(team, host=host)
    client.force_login(make_user(team=team))
    page = client.get(f"/endpoints/new?version={version.public_id}&quantization=fp8&tensor_parallel=2").text
    assert '<option value="fp8" selected>' in page
    assert "--quantization fp8" in page
    assert "--tensor-parallel-size 2" in page
    assert client.get(f"/endpoints/new?version={version.public_id}&quantization=int1").status_code == 200
