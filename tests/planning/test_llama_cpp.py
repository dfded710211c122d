"""llama.cpp: caches as its loader prints them, layers that fit, and what more memory may never do."""

from __future__ import annotations

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.gguf import gguf_file_bytes
from apps.planning.llama_cpp import cache_bytes, cache_value_bytes, layers_that_fit, llama_cpp_fit
from apps.planning.reference import reference_model
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape

GIB = 2**30


def shape_of(name: str) -> ModelShape:
    return shape_from_config(reference_model(name).config)


@pytest.mark.parametrize(
    ("model", "context", "mib"),
    [
        ("Qwen2.5-3B-Instruct", 4096, 144.0),  # SciSharp/LLamaSharp #1099
        ("Mixtral-8x7B-Instruct-v0.1", 512, 64.0),  # ggml-org/llama.cpp #5137
        ("c4ai-command-r-v01", 4096, 5120.0),  # ggml-org/llama.cpp #6122
        ("Llama-3.1-8B", 128 * 1024, 16 * 1024.0),  # huggingface/blog #2345
    ],
)
def test_caches_as_the_loader_prints_them(model: str, context: int, mib: float) -> None:
    assert cache_bytes(shape_of(model), context, cache_value_bytes("f16")) / 2**20 == mib


def test_layers_with_a_window_stop_growing() -> None:
    shape = shape_of("gemma-3-12b-it")
    grown = cache_bytes(shape, 32_768, 2.0) / cache_bytes(shape, 16_384, 2.0)
    assert 1.0 < grown < 2.0
    assert cache_bytes(shape, 32_768, cache_value_bytes("q8_0")) < 0.54 * cache_bytes(shape, 32_768, 2.0)


def test_an_unknown_cache_type_names_those_there_are() -> None:
    with pytest.raises(CannotEstimate, match="q8_0, q5_1"):
        cache_value_bytes("q3_k")


def test_more_memory_takes_more_layers_and_all_of_them_in_the_end() -> None:
    shape = shape_of("Llama-3.3-70B")
    size = gguf_file_bytes(shape, "Q4_K_M").middle
    plan = ServingPlan(shape, max_model_len=4096)
    taken = [layers_that_fit(plan, Memory("gpu", gib * GIB), size) for gib in range(2, 64, 4)]
    assert taken == sorted(taken)
    assert taken[0] < 3
    assert taken[-1] == shape.layers
    fits = [llama_cpp_fit(plan, Memory("gpu", gib * GIB), size).fits for gib in range(2, 64, 4)]
    assert [each == shape.layers for each in taken] == fits


def test_a_longer_context_or_a_wider_cache_never_fits_better() -> None:
    shape = shape_of("Qwen3-8B")
    size = gguf_file_bytes(shape, "Q4_K_M").middle
    memory = Memory("gpu", 12 * GIB)
    spare = {
        (kind, context): llama_cpp_fit(
            ServingPlan(shape, max_model_len=context, kv_cache_dtype=kind), memory, size
        ).spare_fraction
        for kind in ("q4_0", "q8_0", "f16")
        for context in (4096, 32_768)
    }
    assert spare["q4_0", 4096] > spare["q4_0", 32_768]
    assert spare["q4_0", 4096] > spare["q8_0", 4096] > spare["f16", 4096]
