"""Who may change whom: people, roles, tokens, on pages and over REST."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import ApiToken, ClaimToken, Membership, Role, User
from apps.accounts.people import change_person
from apps.accounts.problems import Problem
from apps.accounts.services import create_api_token, create_claim, disable_user, set_admin, set_role
from tests.factories import api_headers, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> dict[str, Any]:
    red, blue = make_team("Red"), make_team("Blue")
    return {
        "red": red,
        "blue": blue,
        "admin": make_user("admin", is_superuser=True, team=red, role=Role.ADMIN),
        "lead": make_user("lead", team=red, role=Role.ADMIN),
        "alice": make_user("alice", team=red),
        "carol": make_user("carol", team=blue),
    }


def post(client: Client, path: str, user: User, body: dict[str, Any], **headers: str) -> Any:
    return client.post(f"/api/v1{path}", json.dumps(body), "application/json", headers=api_headers(user) | headers)


def test_adding_a_person_gives_a_link_that_sets_their_password(client: Client, house: dict[str, Any]) -> None:
    answer = post(client, "/users", house["admin"], {"username": "dana", "team": "red", "role": "viewer"})
    assert answer.status_code == 201
    assert answer.json()["roles"] == {"red": "viewer"}
    path = answer.json()["claim_url"].partition("/claim/")[2]
    assert client.post(f"/claim/{path}", {"password": "plenty of words"}).status_code == 302
    assert User.objects.get(username="dana").check_password("plenty of words")


def test_a_repeated_create_shows_the_secret_no_second_time(client: Client, house: dict[str, Any]) -> None:
    body, key = {"name": "ci"}, {"Idempotency-Key": "one"}
    first = post(client, "/tokens", house["alice"], body, **key).json()
    again = post(client, "/tokens", house["alice"], body, **key).json()
    assert first["token"].startswith("swt_")
    assert (again["id"], again["token"]) == (first["id"], None)


def test_a_team_admin_changes_their_own_team_only(client: Client, house: dict[str, Any]) -> None:
    assert post(client, "/users", house["lead"], {"username": "new", "team": "red"}).status_code == 201
    assert post(client, "/users", house["lead"], {"username": "new2", "team": "blue"}).status_code == 422
    with pytest.raises(Problem, match="role"):
        set_role(actor=house["lead"], user=house["alice"], team=house["blue"], role=Role.MEMBER)
    with pytest.raises(Problem, match="admin of this server"):
        set_admin(actor=house["lead"], user=house["lead"], is_admin=True)


def test_a_team_admin_gets_no_link_to_become_somebody_else(client: Client, house: dict[str, Any]) -> None:
    client.force_login(house["lead"])
    answer = client.post(f"/settings/people/{house['admin'].pk}", {"new_link": "1"})
    assert answer.status_code == 403
    assert not ClaimToken.objects.exists()


def test_the_page_saves_roles_and_a_stranger_is_not_found(client: Client, house: dict[str, Any]) -> None:
    client.force_login(house["lead"])
    sent = {f"role-{house['red'].pk}": "viewer", f"role-{house['blue'].pk}": "admin"}
    assert client.post(f"/settings/people/{house['alice'].pk}", sent).status_code == 302
    held = Membership.objects.filter(user=house["alice"]).values_list("team__slug", "role")
    assert list(held) == [("red", "viewer")], "a team that the lead does not run is not touched"
    assert client.post(f"/settings/people/{house['carol'].pk}", sent).status_code == 404
    house["alice"].refresh_from_db()
    assert house["alice"].is_active


def test_the_last_admin_stays(house: dict[str, Any]) -> None:
    make_user("automation", is_superuser=True)
    for change in ({"is_admin": False, "is_active": True}, {"is_admin": True, "is_active": False}):
        with pytest.raises(Problem, match="only admin"):
            change_person(actor=house["admin"], person=house["admin"], roles={}, **change)


def test_disabling_ends_tokens_and_links_at_once(client: Client, house: dict[str, Any]) -> None:
    headers = api_headers(house["alice"])
    create_claim(user=house["alice"])
    disable_user(actor=house["admin"], user=house["alice"])
    assert client.get("/api/v1/tokens", headers=headers).status_code == 401
    assert not ClaimToken.objects.exists()


def test_people_see_their_own_team_and_their_own_tokens(client: Client, house: dict[str, Any]) -> None:
    _, token = create_api_token(user=house["carol"], name="hers")
    names = [
        row["username"] for row in client.get("/api/v1/users", headers=api_headers(house["alice"])).json()["items"]
    ]
    assert sorted(names) == ["admin", "alice", "lead"]
    client.force_login(house["alice"])
    page = client.get("/settings").text
    assert "carol" not in page
    assert "Blue" not in page
    row = ApiToken.objects.get(user=house["carol"])
    assert client.post(f"/settings/tokens/{row.pk}/revoke").status_code == 404
    assert client.delete(f"/api/v1/tokens/{row.pk}", headers=api_headers(house["alice"])).status_code == 404
    assert client.get("/api/v1/tokens", headers={"Authorization": f"Bearer {token.plain}"}).status_code == 200


def test_a_token_is_shown_once_and_dies_by_revoking(client: Client, house: dict[str, Any]) -> None:
    client.force_login(house["alice"])
    page = client.post("/settings/tokens/new", {"name": "laptop", "scope": "read", "days": "7"}).text
    plain = page.partition("<code>swt_")[2].partition("<")[0]
    row = ApiToken.objects.get(user=house["alice"])
    assert row.expires_at is not None
    assert f"swt_{plain}" not in client.get("/settings/tokens").text
    headers = {"Authorization": f"Bearer swt_{plain}"}
    assert Client().get("/api/v1/teams", headers=headers).json() == [{"name": "Red", "slug": "red"}]
    client.post(f"/settings/tokens/{row.pk}/revoke")
    assert Client().get("/api/v1/teams", headers=headers).status_code == 401


def test_the_last_use_of_a_token_is_noted_to_the_minute(client: Client, house: dict[str, Any]) -> None:
    row, token = create_api_token(user=house["alice"], name="ci")
    headers = {"Authorization": f"Bearer {token.plain}"}

    def last_use() -> datetime:
        assert client.get("/api/v1/teams", headers=headers).status_code == 200
        row.refresh_from_db()
        assert row.last_used_at is not None
        return row.last_used_at

    first = last_use()
    assert last_use() == first
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=first - timedelta(seconds=61))
    assert last_use() > first


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "a b"}, "username"),
        ({"username": "ALICE"}, "username"),
        ({"username": "x", "role": "membr"}, "role"),
        ({"username": "x", "team": "rad"}, "team"),
    ],
)
def test_wrong_input_names_the_field(client: Client, house: dict[str, Any], body: dict[str, str], field: str) -> None:
    answer = post(client, "/users", house["admin"], body)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["field"], error["value"]) == (field, body[field])
    assert field == "username" or error["nearest"] in ("member", "red")


@pytest.mark.parametrize("ends", ["9999-12-31T23:59:59-14:00", "2030-01-01T00:00:00"])
def test_a_token_with_an_end_that_is_no_moment_is_refused(client: Client, house: dict[str, Any], ends: str) -> None:
    answer = post(client, "/tokens", house["alice"], {"name": "ci", "expires_at": ends})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "expires_at"
    assert client.get("/api/v1/tokens", headers=api_headers(house["alice"])).status_code == 200
