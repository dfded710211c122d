"""Alice's team with a base model on a host and a data set of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.accounts.models import Team, User
from apps.catalog.models import ModelVersion
from apps.finetunes.models import Dataset
from apps.finetunes.services import create_dataset
from apps.fleet.models import Host
from tests.factories import make_host, make_stored_version, make_team, make_user


@pytest.fixture(autouse=True)
def blobs(settings: Any, tmp_path: Path) -> None:
    settings.BLOB_DIR = tmp_path / "blobs"


@pytest.fixture
def team(db: None) -> Team:
    return make_team("Red")


@pytest.fixture
def alice(team: Team) -> User:
    return make_user("alice", team=team)


@pytest.fixture
def host(db: None) -> Host:
    return make_host("atlas")


@pytest.fixture
def base(team: Team, host: Host) -> ModelVersion:
    return make_stored_version(team, host=host)


@pytest.fixture
def dataset(team: Team, alice: User) -> Dataset:
    return create_dataset(team=team, user=alice, name="greetings", data=lines(*[row()] * 3))


def row(question: str = "Hello?", answer: str = "Hello.") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def lines(*rows: Any) -> bytes:
    """JSON lines; text is taken as it is."""
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows).encode()
