"""What a folder of a model says of its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.engines.folder import model_facts


@pytest.mark.parametrize(
    ("said", "known"),
    [({"tokenizer_class": "Qwen2Tokenizer"}, "Qwen2Tokenizer"), ({}, None), ({"tokenizer_class": ["x"]}, None)],
)
def test_the_tokenizer_is_the_one_that_its_config_names(tmp_path: Path, said: object, known: str | None) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    assert model_facts(tmp_path, ["config.json"]).get("tokenizer") == known
