"""Hub tokens of people and teams: sealed, tried in turn, handed to one host for one download, and told nobody."""

from __future__ import annotations

import json

import pytest
from django.core import serializers
from django.test import Client

from apps.accounts.hub_tokens import credentials_for, forget_hub_token, readable, save_hub_token
from apps.accounts.models import AuditEvent, HubToken, Team, User
from apps.accounts.problems import Problem
from apps.catalog.hub_secrets import hub_secrets
from apps.catalog.models import ModelImport
from apps.catalog.services import copy_version, import_model
from apps.jobs.leases import claim_attempt
from apps.jobs.models import Job
from tests.catalog.hub_server import Hub, tiny_repo
from tests.factories import api_headers, make_attempt, make_host, make_stored_version, make_team, make_user

pytestmark = pytest.mark.django_db
GOOD, BAD = "hf_let_in", "hf_stranger"


@pytest.fixture
def gated(hub: Hub) -> Hub:
    hub.repos["tiny/gated"] = tiny_repo(gated=True)
    hub.repos["tiny/private"] = tiny_repo(private=True)
    return hub


def bring(team: Team, user: User, repo: str = "tiny/gated") -> ModelImport:
    return import_model(team=team, user=user, source="hub", source_ref=repo)


def test_it_is_stored_sealed_and_shown_by_its_ends_only(alice: User) -> None:
    row = save_hub_token(actor=alice, token=f" {GOOD} ")
    stored = serializers.serialize("json", [*HubToken.objects.all(), *AuditEvent.objects.all()])
    assert GOOD not in stored
    assert (row.hint, readable(row)) == ("hf_…t_in", GOOD)
    assert GOOD not in repr(credentials_for(alice, make_team()))
    save_hub_token(actor=alice, token=BAD)
    assert [readable(each) for each in HubToken.objects.all()] == [BAD]


@pytest.mark.parametrize("token", ["", "short", "two words", "x" * 201, "hf_\x00abcdef"])
def test_what_is_no_token_is_refused(alice: User, token: str) -> None:
    with pytest.raises(Problem) as refused:
        save_hub_token(actor=alice, token=token)
    assert refused.value.errors[0].field == "token"
    assert refused.value.errors[0].value is None, "a mistyped token is not sent back"


def test_only_admins_save_the_teams(team: Team, admin: User, alice: User) -> None:
    with pytest.raises(Problem) as refused:
        save_hub_token(actor=alice, token=GOOD, team=team)
    assert refused.value.status == 403
    assert save_hub_token(actor=admin, token=GOOD, team=team).team == team


def test_gated_models_are_refused_before_a_job_is_made_and_say_what_was_tried(
    gated: Hub, team: Team, admin: User, alice: User
) -> None:
    with pytest.raises(Problem, match=f"is gated: accept its terms on {gated.url}/tiny/gated, then save a Hub token"):
        bring(team, alice)
    save_hub_token(actor=alice, token=BAD)
    save_hub_token(actor=admin, token="hf_other_stranger", team=team)
    with pytest.raises(Problem, match="Tried: the token of alice, the token of team Lab"):
        bring(team, alice)
    with pytest.raises(Problem, match="or it is private: with an account whose token is known here"):
        bring(team, alice, "tiny/private")
    assert not Job.objects.exists()


@pytest.mark.parametrize("repo", ["tiny/gated", "tiny/private"])
def test_the_persons_own_goes_first_then_the_teams_then_the_servers(
    gated: Hub, team: Team, admin: User, alice: User, monkeypatch: pytest.MonkeyPatch, repo: str
) -> None:
    save_hub_token(actor=alice, token=BAD)
    monkeypatch.setenv("HF_TOKEN", GOOD)
    by_server = bring(team, alice, repo)
    assert (by_server.credential, hub_secrets(by_server.job)) == ("server", {})
    ModelImport.objects.all().delete()
    save_hub_token(actor=admin, token=GOOD, team=team)
    by_team = bring(team, alice, repo)
    assert (by_team.credential, hub_secrets(by_team.job)) == ("team", {"HF_TOKEN": GOOD})
    ModelImport.objects.all().delete()
    save_hub_token(actor=alice, token=GOOD)
    assert bring(team, alice, repo).credential == "user"


def test_an_open_model_is_read_also_when_the_saved_token_is_refused(gated: Hub, team: Team, alice: User) -> None:
    gated.refused_tokens = {BAD}
    save_hub_token(actor=alice, token=BAD)
    assert bring(team, alice, "tiny/model").credential == ""


def test_the_host_gets_it_with_its_claim_and_nothing_else_holds_it(gated: Hub, team: Team, alice: User) -> None:
    save_hub_token(actor=alice, token=GOOD)
    row, host = bring(team, alice), make_host()
    attempt = make_attempt(row.job, host=host)
    claim = claim_attempt(host=host, attempt_uuid=attempt.uuid, epoch=attempt.epoch)
    assert claim.secrets == {"HF_TOKEN": GOOD}
    stored = serializers.serialize("json", [*Job.objects.all(), *ModelImport.objects.all(), *AuditEvent.objects.all()])
    assert GOOD not in stored
    plain = bring(team, alice, "tiny/model")
    assert hub_secrets(plain.job) == {}


def test_a_copy_goes_on_with_the_token_of_the_import(gated: Hub, team: Team, alice: User) -> None:
    save_hub_token(actor=alice, token=GOOD)
    row = bring(team, alice)
    version = make_stored_version(team, name="gated", source_ref="tiny/gated")
    ModelImport.objects.filter(pk=row.pk).update(version=version)
    copy = copy_version(version=version, host=make_host("brio"))
    assert hub_secrets(copy.job) == {"HF_TOKEN": GOOD}


def test_a_copy_takes_the_token_of_whom_the_hub_let_in_not_of_who_came_first(
    gated: Hub, team: Team, admin: User, alice: User
) -> None:
    version = make_stored_version(team, name="gated", source_ref="tiny/gated")
    save_hub_token(actor=admin, token="hf_of_ada")
    ModelImport.objects.filter(pk=bring(team, admin, "tiny/model").pk).update(version=version)
    save_hub_token(actor=alice, token=GOOD)
    ModelImport.objects.filter(pk=bring(team, alice).pk).update(version=version)
    copy = copy_version(version=version, host=make_host("brio"))
    assert hub_secrets(copy.job) == {"HF_TOKEN": GOOD}


def test_no_other_token_takes_the_place_of_one_that_is_forgotten(
    gated: Hub, team: Team, admin: User, alice: User
) -> None:
    save_hub_token(actor=alice, token=GOOD)
    row = bring(team, alice)
    version = make_stored_version(team, name="gated", source_ref="tiny/gated")
    ModelImport.objects.filter(pk=row.pk).update(version=version)
    copy = copy_version(version=version, host=make_host("brio"))
    save_hub_token(actor=admin, token="hf_of_the_team", team=team)
    forget_hub_token(actor=alice)
    assert [hub_secrets(each.job) for each in (row, copy)] == [{}, {}]


def test_the_import_of_a_deleted_person_takes_nobody_elses_token(gated: Hub, team: Team, alice: User) -> None:
    other = make_team("Other")
    eve = make_user("eve", team=other)
    save_hub_token(actor=eve, token=GOOD)
    bring(other, eve)
    save_hub_token(actor=alice, token=GOOD)
    row = bring(team, alice)
    ModelImport.objects.filter(pk=row.pk).update(created_by=None)
    assert hub_secrets(row.job) == {}


def test_after_the_servers_key_changed_it_says_so_and_counts_as_none(
    client: Client, gated: Hub, team: Team, alice: User, settings: object
) -> None:
    save_hub_token(actor=alice, token=GOOD)
    settings.SECRET_KEY = "another"  # type: ignore[attr-defined]
    assert credentials_for(alice, team) == []
    client.force_login(alice)
    assert "cannot be read any more" in client.get("/settings/tokens").text


def test_page_and_rest_save_list_and_forget(client: Client, team: Team, admin: User, alice: User) -> None:
    client.force_login(admin)
    assert client.post("/settings/hub-token", {"token": GOOD, "team": team.slug}).status_code == 302
    page = client.get("/settings/tokens").text
    assert "Team Lab" in page
    assert GOOD not in page
    wrong = client.post("/settings/hub-token", {"token": "two words"})
    assert wrong.status_code == 422
    assert "A Hub token is one word" in wrong.text
    headers, sent = api_headers(alice), {"content_type": "application/json"}
    saved = client.put("/api/v1/hub-tokens", {"token": GOOD}, headers=headers, **sent)
    assert (saved.status_code, saved.json()["team"], saved.json()["hint"]) == (200, None, "hf_…t_in")
    listed = client.get("/api/v1/hub-tokens", headers=headers)
    assert [row["team"] for row in listed.json()] == [None, "lab"]
    assert GOOD not in json.dumps(listed.json())
    assert client.delete("/api/v1/hub-tokens?team=lab", headers=headers).status_code == 403
    assert client.delete("/api/v1/hub-tokens", headers=headers).status_code == 204
    assert client.delete("/api/v1/hub-tokens", headers=headers).status_code == 404
    assert client.post("/settings/hub-token/forget", {"team": team.slug}).status_code == 302
    assert not HubToken.objects.exists()


def test_a_team_that_one_is_not_in_is_not_there(client: Client, alice: User) -> None:
    make_team("Other")
    headers, sent = api_headers(alice), {"content_type": "application/json"}
    for slug in ("other", "absent"):
        wish = {"token": GOOD, "team": slug}
        assert client.put("/api/v1/hub-tokens", wish, headers=headers, **sent).status_code == 404
        assert client.delete(f"/api/v1/hub-tokens?team={slug}", headers=headers).status_code == 404
        client.force_login(alice)
        assert client.post("/settings/hub-token", wish).status_code == 404
        client.logout()
    assert not HubToken.objects.exists()
