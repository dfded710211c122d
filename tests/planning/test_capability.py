"""What a GPU's generation can do with a precision, and estimates that are doubtful for it or for their files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apps.planning import fit_lines
from apps.planning.capability import Runs, capability
from apps.planning.changes import smallest_change
from apps.planning.configs import shape_from_config
from apps.planning.gpu_memory import read_gpu
from apps.planning.gpu_types import GPU_TYPES, gpu_type_of
from apps.planning.model_choice import recommend_models
from apps.planning.reference import reference_model
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import CannotEstimate

ASKED = {"model_id": "Llama-3.1-8B-Instruct", "gpu": "H100 80GB", "max_model_len": 4096}


@pytest.mark.parametrize(
    ("gpu", "precision", "cache", "runs"),
    [
        ("V100 32GB", "int4-awq", "auto", "does not run"),
        ("V100 32GB", "int4-gptq", "auto", "runs"),
        ("V100 32GB", "bf16", "auto", "does not run"),
        ("V100 32GB", "fp16", "auto", "runs"),
        ("T4", "bf16", "auto", "does not run"),
        ("T4", "int4-awq", "auto", "runs"),
        ("T4", "fp8", "auto", "weights only"),
        ("T4", "mxfp4", "auto", "does not run"),
        ("A100 80GB", "fp8", "auto", "weights only"),
        ("A100 80GB", "nvfp4", "auto", "weights only"),
        ("A100 80GB", "mxfp4", "auto", "weights only"),
        ("A100 80GB", "bf16", "fp8", "does not run"),
        ("A100 80GB", "bf16", "fp8_e5m2", "runs"),
        ("T4", "fp16", "fp8_e5m2", "does not run"),
        ("H100 80GB", "fp8", "fp8", "runs"),
        ("H100 80GB", "mxfp4", "auto", "runs"),
        ("H100 80GB", "nvfp4", "auto", "weights only"),
        ("B200", "nvfp4", "auto", "runs"),
        ("RTX 5090", "nvfp4", "auto", "runs"),
        ("RTX 4090 Laptop", "fp8", "auto", "runs"),
        ("P40", "fp16", "auto", "does not run"),
        ("MI300X", "fp8", "auto", "unknown"),
    ],
)
def test_a_generation_runs_what_its_sources_say(gpu: str, precision: str, cache: str, runs: Runs) -> None:
    found = capability(read_gpu(gpu).kind, precision, kv_cache_dtype=cache)
    assert found.runs == runs
    assert bool(found.why) == (runs in ("weights only", "does not run"))


def test_other_engines_are_not_judged_by_vllms_rules() -> None:
    volta = gpu_type_of("V100 32GB")
    assert capability(volta, "int4-awq", "sglang").runs == "unknown"
    assert capability(volta, "bf16", "llama.cpp").runs == "runs"


def test_every_nvidia_type_has_a_generation() -> None:
    for row in GPU_TYPES:
        assert (capability(row, "fp16").runs == "unknown") == ("AMD" in row.source), row.key


def test_a_fit_says_what_the_gpu_cannot_do() -> None:
    awq = fit_lines.answer_line({**ASKED, "gpu": "V100 32GB", "precision": "awq int4"})
    assert awq["confidence"] == "low"
    assert awq["explanation"].startswith("vLLM does not run int4-awq on V100")
    assert (awq["fits"], awq["verdict"], awq["reason"], awq["decode_tokens_per_s"]) == (False, "too_big", None, None)
    assert awq["smallest_change"] == "load it as fp16"
    cache = fit_lines.answer_line({**ASKED, "gpu": "A100 40GB", "kv_cache_dtype": "fp8"})
    assert (cache["fits"], cache["confidence"]) == (True, "low")  # older versions kept it by software
    assert "keeps no fp8 KV cache" in cache["explanation"]
    shape = shape_from_config(reference_model("Llama-3.1-8B-Instruct").config)
    plan = ServingPlan(shape, kv_cache_dtype="fp8", max_model_len=4096)
    change = smallest_change(plan, Memory("gpu", 40 * 10**9), gpu=gpu_type_of("A100 40GB"))
    assert change is not None
    assert change.words == "leave kv_cache_dtype at auto"
    fp8 = fit_lines.answer_line({**ASKED, "gpu": "A100 80GB", "precision": "fp8"})
    assert (fp8["confidence"], fp8["fits"]) == ("high", True)
    assert any("weights only" in note for note in fp8["notes"])
    assert fit_lines.answer_line(ASKED)["notes"] == []


def test_16_bits_run_as_the_kind_that_the_gpu_computes_in() -> None:
    """vLLM's dtype auto falls back to fp16 where there is no bf16, as on DeepSeek-R1-Distill-Qwen-7B's V100."""
    for gpu, runs in (("V100 32GB", True), ("P40", False)):
        answer = fit_lines.answer_line({**ASKED, "gpu": gpu, "precision": "bf16"})
        assert (answer["fits"], answer["confidence"]) == (runs, "low")
        assert "does not run" in answer["explanation"]


@pytest.mark.parametrize(("gpu", "precision"), [("RX 7900 XTX", "nvfp4"), ("MI100", "fp8"), ("H100 80GB", "hqq int4")])
def test_what_no_source_says_is_never_sure(gpu: str, precision: str) -> None:
    answer = fit_lines.answer_line({**ASKED, "gpu": gpu, "precision": precision})
    assert (answer["fits"], answer["confidence"]) == (True, "medium")
    assert answer["notes"][-1].startswith("Whether vLLM runs")
    assert fit_lines.answer_line({**ASKED, "gpu": "MI300X"})["notes"] == []


def test_the_smallest_change_is_one_that_the_gpu_runs() -> None:
    long = {"model_id": "Qwen3-32B", "max_model_len": 32_768}
    volta = fit_lines.answer_line({**long, "gpu": "V100 32GB"})
    assert (volta["fits"], volta["smallest_change"]) == (False, "load it as int4-gptq")
    ampere = fit_lines.answer_line({**ASKED, "gpu": "A100 MIG 3g.20gb", "max_model_len": 60_000})
    assert "fp8" not in ampere["smallest_change"]


@pytest.mark.parametrize("gpu", ["V100 32GB", "T4", "P40", "A100 40GB"])
def test_recommended_models_run_on_the_gpu(gpu: str) -> None:
    found = recommend_models([replace(read_gpu(gpu), count=8)]).choices
    assert bool(found) == (gpu != "P40")
    for each in found:
        assert capability(read_gpu(gpu).kind, each.precision).runs in ("runs", "weights only")


def test_a_gpu_of_two_sizes_is_named_in_the_answer() -> None:
    open_question = fit_lines.answer_line({**ASKED, "gpu": "A100"})
    assert (open_question["confidence"], "40 or 80 GB" in open_question["notes"][-1]) == ("medium", True)
    with pytest.raises(CannotEstimate, match="write the count in gpus"):
        fit_lines.answer_line({**ASKED, "gpu": "8xH100", "gpus": 2})


@pytest.mark.parametrize("size", [1, 10**13, 10**9])
def test_files_of_an_absurd_size_are_refused(size: int) -> None:
    with pytest.raises(CannotEstimate, match=r"weights_bytes is .* comes to 15\.0 GiB"):
        fit_lines.answer_line({**ASKED, "weights_bytes": size})


@pytest.mark.parametrize(
    ("change", "confidence"),
    [
        ({"weights_bytes": 16 * 10**9}, "high"),
        ({"weights_bytes": 40 * 10**9}, "low"),
        ({"weights_bytes": 6 * 10**9}, "low"),
        ({"weights_bytes": 6 * 10**9, "precision": "awq int4"}, "high"),
        ({"weights_bytes": 3 * 10**9, "precision": "aqlm"}, "low"),
    ],
)
def test_files_far_from_what_the_shape_says_are_doubted(change: dict[str, Any], confidence: str) -> None:
    assert fit_lines.answer_line({**ASKED, **change})["confidence"] == confidence


def test_a_small_gguf_file_is_not_doubted() -> None:
    answer = fit_lines.answer_line({**ASKED, "precision": "Q2_K", "weights_bytes": 3_179_000_000})
    assert not any("weights_bytes" in note for note in answer["notes"])
