"""Headers of weight files: read for what they are, refused in words and within bounds for what they are not."""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from apps.engines.file_headers import BadHeader
from apps.engines.folder import model_facts, visible_files
from apps.engines.gguf_config import config_from_gguf
from apps.engines.gguf_header import read_gguf
from apps.engines.safetensors_header import read_safetensors
from tests.engines.header_files import (
    GOOD_GGUF,
    GOOD_SAFETENSORS,
    READERS,
    damaged,
    gguf_bytes,
    safetensors_bytes,
    survives,
    text_bytes,
)


def test_a_safetensors_header_gives_its_tensors() -> None:
    tensors = read_safetensors(io.BytesIO(GOOD_SAFETENSORS), len(GOOD_SAFETENSORS))
    assert {name: (each.dtype, each.shape, each.elements) for name, each in tensors.items()} == {
        "a": ("BF16", (4, 8), 32),
        "b": ("F32", (), 1),
    }


def test_a_gguf_header_gives_metadata_and_tensors_and_counts_a_vocabulary() -> None:
    header = read_gguf(io.BytesIO(GOOD_GGUF), len(GOOD_GGUF))
    assert (header.architecture, header.parameters, header.usual_type) == ("llama", 520, "Q4_K")
    assert header.of_architecture("context_length") == 2048
    assert header.of_architecture("attention.head_count_kv") == [4, 4]
    assert header.metadata["tokenizer.ggml.tokens"] == 3
    assert header.tensors["norm.weight"].size_bytes == 32


def one(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


TWINS = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "length of the header needs 8 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "past the end of the file"),
        ((50).to_bytes(8, "little") + b"{}", "past the end of the file"),
        (safetensors_bytes(b"[" * 200_000, 0), "not JSON"),
        (safetensors_bytes(b'{"a": ' + b"9" * 5000 + b"}", 0), "not JSON"),
        (safetensors_bytes(b"\xff\xfe", 0), "not JSON"),
        (safetensors_bytes([], 0), "not a JSON object"),
        (safetensors_bytes(TWINS, 4), "a name appears twice"),
        (safetensors_bytes({"a": 1}, 0), "'a' is not described"),
        (safetensors_bytes(one("F99"), 8), "type 'F99'"),
        (safetensors_bytes(one(shape=[2**63]), 8), "shape that is none"),
        (safetensors_bytes(one(shape=[-1]), 8), "shape that is none"),
        (safetensors_bytes(one(shape=[True]), 8), "shape that is none"),
        (safetensors_bytes(one(shape=[1] * 17), 8), "shape that is none"),
        (safetensors_bytes(one(offsets=[8, 0]), 8), "data_offsets that are none"),
        (safetensors_bytes(one(offsets=[0, 4]), 4), "which its shape and type do not make"),
        (safetensors_bytes(one(offsets=[4, 12]), 12), "hole or overlap at byte 0"),
        (safetensors_bytes(one(), 7), "the file has 7 after its header"),
        (safetensors_bytes(one(), 9), "the file has 9 after its header"),
    ],
)
def test_what_is_wrong_with_a_safetensors_header_is_said(data: bytes, words: str) -> None:
    with pytest.raises(BadHeader) as refusal:
        read_safetensors(io.BytesIO(data), len(data))
    assert words in str(refusal.value)


NEST = struct.pack("<IQ", 9, 1) * 50 + struct.pack("<IQ", 4, 0)
TENSOR = ("a", (32,), 0, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GG", "first word needs 4 bytes"),
        (b"GGML" + bytes(40), "does not begin with GGUF"),
        (gguf_bytes([], [], 0, version=1), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "9,223,372,036,854,775,808 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**64 - 1) + bytes(100), "keys, more than it can hold"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63) + bytes(100), "at most 65,535 are allowed"),
        (gguf_bytes([("k", 99, b"")], [], 0), "value type 99"),
        (gguf_bytes([("k", 9, NEST)], [], 0), "nested more than 2 lists deep"),
        (gguf_bytes([("k", 9, struct.pack("<IQ", 4, 2**62))], [], 0), "The list 'k' needs"),
        (gguf_bytes([("k", 9, struct.pack("<IQ", 8, 2**62))], [], 0), "has more than 2,000,000 texts"),
        (gguf_bytes([("k", 9, struct.pack("<IQ", 8, 1_999_999))], [], 0), "more than the file can hold"),
        (gguf_bytes([("k", 0, b"\0"), ("k", 0, b"\0")], [], 0), "'k' appears twice"),
        (gguf_bytes([("general.alignment", 4, struct.pack("<I", 3))], [], 0), "power of two"),
        (gguf_bytes([("general.alignment", 8, text_bytes("32"))], [], 0), "power of two"),
        (gguf_bytes([], [("a", (1,) * 5, 0, 0)], 4), "5 dimensions"),
        (gguf_bytes([], [("a", (2**40, 2**40), 0, 0)], 4), "cannot hold"),
        (gguf_bytes([], [("a", (100,), 12, 0)], 400), "a shape that Q4_K cannot hold"),
        (gguf_bytes([], [("a", (32,), 4, 0)], 128), "tensor type 4"),
        (gguf_bytes([], [("a", (32,), 0, 7)], 256), "which 32 does not divide"),
        (gguf_bytes([], [TENSOR, TENSOR], 256), "appears twice"),
        (gguf_bytes([], [TENSOR, ("b", (32,), 0, 64)], 256), "'b' overlaps"),
        (gguf_bytes([], [TENSOR], 127), "ends at byte 128 of the data; the file has 127"),
    ],
)
def test_what_is_wrong_with_a_gguf_header_is_said(data: bytes, words: str) -> None:
    with pytest.raises(BadHeader) as refusal:
        read_gguf(io.BytesIO(data), len(data))
    assert words in str(refusal.value)


@pytest.mark.parametrize("name", READERS)
def test_random_damage_is_read_or_refused_within_bounds(name: str) -> None:
    good, read = READERS[name]
    chance = random.Random(20)
    tracemalloc.start()
    try:
        read_ones = sum(survives(read, damaged(good, chance)) for _ in range(3000))
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
    assert 0 < read_ones < 2000


@pytest.mark.parametrize("name", READERS)
def test_every_cut_of_a_file_is_refused(name: str) -> None:
    good, read = READERS[name]
    assert survives(read, good)
    assert not any(survives(read, good[:length]) for length in range(len(good)))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"{" * 100_000, "config.json is not JSON"),
        (b'{"a": 1', "config.json is not JSON"),
        (b" " * 10_000_001, "at most 10,000,000 are read"),
    ],
)
def test_a_config_that_is_none_is_refused(config: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(BadHeader, match=words):
        model_facts(tmp_path, visible_files(tmp_path))


def test_a_config_that_lies_leaves_its_facts_out(tmp_path: Path) -> None:
    config = {
        "architectures": "LlamaForCausalLM", "text_config": [1], "quantization_config": "awq", "hidden_size": "wide",
        "num_attention_heads": 0, "max_position_embeddings": 2**70, "vocab_size": True, "num_hidden_layers": 4,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = model_facts(tmp_path, visible_files(tmp_path))
    assert facts["layers"] == 4
    assert not {"architecture", "hidden_size", "attention_heads", "context_length", "vocab_size"} & facts.keys()


@pytest.mark.parametrize("name", [5, ["x"], {"a": 1}, True])
def test_names_that_are_no_text_are_left_out(name: Any, tmp_path: Path) -> None:
    config = {"architectures": [name], "model_type": name, "dtype": name, "quantization_config": {"quant_method": name}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = model_facts(tmp_path, visible_files(tmp_path))
    assert not {"architecture", "model_type", "dtype"} & facts.keys()
    assert facts["quantisation"] == "none"


@pytest.mark.parametrize(
    ("kind", "packed"),
    [(9, struct.pack("<IQ2I", 4, 2, 15, 15)), (8, text_bytes("15")), (6, struct.pack("<f", 15)), (7, b"\x01")],
    ids=["list", "text", "float", "flag"],
)
def test_a_mix_that_is_no_number_is_none(kind: int, packed: bytes) -> None:
    data = gguf_bytes([("general.file_type", kind, packed)], [], 0)
    assert read_gguf(io.BytesIO(data), len(data)).file_type == ""


@pytest.mark.parametrize("length", [-(2**40), -1, 0, 2**31, 2**62])
def test_a_gguf_dimension_that_can_be_none_is_left_out(length: int) -> None:
    keys = ("block_count", "context_length", "vocab_size", "attention.head_count_kv")
    numbers = [(f"llama.{key}", 11, struct.pack("<q", length)) for key in keys]
    data = gguf_bytes([("general.architecture", 8, text_bytes("llama")), *numbers], [], 0)
    config = config_from_gguf(read_gguf(io.BytesIO(data), len(data)))
    assert config.keys() <= {"model_type", "tie_word_embeddings"}
