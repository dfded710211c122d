"""Models of an Ollama registry: pinned by digest, read by header, fetched whole."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from apps.accounts.problems import Problem
from apps.catalog.models import Artifact, ModelImport
from apps.catalog.ollama import WEIGHTS, read_ollama
from apps.catalog.services import copy_version, import_model
from tests.catalog.bringing import fetched
from tests.catalog.ollama_server import Registry, running_registry
from tests.factories import make_host, make_team, make_user
from tests.gguf_models import CONTEXT, tiny_gguf

pytestmark = pytest.mark.django_db
DATA = tiny_gguf()
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with running_registry() as running:
        running.publish("library/tiny:1b", DATA)
        monkeypatch.setenv("OLLAMA_REGISTRY", running.url)
        yield running


def refused(name: str, tag: str) -> Problem:
    with pytest.raises(Problem) as caught:
        read_ollama(name, tag)
    return caught.value


def test_a_registry_that_asks_to_slow_down_is_asked_again(registry: Registry) -> None:
    registry.slow_downs = 2
    assert read_ollama("library/tiny", "1b").digest == DIGEST
    registry.slow_downs = 3
    assert "asks to slow down (429). Try again in 1 s" in refused("library/tiny", "1b").detail


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Apache License\nVersion 2.0", "apache-2.0"),
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n...", "llama3.2"),
        ("MIT License\n\nCopyright", "mit"),
        ("\n  House rules, all rights kept  \n", "House rules, all rights kept"),
    ],
)
def test_a_tag_is_pinned_to_its_weights_with_licence_and_shape(registry: Registry, text: str, name: str) -> None:
    registry.publish("library/tiny:1b", DATA, text)
    facts = read_ollama("library/tiny", "1b")
    assert (facts.digest, facts.size_bytes, facts.license) == (DIGEST, len(DATA), name)
    assert facts.config["max_position_embeddings"] == CONTEXT
    asked = [part for path, part in registry.requests if path == f"/cdn/sha256:{DIGEST}"]
    assert all(part.startswith("bytes=0-") for part in asked)


def test_it_is_imported_and_fetched_by_digest_even_when_the_tag_moves_on(registry: Registry, tmp_path: Path) -> None:
    team = make_team()
    row = import_model(team=team, user=make_user(team=team), source="ollama", source_ref="tiny:1b")
    assert (row.name, row.source_ref, row.variant, row.revision) == ("tiny", "library/tiny", "1b", DIGEST)
    registry.publish("library/tiny:1b", tiny_gguf(8))
    registry.cut_after = 200_000
    version = fetched(row, tmp_path)
    assert (version.label, version.is_gguf, version.context_length) == (f"1b-{DIGEST[:12]}", True, CONTEXT)
    assert version.precision == "Q4_K"  # the header of this file names no mix
    assert version.model.license == "apache-2.0"
    (file,) = Artifact.objects.get(version=version).files
    assert (file["path"], file["sha256"]) == ("tiny-1b.gguf", DIGEST)
    assert [part for path, part in registry.requests if path.startswith("/cdn/")][-1] == "bytes=196608-"
    again = copy_version(version=version, host=make_host("brio"))
    assert again.job.spec["payload"]["source"] == f"ollama:library/tiny:1b@{DIGEST}"


def test_damaged_weights_are_refused(registry: Registry, tmp_path: Path) -> None:
    registry.damage = True
    registry.slow_downs = 2
    argv = [sys.executable, "-m", "workers.downloads", f"ollama:tiny:1b@{DIGEST}", "--into", str(tmp_path / "model")]
    argv += ["--record", str(tmp_path / "record.json")]
    ran = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert ran.returncode == 1
    assert "tiny-1b.gguf arrived damaged" in ran.stdout
    assert not (tmp_path / "model").exists()


def test_what_is_not_there_or_cannot_be_used_is_said(registry: Registry) -> None:
    problem = refused("library/absent", "1b")
    assert (problem.status, problem.errors[0].field) == (422, "source_ref")
    assert "library/absent:1b is not in" in problem.detail
    registry.publish("library/broken:1b", DATA[:100])
    assert "cannot be loaded by its weights" in refused("library/broken", "1b").detail
    registry.tags["library/two:1b"] = [(WEIGHTS, DATA), (WEIGHTS, DATA)]
    assert "holds 2 weight files" in refused("library/two", "1b").detail


def test_a_registry_that_is_away_is_named(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_REGISTRY", "http://127.0.0.1:9")
    problem = refused("library/tiny", "1b")
    assert (problem.status, problem.errors[0].field) == (503, "source_ref")
    assert "http://127.0.0.1:9 cannot be reached" in problem.detail


def test_a_registry_that_never_ends_its_answer_is_given_up(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.catalog.remote_text.TEXT_SECONDS", 0.2)
    registry.drip_seconds = 0.01  # the whole would take three seconds, and be a manifest
    problem = refused("library/tiny", "1b")
    assert (problem.status, problem.errors[0].field) == (503, "source_ref")
    assert "its answer is no manifest" in problem.detail


def test_the_page_imports_one_and_says_what_is_wrong(registry: Registry, client: Client) -> None:
    client.force_login(make_user(team=make_team()))
    wrong = client.post("/models/import", {"source": "ollama", "source_ref": "no such thing"})
    assert wrong.status_code == 422
    assert "names no model of an Ollama registry" in wrong.content.decode()
    assert client.post("/models/import", {"source": "ollama", "source_ref": "tiny:1b"}).status_code == 302
    assert ModelImport.objects.get().source == "ollama"
