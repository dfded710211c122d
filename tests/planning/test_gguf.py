"""GGUF sizes: names in free text, tensor rules, and what holds for every quantisation."""

from __future__ import annotations

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.gguf import QUANTISATIONS, TYPE_BITS, gguf_file_bytes, quantisation_name
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate, ModelShape
from bench.planner_parts.gguf import published_errors

LADDER = ["IQ1_S", "IQ2_XXS", "IQ2_M", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]


def shape_of(name: str) -> ModelShape:
    return shape_from_config(reference_model(name).config)


@pytest.mark.parametrize(
    ("text", "name", "own_mix"),
    [("q4_k_m", "Q4_K_M", False), ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M", False), ("UD-Q4_K_XL", "Q4_K_M", True),
     ("iq4-xs", "IQ4_XS", False), ("mxfp4", "MXFP4_MOE", False), ("Q8", "Q8_0", False), ("fp16", "F16", False),
     ("UD-IQ2_XXS", "IQ2_XXS", True)],
)  # fmt: skip
def test_names_in_free_text(text: str, name: str, own_mix: bool) -> None:
    assert quantisation_name(text) == (name, own_mix)


def test_an_unknown_name_says_what_is_near() -> None:
    with pytest.raises(CannotEstimate, match="Did you mean Q4_K_S"):
        quantisation_name("Q4_K_Z")


@pytest.mark.parametrize("model", ["Llama-3.1-8B", "Qwen2.5-72B", "Qwen3-30B-A3B", "gemma-3-4b-it", "DeepSeek-V2-Lite"])
def test_more_bits_make_a_larger_file(model: str) -> None:
    sizes = [gguf_file_bytes(shape_of(model), each).middle for each in [*LADDER, "F16"]]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_every_file_has_a_range_around_its_size(quantisation: str) -> None:
    size = gguf_file_bytes(shape_of("Llama-3.1-8B"), quantisation)
    assert 0 < size.low < size.middle < size.high
    assert min(TYPE_BITS.values()) < size.bits_per_weight <= 32


def test_a_makers_own_mix_is_known_less_well() -> None:
    shape = shape_of("Qwen3-8B")
    plain, own = gguf_file_bytes(shape, "Q4_K_M"), gguf_file_bytes(shape, "UD-Q4_K_XL")
    assert (plain.confidence, own.confidence) == ("high", "low")
    assert own.high - own.low > 5 * (plain.high - plain.low)


def test_experts_that_were_released_in_mxfp4_stay_so() -> None:
    """Whatever the label, a file of gpt-oss is about as large."""
    sizes = [gguf_file_bytes(shape_of("gpt-oss-20b"), each).middle for each in ("Q2_K", "Q4_K_M", "Q8_0", "F16")]
    assert sizes == sorted(sizes)
    assert sizes[-1] < 1.25 * sizes[0]


def test_a_layer_that_guesses_ahead_is_in_the_file() -> None:
    """GLM-4.5-Air: 47 blocks of 46 layers, with an embedding and a head more; its low estimate is without."""
    shape = shape_of("GLM-4.5-Air")
    size = gguf_file_bytes(shape, "Q8_0")
    assert size.middle > 1.03 * shape.parameters * 8.5 / 8
    assert size.low < shape.parameters * 8.5 / 8


def test_published_files() -> None:
    """Each record of the bench, loader logs and file lists; some cards round a size to one digit."""
    errors = published_errors()
    assert len(errors) > 95
    assert {name: error for name, error in errors.items() if abs(error) > 0.035} == {}
