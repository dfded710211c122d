"""Questions about GGUF files: what a name means, who loads it, and what makes a large one fit."""

from __future__ import annotations

from typing import Any

import pytest

from apps.planning.fit_lines import answer_line
from apps.planning.gguf import gguf_file_bytes, quantisation_name
from apps.planning.gguf_choice import named_file
from apps.planning.line_fields import model_of
from apps.planning.llama_cpp import cache_bytes
from apps.planning.shapes import CannotEstimate


def answer(**asked: Any) -> dict[str, Any]:
    return answer_line({"model_id": "Qwen/Qwen3-8B", "gpu": "RTX 4090", "max_model_len": 4096, **asked})


@pytest.mark.parametrize(
    ("model_id", "name", "quantisation", "is_file"),
    [
        ("Qwen/Qwen3-8B-GGUF", "Qwen/Qwen3-8B", "", True),
        ("Qwen/Qwen3-8B-GGUF:Q8_0", "Qwen/Qwen3-8B", "Q8_0", True),
        ("Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B", "Q4_K_M", True),
        ("x/Qwen3-8B-UD-Q4_K_XL-GGUF", "x/Qwen3-8B", "UD-Q4_K_XL", True),
        ("Qwen3-8B.IQ4_XS", "Qwen3-8B", "IQ4_XS", True),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "", False),
        ("Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B-FP8", "", False),
    ],
)
def test_a_models_name_may_name_the_file(model_id: str, name: str, quantisation: str, is_file: bool) -> None:
    assert named_file(model_id) == (name, quantisation, is_file)


def test_a_gguf_repository_without_a_quantisation_is_not_bf16() -> None:
    """Qwen/Qwen3-8B-GGUF: its Q4_K_M file has 5,027,783,488 bytes."""
    assumed = answer(model_id="Qwen/Qwen3-8B-GGUF")
    assert assumed["weights_file_gib"] == pytest.approx(5_027_783_488 / 2**30, rel=0.005)
    assert "Q4_K_M is taken" in assumed["notes"][-1]
    assert assumed["formula_version"].startswith("llama-cpp")
    assert answer(precision="GGUF") == assumed
    named = answer(model_id="Qwen/Qwen3-8B-GGUF:Q8_0")
    assert named == answer(precision="Q8_0")
    assert named["notes"] == []
    assert answer(model_id="unsloth/Qwen3-8B-BF16.gguf")["weights_file_gib"] == pytest.approx(15.26, abs=0.02)


@pytest.mark.parametrize("asked", [{"precision": "awq int4"}, {"precision": "fp8"}, {"model_id": "Qwen/Qwen3-8B-AWQ"}])
def test_llama_cpp_loads_nothing_but_gguf(asked: dict[str, str]) -> None:
    with pytest.raises(CannotEstimate, match=r"llama\.cpp loads GGUF files; use one of theirs such as Q4_K_M"):
        answer(engine="llama.cpp", **asked)


def test_llama_cpp_without_a_precision_takes_the_usual_file() -> None:
    assert "Q4_K_M is taken" in answer(engine="ollama")["notes"][-1]
    assert (
        answer(engine="llama.cpp", precision="8bit")["weights_file_gib"] == answer(precision="Q8_0")["weights_file_gib"]
    )
    assert answer(model_id="openai/gpt-oss-20b", engine="llama.cpp")["notes"] == []  # released in MXFP4


def test_other_engines_read_gguf_with_a_note_and_their_own_rules() -> None:
    ours, theirs, wide = (answer(precision="Q4_K_M", engine=each) for each in ("llama.cpp", "vllm", "transformers"))
    assert (theirs["confidence"], theirs["formula_version"][:4]) == ("low", "vllm")
    assert "on trial only" in theirs["notes"][-1]
    assert theirs["weights_gib_per_gpu"] == pytest.approx(ours["weights_file_gib"], rel=0.001)
    assert theirs["weights_file_gib"] == ours["weights_file_gib"]
    assert wide["weights_gib_per_gpu"] > 3 * ours["weights_gib_per_gpu"]
    assert "widens" in wide["notes"][-1]
    big = answer(model_id="Llama-3.3-70B", precision="Q4_K_M", engine="vllm")
    assert big["smallest_change"].startswith("use ")


@pytest.mark.parametrize(
    ("text", "name"), [("Q4_K_L", "Q4_K_M"), ("Q6_K_L", "Q6_K"), ("UD-Q8_K_XL", "Q8_0"), ("Q2_K_L", "Q2_K")]
)
def test_mixes_that_makers_name(text: str, name: str) -> None:
    assert quantisation_name(text) == (name, True)
    assert quantisation_name("Q3_K_L") == ("Q3_K_L", False)


def test_a_makers_own_mix_is_a_range_with_low_confidence() -> None:
    own, plain = (answer(model_id="Qwen3-30B-A3B", precision=each) for each in ("UD-IQ2_XXS", "IQ2_XXS"))
    assert (own["confidence"], "maker's own mix" in own["notes"][-1]) == ("low", True)
    assert own["weights_file_gib_high"] > 1.3 * own["weights_file_gib"]
    assert plain["weights_file_gib_low"] < plain["weights_file_gib"] < plain["weights_file_gib_high"]
    exact = answer(model_id="Qwen3-30B-A3B", precision="UD-IQ2_XXS", weights_bytes=10**10)
    assert exact["weights_file_gib_low"] == exact["weights_file_gib_high"] == pytest.approx(10**10 / 2**30, abs=0.001)
    assert exact["notes"] == []


EIGHT = {"model_id": "Llama-3.1-8B", "precision": "Q8_0", "gpu_memory_gib": 8.45, "max_model_len": 2048}


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        ({"precision": "Q8_0", "gpu": "RTX 3060", "max_model_len": 40_960}, "set the context to 24,576 tokens"),
        (EIGHT, "keep the KV cache in q8_0"),
        ({"model_id": "Qwen3-32B", "precision": "Q8_0"}, "take Q5_K_M, a file of 21.6 GiB"),
        ({"model_id": "Llama-3.3-70B", "precision": "Q3_K_M"}, "use 2 GPUs"),
        ({"model_id": "Llama-3.1-405B", "precision": "Q4_K_M", "gpu": "RTX 3060"}, "keep 5 of 126 layers on the GPU"),
    ],
)
def test_a_file_that_is_too_big_has_a_smallest_change(asked: dict[str, Any], change: str) -> None:
    found = answer(**asked)
    assert not found["fits"]
    assert found["smallest_change"].startswith(change)


def test_tokens_grow_only_in_layers_without_a_window() -> None:
    """Gemma 3 27B: 10 of 62 layers see everything, so far more tokens fit than bytes a token say."""
    asked = {"model_id": "google/gemma-3-27b-it", "precision": "Q4_K_M", "max_model_len": 8192}
    shape, _, _ = model_of(asked)
    found = answer(**asked)
    room = found["kv_available_gib_per_gpu"] * 2**30
    assert found["kv_tokens"] > 2 * room / found["kv_bytes_per_token_per_gpu"]
    assert (
        cache_bytes(shape, found["kv_tokens"], 2.0) <= room * 1.0001 < cache_bytes(shape, found["kv_tokens"] + 64, 2.0)
    )
    assert found["max_model_len_possible"] == found["kv_tokens"] < 131_072


def test_words_in_brackets_do_not_make_a_file() -> None:
    plain = answer(model_id="openai/gpt-oss-20b", precision="mxfp4")
    assert answer(model_id="openai/gpt-oss-20b", precision="mxfp4 (Marlin)") == plain
    assert plain["weights_file_gib"] is None


def test_a_file_is_sized_as_its_quantisation_says() -> None:
    shape, _, _ = model_of({"model_id": "Qwen/Qwen3-8B"})
    assert answer(precision="Q5_K_M")["weights_file_gib"] == round(gguf_file_bytes(shape, "Q5_K_M").middle / 2**30, 4)
