"""The planner against published totals and vLLM's own start-up figures (data/, with sources)."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.kv_cache import kv_layout
from apps.planning.memory import kv_bytes_per_token, kv_value_bytes, serving_fit
from apps.planning.overhead import parse_version
from apps.planning.reference import reference_model
from apps.planning.serving_plan import FitEstimate, Memory, ServingPlan
from apps.planning.shapes import CannotEstimate
from apps.planning.weights import weights_bytes, weights_on_gpu

GIB = 2**30
DATA = Path(__file__).parent / "data"
MODELS: list[dict[str, Any]] = json.loads((DATA / "models.json").read_text())
STARTS: list[dict[str, Any]] = json.loads((DATA / "vllm_starts.json").read_text())
SHAPES = {row["model"]: shape_from_config(row["config"]) for row in MODELS}
LLAMA = SHAPES["meta-llama/Llama-3.1-8B-Instruct"]
SMOL = SHAPES["HuggingFaceTB/SmolLM2-135M-Instruct"]


def report(what: str, errors: list[float]) -> tuple[float, float]:
    """Print and return median and worst absolute relative error."""
    sizes = sorted(abs(error) for error in errors)
    print(f"{what}: n {len(sizes)}, median {median(sizes):.3%}, worst {sizes[-1]:.3%}")  # noqa: T201 - pytest -s
    return median(sizes), sizes[-1]


def per_token(row: dict[str, Any]) -> int:
    return kv_bytes_per_token(
        SHAPES[row["model"]], precision=row["precision"], tensor_parallel=row.get("tensor_parallel", 1)
    )


def test_parameter_counts_equal_the_published_totals() -> None:
    dense = [row for row in MODELS if row.get("parameters")]
    assert len(dense) >= 30
    assert [SHAPES[row["model"]].parameters for row in dense] == [row["parameters"] for row in dense]


def weight_errors(*, plain: bool) -> list[float]:
    errors = []
    for row in STARTS:
        if "weights_gib_per_gpu" in row and (row["precision"] in ("bf16", "fp16")) == plain:
            guess = weights_on_gpu(
                SHAPES[row["model"]],
                precision=row["precision"],
                tensor_parallel=row["tensor_parallel"],
                pipeline_parallel=row["pipeline_parallel"],
                version=parse_version(row["vllm_version"]) or (99, 0),
            )
            errors.append(guess / GIB / row["weights_gib_per_gpu"] - 1)
    return errors


def test_weights_from_the_shape_against_loaded_bytes() -> None:
    middle, worst = report("weights bf16/fp16", weight_errors(plain=True))
    assert middle <= 0.001
    assert worst <= 0.01  # the smallest model's figure is printed with three digits
    middle, worst = report("weights quantised", weight_errors(plain=False))
    assert middle <= 0.01
    assert worst <= 0.05  # a 4-bit upload that left some layers in 16 bits


def test_kv_tokens_from_available_memory() -> None:
    errors = []
    for row in STARTS:
        if row.get("kv_tokens") and "kv_available_gib_per_gpu" in row:
            cache = round(row["kv_available_gib_per_gpu"] * GIB)
            layout = kv_layout(
                SHAPES[row["model"]],
                value_bytes=4 if row["precision"] == "fp32" else 2,
                tensor_parallel=row.get("tensor_parallel", 1),
                pipeline_parallel=row["pipeline_parallel"],
            )
            errors.append(layout.tokens(cache, row.get("max_model_len", 4096)) / row["kv_tokens"] - 1)
    middle, worst = report("KV tokens", errors)
    assert len(errors) >= 14
    assert middle <= 0.001
    assert worst <= 0.012


def test_one_context_needs_what_vllm_says_it_needs() -> None:
    rows = [row for row in STARTS if "kv_needed_gib" in row]
    assert len(rows) == 3
    for row in rows:
        parallel = row.get("tensor_parallel", 1)
        assert row["max_model_len"] * per_token(row) / GIB == pytest.approx(row["kv_needed_gib"], abs=0.005), parallel


def boots() -> list[tuple[dict[str, Any], FitEstimate]]:
    """Every boot of a dense model with known memory, utilisation and result, on a GPU of its own."""
    found = []
    for row in STARTS:
        if {"total_gpu_memory_gib", "kv_available_gib_per_gpu"} <= row.keys() and row["pipeline_parallel"] == 1:
            plan = ServingPlan(
                SHAPES[row["model"]],
                precision=row["precision"],
                max_model_len=row["max_model_len"],
                tensor_parallel=row["tensor_parallel"],
                gpu_memory_utilisation=row["gpu_memory_utilization"],
                enforce_eager=row.get("enforce_eager", False),
                engine_version=row["vllm_version"],
            )
            if "another process" not in row["gpu"]:
                memory = Memory("gpu", round(row["total_gpu_memory_gib"] * GIB), row["gpu"])
                found.append((row, serving_fit(plan, memory)))
    return found


def test_kv_cache_end_to_end() -> None:
    """From the config alone to the KV cache, in GiB; boots that failed had none."""
    off = [fit.kv_cache_bytes / GIB - max(0.0, row["kv_available_gib_per_gpu"]) for row, fit in boots()]
    sizes = sorted(abs(error) for error in off)
    print(f"KV cache end to end: n {len(sizes)}, median {median(sizes):.2f} GiB, worst {sizes[-1]:.2f}")  # noqa: T201 - pytest -s
    assert len(sizes) >= 12
    assert median(sizes) <= 0.2
    assert sizes[-1] <= 0.8


def test_fit_or_not_as_it_happened() -> None:
    assert {row["started"] for row, _ in boots()} == {True, False}
    assert [fit.fits for _, fit in boots()] == [row["started"] for row, _ in boots()]


def test_cpu_as_measured() -> None:
    """vLLM 0.32 on CPU, float32, 1 GiB of KV cache: 23,296 tokens, 11.38 users, about 3.9 GB resident."""
    plan = ServingPlan(SMOL, precision="fp32", max_model_len=2048, kv_space_bytes=GIB)
    fit = serving_fit(plan, Memory("cpu", 8 * GIB))
    assert (fit.verdict, fit.kv_tokens, round(fit.concurrent_users, 2)) == ("fits", 23296, 11.38)
    assert fit.required_bytes == pytest.approx(3.9e9, rel=0.03)
    assert fit.reason == "Room for 11 users with 2,048 tokens each."
    small = serving_fit(plan, Memory("cpu", 3 * GIB))
    assert (small.verdict, small.fits, small.kv_tokens) == ("too_big", False, 0)
    assert small.reason.startswith("Short by 0.6 GiB on RAM")


def test_the_three_verdicts_and_their_reasons() -> None:
    plan = ServingPlan(LLAMA, max_model_len=8192, engine_version="0.32.0")
    roomy = serving_fit(plan, Memory("gpu", 80 * GIB, "H100"))
    assert (roomy.verdict, roomy.confidence) == ("fits", "high")
    assert roomy.kv_cache_bytes_low < roomy.kv_cache_bytes < roomy.kv_cache_bytes_high
    tight = serving_fit(plan, Memory("gpu", round(20.5 * GIB)))
    assert (tight.verdict, tight.fits) == ("tight", True)
    long = ServingPlan(LLAMA, max_model_len=131072, engine_version="0.32.0")
    context = serving_fit(long, Memory("gpu", 24 * GIB))
    assert context.verdict == "too_big"
    assert context.reason == (
        f"131,072 tokens of context do not fit; set max_model_len to {context.max_context:,} or less."
    )
    again = ServingPlan(LLAMA, max_model_len=context.max_context, engine_version="0.32.0")
    assert serving_fit(again, Memory("gpu", 24 * GIB)).fits
    assert "Short by" in serving_fit(plan, Memory("gpu", 12 * GIB)).reason


def test_a_doubtful_fit_is_tight_and_says_low_confidence() -> None:
    """The middle estimate holds one context, the low one does not."""
    plan = ServingPlan(LLAMA, max_model_len=8192, engine_version="0.32.0")
    fit = serving_fit(plan, Memory("gpu", 20 * GIB))
    assert fit.kv_tokens_low < 8192 <= fit.kv_tokens
    assert (fit.verdict, fit.confidence) == ("tight", "low")


def test_weights_from_files_are_exact_and_follow_the_loading_precision() -> None:
    assert weights_bytes(file_bytes=1_000_003, precision="int4-awq") == 1_000_003
    assert weights_bytes(file_bytes=1000, stored_precision="bfloat16", precision="float32") == 2000
    quantised = weights_bytes(shape=LLAMA, file_bytes=16_060_556_376, stored_precision="bf16", precision="fp8")
    assert quantised == weights_bytes(shape=LLAMA, precision="fp8")


def test_kv_bytes_per_token_rules() -> None:
    assert kv_bytes_per_token(LLAMA) == 2 * 32 * 8 * 128 * 2
    assert kv_bytes_per_token(LLAMA, kv_cache_dtype="fp8") == 2 * 32 * 8 * 128
    assert kv_bytes_per_token(LLAMA, tensor_parallel=4) == 2 * 32 * 2 * 128 * 2
    assert kv_bytes_per_token(LLAMA, tensor_parallel=16) == 2 * 32 * 1 * 128 * 2  # a head is copied, not split
    assert kv_bytes_per_token(LLAMA, precision="fp32") == 2 * kv_bytes_per_token(LLAMA, precision="int4-awq")


def config(**changes: Any) -> dict[str, Any]:
    return {**next(row["config"] for row in MODELS if "Llama-3.1-8B" in row["model"]), **changes}


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: shape_from_config(config(hidden_size=None)), "lacks hidden_size"),
        (lambda: shape_from_config(config(hidden_size="large")), "hidden_size = 'large'"),
        (lambda: shape_from_config(config(kv_lora_rank=512)), "lacks qk_rope_head_dim"),
        (lambda: weights_bytes(shape=LLAMA, precision="int5"), "'int5' is not known"),
        (lambda: serving_fit(ServingPlan(LLAMA, tensor_parallel=3), Memory("gpu", 80 * GIB)), "does not divide the 32"),
        (lambda: kv_bytes_per_token(LLAMA, kv_cache_dtype="int4"), "'int4' is not known"),
    ],
)
def test_what_is_not_known_is_refused_by_name(attempt: Any, message: str) -> None:
    with pytest.raises(CannotEstimate, match=message):
        attempt()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.11.0", (0, 11)),
        ("~0.6.4", (0, 6)),
        ("0.18+", (0, 18)),
        ("2026", None),
        ("V1 Jan 2025", (0, 8)),
        ("V1 Jul 2025", (0, 9)),
        ("November 2025", (0, 11)),
        ("Marlin, 2025", (0, 10)),
        ("Dec 2029", None),
        ("Dec 2023 + PR2031", (0, 2)),
        ("", None),
    ],
)
def test_free_text_versions_never_fail(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version
    assert serving_fit(ServingPlan(SMOL, engine_version=text), Memory("gpu", 24 * GIB)).fits


def test_no_more_context_is_promised_than_the_model_has() -> None:
    shape = shape_from_config(reference_model("huggyllama/llama-7b").config)
    fit = serving_fit(ServingPlan(shape, max_model_len=10**9), Memory("gpu", 80 * 10**9))
    assert (fit.fits, fit.max_context) == (False, 2048)
    assert fit.reason == "1,000,000,000 tokens of context do not fit; set max_model_len to 2,048 or less."


@pytest.mark.parametrize("text", ["q8_0", "banana", "awq"])
def test_a_cache_type_that_is_not_known_is_named_by_its_key(text: str) -> None:
    with pytest.raises(CannotEstimate, match=f"^kv_cache_dtype '{text}' is not known; use auto, bf16, fp16 or fp8"):
        kv_value_bytes(text)
