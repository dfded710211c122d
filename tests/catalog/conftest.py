from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import close_session

from apps.accounts.models import Role, Team, User
from apps.catalog.hub_repository import ask_through_egress
from tests.catalog.hub_server import Hub, running_hub, tiny_repo
from tests.factories import make_team, make_user


@pytest.fixture
def team() -> Team:
    return make_team("Lab")


@pytest.fixture
def admin(team: Team) -> User:
    return make_user("ada", team=team, role=Role.ADMIN)


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on loopback with the repository tiny/model; the server side asks it through the egress client."""
    with running_hub() as running:
        running.repos["tiny/model"] = tiny_repo()
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        ask_through_egress()
        yield running
        close_session()
