"""People and their team, for tests that serve."""

from __future__ import annotations

import pytest

from apps.accounts.models import Team, User
from tests.factories import make_team, make_user


@pytest.fixture
def team() -> Team:
    return make_team()


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)
