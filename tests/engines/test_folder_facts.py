"""What a folder of a model says of its tokenizer, and of code that it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.engines.folder import model_facts
from apps.engines.repository_files import CODE_NAMING


@pytest.mark.parametrize(
    ("said", "known"),
    [({"tokenizer_class": "Qwen2Tokenizer"}, "Qwen2Tokenizer"), ({}, None), ({"tokenizer_class": ["x"]}, None)],
)
def test_the_tokenizer_is_the_one_that_its_config_names(tmp_path: Path, said: object, known: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    assert model_facts(tmp_path, ["config.json"]).get("tokenizer") == known


@pytest.mark.parametrize("name", ["config.json", *CODE_NAMING])
def test_code_is_needed_where_any_config_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert model_facts(tmp_path, ["config.json"])["needs_remote_code"] is False
    (tmp_path / name).write_text(json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_tiny.Tiny", None]}}))
    assert model_facts(tmp_path, ["config.json"])["needs_remote_code"] is True


def test_a_processor_that_cannot_be_read_names_no_code(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "processor_config.json").write_bytes(b"\xff{")
    assert model_facts(tmp_path, ["config.json"])["needs_remote_code"] is False
