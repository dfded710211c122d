"""What the first start makes, and the link with which the first admin takes over."""

from __future__ import annotations

import json
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from apps.accounts.models import ApiToken, Team, User
from apps.accounts.services import create_claim, use_claim
from apps.fleet.local_host import host_name
from apps.fleet.models import Host, HostToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    monkeypatch.setattr(settings, "HOME", tmp_path)
    return tmp_path


def claim_url() -> str:
    out = StringIO()
    call_command("claim_url", stdout=out)
    return out.getvalue().strip()


def test_first_start_makes_team_token_and_host_and_the_second_keeps_them(home: Path) -> None:
    call_command("prepare_install")
    token = (home / "admin-token").read_text()
    config = json.loads((home / "host" / "worker.json").read_text())
    call_command("prepare_install")

    assert (home / "admin-token").read_text() == token
    assert json.loads((home / "host" / "worker.json").read_text()) == config
    assert [team.slug for team in Team.objects.all()] == ["default"]
    assert Host.objects.get().name == config["host_name"]
    assert HostToken.objects.filter(revoked_at=None).count() == 1
    for path in (home / "admin-token", home / "host" / "worker.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_automation_has_no_password(home: Path) -> None:
    call_command("prepare_install")
    automation = User.objects.get(username="automation")
    assert automation.is_superuser
    assert not automation.has_usable_password()


def test_a_lost_token_file_is_made_anew(home: Path) -> None:
    call_command("prepare_install")
    (home / "admin-token").unlink()
    call_command("prepare_install")
    assert (home / "admin-token").exists()
    assert ApiToken.objects.alive().count() == 1


def test_folders_chosen_by_the_operator_stay_and_addresses_follow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("prepare_install")
    path = home / "host" / "worker.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"models_dir": "/srv/models"}))
    monkeypatch.setattr(settings, "STACKWEB_URL", "http://127.0.0.1:9999")
    call_command("prepare_install")
    config = json.loads(path.read_text())
    assert (config["models_dir"], config["url"]) == ("/srv/models", "http://127.0.0.1:9999")


def test_claim_url_replaces_the_earlier_one_and_ends_with_the_first_admin(home: Path) -> None:
    call_command("prepare_install")  # its automation user is no admin who could sign in
    first, second = claim_url(), claim_url()
    assert first != second
    use_claim(plain=second.rpartition("/")[2], username="ana", display_name="Ana Ruiz", password="plenty of words")
    assert claim_url() == ""
    assert User.objects.get(username="ana").is_superuser


@pytest.mark.parametrize(
    ("hostname", "name"), [("GPU_box.lab", "gpu-box"), ("---", "local"), ("a" * 80, "a" * 63), ("vm", "vm")]
)
def test_host_name_is_made_valid(hostname: str, name: str) -> None:
    assert host_name(hostname) == name


def test_claim_of_an_invited_person_keeps_their_name() -> None:
    bob = User.objects.create(username="bob")
    user = use_claim(plain=create_claim(user=bob), username="mallory", display_name="", password="plenty of words")
    assert user == bob
    assert not user.is_superuser
    assert user.check_password("plenty of words")
