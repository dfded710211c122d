"""What a team lets itself use: enforced where a model is imported, served, trained on or evaluated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AuditEvent, Role, Team, User
from apps.accounts.problems import Problem
from apps.catalog.licenses import license_class
from apps.catalog.models import ModelImport, ModelVersion, TeamPolicy
from apps.catalog.policies import pickled_files, policy_facts, policy_of, rule_against, set_policy
from apps.catalog.registration import CannotRegister, register_download
from apps.catalog.services import import_model
from apps.engines.base import Result
from apps.evals.services import create_eval_run
from apps.finetunes.services import create_dataset, create_fine_tune
from apps.jobs.models import Job
from apps.serving.services import create_endpoint, start_endpoint, stop_endpoint
from tests.catalog.hub_server import Hub, tiny_repo
from tests.factories import (
    api_headers,
    make_attempt,
    make_host,
    make_produced,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

pytestmark = pytest.mark.django_db
ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'


def allow(team: Team, admin: User, **rules: Any) -> TeamPolicy:
    asked: dict[str, Any] = {
        "license_classes": ["permissive"],
        "licenses": [],
        "formats": ["safetensors", "gguf"],
        "remote_code": False,
    }
    return set_policy(team=team, user=admin, **(asked | rules))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("apache-2.0", "permissive"), ("MIT", "permissive"), ("bsd-3-clause", "permissive"),
        ("cc-by-4.0", "permissive"),
        ("gpl-3.0", "copyleft"), ("agpl-3.0", "copyleft"), ("cc-by-sa-4.0", "copyleft"),
        ("llama3.1", "community"), ("gemma", "community"), ("bigscience-openrail-m", "community"),
        ("qwen", "community"),
        ("cc-by-nc-4.0", "non_commercial"), ("cc-by-nc-sa-4.0", "non_commercial"), ("qwen-research", "non_commercial"),
        ("bsl-1.0", "permissive"), ("bsl-1.1", "unknown"), ("apache-2.0 with commons clause", "unknown"),
        ("mrl", "non_commercial"), ("", "unknown"), ("other", "unknown"), ("house rules", "unknown"),
    ],
)  # fmt: skip
def test_a_licences_name_says_its_class(name: str, found: str) -> None:
    assert license_class(name) == found


def test_without_a_policy_everything_but_remote_code_is_allowed(team: Team) -> None:
    version = make_stored_version(team)
    version.model.license = "cc-by-nc-4.0"
    assert rule_against(version, team) == ""
    assert policy_facts(policy_of(team)) == {
        "license_classes": [],
        "licenses": [],
        "formats": ["safetensors", "gguf", "pytorch"],
        "remote_code": False,
    }
    assert not TeamPolicy.objects.exists()


def test_a_rule_says_what_it_allows_and_who_may_change_it(team: Team, admin: User) -> None:
    allow(team, admin, licenses=["Gemma"])
    version = make_stored_version(team)
    version.model.license = "llama3.1"
    assert rule_against(version, team) == (
        "tiny is under llama3.1, a licence of the class “community terms”. Lab allows only “permissive”, gemma. "
        "ada may change that under Settings, Model policy."
    )
    version.model.license = "gemma"
    assert rule_against(version, team) == ""
    version.model.license = ""
    assert rule_against(version, team).startswith("tiny names no licence.")
    event = AuditEvent.objects.get(action="team.policy_set")
    assert event.detail["licenses"] == ["gemma"]


def test_an_import_is_refused_before_anything_is_started(hub: Hub, team: Team, admin: User, alice: User) -> None:
    hub.repos["tiny/model"] = tiny_repo(license="cc-by-nc-4.0")
    allow(team, admin)
    make_host()
    with pytest.raises(Problem) as refused:
        import_model(team=team, user=alice, source="hub", source_ref="tiny/model")
    assert (refused.value.status, refused.value.errors[0].field) == (403, "source_ref")
    assert not ModelImport.objects.exists()
    allow(team, admin, license_classes=["permissive", "non_commercial"])
    assert import_model(team=team, user=alice, source="hub", source_ref="tiny/model")


def test_gguf_may_be_left_out(team: Team, admin: User, alice: User) -> None:
    allow(team, admin, license_classes=[], formats=["safetensors"])
    host = make_host()
    with pytest.raises(Problem, match="Lab takes safetensors only"):
        import_model(team=team, user=alice, source="path", source_ref="/models/tiny.gguf", host=host)
    assert import_model(team=team, user=alice, source="path", source_ref="/models/tiny", host=host)


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        ({"format": "gguf"}, "takes safetensors only, and tiny is GGUF"),
        ({"files": [{"path": "pytorch_model.bin", "size_bytes": 9, "sha256": "ab" * 32}]}, "holds pickled PyTorch"),
    ],
)
def test_a_folders_files_are_judged_once_they_are_read(
    team: Team, admin: User, alice: User, found: dict[str, Any], rule: str
) -> None:
    allow(team, admin, license_classes=[], formats=["safetensors"])
    host = make_host()
    job = import_model(team=team, user=alice, source="path", source_ref="/models/tiny", host=host).job
    make_attempt(job, host)
    plain = make_produced()
    produced = plain.model_copy(update=found | {"facts": plain.facts | {"quantisation": "Q4_K_M"}})
    job.status, job.finished_at = "succeeded", timezone.now()
    job.result = Result(ok=True, produced=[produced]).model_dump()
    job.save()
    with pytest.raises(CannotRegister, match=rule):
        register_download(job)
    allow(team, admin, formats=["safetensors", "gguf", "pytorch"])
    register_download(job)
    assert ModelVersion.objects.get().model.name == "tiny"


def test_what_is_here_already_is_not_used_against_a_rule(team: Team, admin: User, alice: User) -> None:
    version = make_stored_version(team, host=make_host())
    endpoint = create_endpoint(team=team, user=alice, version=version)
    stop_endpoint(endpoint=endpoint, user=alice)
    dataset = create_dataset(team=team, user=alice, name="rows", data=ROW * 3)
    allow(team, admin, license_classes=["copyleft"])
    uses: list[Callable[[ModelVersion], object]] = [
        lambda it: create_endpoint(team=team, user=alice, version=it, name="again"),
        lambda it: start_endpoint(endpoint=endpoint, user=alice),
        lambda it: create_fine_tune(team=team, user=alice, name="tuned", base=it, dataset=dataset),
        lambda it: create_eval_run(team=team, user=alice, version=it, suite=make_suite()),
    ]
    jobs = Job.objects.count()
    for use in uses:
        with pytest.raises(Problem) as refused:
            use(version)
        assert refused.value.status == 403
        assert "a licence of the class “permissive”" in refused.value.detail
    assert Job.objects.count() == jobs


def test_pickled_files_are_flagged_and_may_be_left_out(client: Client, team: Team, admin: User, alice: User) -> None:
    version = make_stored_version(team, host=make_host())
    artifact = version.artifacts.get()
    digest = "ab" * 32
    for name in ("pytorch_model.bin", "training_args.bin"):
        artifact.files.append({"path": name, "size_bytes": 9, "sha256": digest})
    artifact.save()
    assert pickled_files(version) == ["pytorch_model.bin"]
    client.force_login(alice)
    page = client.get(f"/models/{version.model.public_id}").text
    assert "<b>Unsafe:</b> pytorch_model.bin" in page
    assert page.count('<span class="tag">unsafe</span>') == 1
    assert rule_against(version, team) == ""
    allow(team, admin)
    assert rule_against(version, team).startswith("Lab takes safetensors and GGUF only, and tiny holds pickled PyTorch")
    allow(team, admin, formats=["safetensors", "gguf", "pytorch"])
    assert rule_against(version, team) == ""
    artifact.files = artifact.files[:1]
    artifact.save()
    assert "Unsafe" not in client.get(f"/models/{version.model.public_id}").text


def test_the_page_grants_remote_code(client: Client, team: Team, admin: User) -> None:
    client.force_login(admin)
    address = f"/settings/teams/{team.slug}/policy"
    assert client.post(address, {"formats": ["gguf", "pytorch"], "remote_code": "on"}).status_code == 302
    assert policy_facts(policy_of(team))["remote_code"] is True
    page = client.get("/settings/policy").text
    assert "remote code granted" in page
    assert client.post(address, {"formats": ["gguf"]}).status_code == 302
    assert policy_facts(policy_of(team))["remote_code"] is False


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"license_classes": ["permisive"]}, "license_classes"),
        ({"licenses": ["<script>"]}, "licenses"),
        ({"licenses": [f"l{n}" for n in range(51)]}, "licenses"),
        ({"formats": ["gguf"]}, "formats"),
        ({"formats": ["safetensors", "onnx"]}, "formats"),
    ],
)
def test_a_wrong_rule_names_its_field_and_changes_nothing(team: Team, admin: User, rules: Any, field: str) -> None:
    with pytest.raises(Problem) as refused:
        allow(team, admin, **rules)
    assert (refused.value.status, refused.value.errors[0].field) == (422, field)
    assert not TeamPolicy.objects.exists()


def test_only_the_teams_admins_set_it(client: Client, team: Team, admin: User, alice: User) -> None:
    body = {"license_classes": ["permissive"], "formats": ["safetensors"]}
    address = f"/api/v1/teams/{team.slug}/policy"
    sent = {"content_type": "application/json"}
    assert client.put(address, body, headers=api_headers(alice), **sent).status_code == 403
    stranger = make_user(team=make_team("Other"), role=Role.ADMIN)
    assert client.put(address, body, headers=api_headers(stranger), **sent).status_code == 404
    assert client.put(address, body, headers=api_headers(admin), **sent).status_code == 200
    expected = {"team": "lab", "license_classes": ["permissive"], "licenses": [], "formats": ["safetensors"]}
    expected |= {"remote_code": False}
    assert client.get(address, headers=api_headers(alice)).json() == expected


def test_the_page_sets_it_and_the_model_says_when_it_is_forbidden(
    client: Client, team: Team, admin: User, alice: User
) -> None:
    version = make_stored_version(team, host=make_host())
    client.force_login(admin)
    sent = {"license_classes": ["copyleft"], "licenses": "gemma, llama3.1", "formats": ["gguf"]}
    assert client.post(f"/settings/teams/{team.slug}/policy", sent).status_code == 302
    assert policy_facts(policy_of(team))["licenses"] == ["gemma", "llama3.1"]
    page = client.get("/settings/policy").text
    assert "Save the policy of Lab" in page
    assert "limited licences" in page
    wrong = client.post(f"/settings/teams/{team.slug}/policy", sent | {"licenses": "<b>"})
    assert wrong.status_code == 422
    assert "write it as the Hub does" in wrong.text
    client.force_login(alice)
    assert "An admin of Lab may change it" in client.get("/settings/policy").text
    assert client.post(f"/settings/teams/{team.slug}/policy", sent).status_code == 403
    model = client.get(f"/models/{version.model.public_id}").text
    assert "Lab allows only “copyleft”" in model


@pytest.mark.parametrize(
    ("licenses", "says", "shown"),
    [("", "every licence", ""), (" , ", "every licence", ""), ("gemma,, mit ", "limited licences", "gemma, mit")],
)
def test_after_a_bad_post_the_page_shows_what_was_sent(
    client: Client, team: Team, admin: User, licenses: str, says: str, shown: str
) -> None:
    client.force_login(admin)
    wrong = client.post(f"/settings/teams/{team.slug}/policy", {"licenses": licenses, "formats": ["gguf", "onnx"]})
    assert wrong.status_code == 422
    assert f"{says}, safetensors and GGUF" in wrong.text
    assert f'name="licenses" maxlength="2000" value="{shown}"' in wrong.text
    assert not TeamPolicy.objects.exists()
