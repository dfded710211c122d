"""Log in, log out, and the one-time link."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.accounts.models import AuditEvent, ClaimToken, Membership, Role, User
from apps.accounts.services import create_claim
from apps.accounts.sign_in import FAILURES_PER_NAME, safe_next
from tests.factories import make_team, make_user

pytestmark = pytest.mark.django_db
PASSWORD = "plenty of words"


@pytest.fixture
def alice() -> User:
    user = make_user("alice", team=make_team())
    user.set_password(PASSWORD)
    user.save()
    return user


def log_in(client: Client, password: str = PASSWORD, **more: str) -> int:
    return client.post("/login", {"username": "alice", "password": password, **more}).status_code


def test_login_returns_to_where_the_person_was(client: Client, alice: User) -> None:
    client.get("/login")
    before = client.cookies.get("stackweb_csrf")
    answer = client.post("/login", {"username": "alice", "password": PASSWORD, "next": "/jobs?show=failed"})
    assert (answer.status_code, answer.url) == (302, "/jobs?show=failed")
    assert before is not None
    assert client.cookies["stackweb_csrf"].value != before.value


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x", "jobs"]
)
def test_login_never_leaves_the_site(target: str, client: Client, alice: User) -> None:
    assert safe_next(target) == ""
    assert client.post("/login", {"username": "alice", "password": PASSWORD, "next": target}).url == "/"


def test_wrong_password_says_so_and_is_recorded(client: Client, alice: User) -> None:
    answer = client.post("/login", {"username": "alice", "password": "wrong"})
    assert answer.status_code == 422
    assert "user name or the password is wrong" in answer.text
    assert AuditEvent.objects.filter(action="login.failed", object_id="alice").count() == 1


def test_guessing_is_slowed_from_that_address_only(client: Client, alice: User) -> None:
    codes = [log_in(client, "wrong") for _ in range(FAILURES_PER_NAME + 1)]
    assert codes == [422] * FAILURES_PER_NAME + [429]
    assert log_in(client) == 429, "also the right password waits"
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert log_in(elsewhere) == 302
    AuditEvent.objects.update(at=timezone.now() - timedelta(minutes=16))
    assert log_in(client) == 302


def test_a_disabled_person_does_not_get_in(client: Client, alice: User) -> None:
    User.objects.update(is_active=False)
    assert log_in(client) == 422


def test_logout_ends_the_session_and_only_by_post(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/logout").status_code == 405
    assert client.post("/logout").url == "/login"
    assert client.get("/settings").status_code == 302


def claim_form(**more: str) -> dict[str, str]:
    return {"username": "ana", "display_name": "Ana Ruiz", "password": PASSWORD, **more}


def test_claim_makes_the_first_admin_once(client: Client) -> None:
    token = create_claim()
    assert "Claim it" in client.get(f"/claim/{token}").text
    assert client.post(f"/claim/{token}", claim_form()).url == "/"
    ana = User.objects.get(username="ana")
    assert (ana.is_superuser, str(ana)) == (True, "Ana Ruiz")
    assert Membership.objects.get(user=ana).role == Role.ADMIN
    assert client.session["_auth_user_id"] == str(ana.pk)
    assert Client().get(f"/claim/{token}").status_code == 410
    assert Client().post(f"/claim/{token}", claim_form(username="eve")).status_code == 410


def test_claim_with_a_weak_password_changes_nothing(client: Client) -> None:
    token = create_claim()
    answer = client.post(f"/claim/{token}", claim_form(password="short"))
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.text
    assert not User.objects.exists()
    assert client.post(f"/claim/{token}", claim_form()).status_code == 302


def test_claim_ends_after_a_day_and_unknown_ones_do_not_exist(client: Client) -> None:
    token = create_claim()
    ClaimToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(f"/claim/{token}").status_code == 410
    assert client.get("/claim/swc_guess").status_code == 404


def test_first_admin_link_dies_when_there_is_an_admin(client: Client) -> None:
    token = create_claim()
    make_user("boss", is_superuser=True)
    assert client.post(f"/claim/{token}", claim_form()).status_code == 410


def test_a_wrong_api_token_is_told_apart_from_none(client: Client) -> None:
    said = {
        header: client.get("/api/v1/jobs", headers={"Authorization": header} if header else {}).json()["detail"]
        for header in ("", "Bearer swt_nobody-knows-this", "Bearer sk-sw-a-virtual-key")
    }
    assert "Send Authorization" in said[""]
    assert "unknown, expired or revoked" in said["Bearer swt_nobody-knows-this"]
    assert "begins with swt_" in said["Bearer sk-sw-a-virtual-key"]


def test_a_server_that_nobody_owns_points_to_its_terminal(client: Client) -> None:
    assert "Open the link that its terminal shows" in client.get("/login").content.decode()
    make_user("root", is_superuser=True, is_active=True)
    page = client.get("/login").content.decode()
    assert "terminal" not in page
    assert "An admin can send you a new link" in page
