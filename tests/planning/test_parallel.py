"""How heads divide over GPUs, as vLLM's layers do it."""

from __future__ import annotations

import pytest

from apps.planning.changes import smallest_change
from apps.planning.configs import shape_from_config
from apps.planning.fit_lines import answer_line
from apps.planning.parallel import check_parallel, split_over, tensor_problem
from apps.planning.reference import reference_model
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import CannotEstimate, ModelShape

GIB = 2**30


def shape_of(name: str) -> ModelShape:
    return shape_from_config(reference_model(name).config)


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ("microsoft/phi-4", [1, 2, 5, 10, 20, 40]),  # 40 heads, 10 of keys and values
        ("Llama-3.1-8B", [1, 2, 4, 8, 16, 32]),  # 32 and 8: a head is copied from 16 on
        ("Qwen2.5-7B-Instruct", [1, 2, 4, 28]),  # 28 and 4: 7 GPUs would each need another part of a head
        ("deepseek-ai/DeepSeek-V3", [1, 2, 4, 8, 16, 32, 64, 128]),  # the latent vector is copied
    ],
)
def test_heads_are_dealt_out_or_copied_evenly(model: str, allowed: list[int]) -> None:
    shape = shape_of(model)
    assert [size for size in range(1, 129) if not tensor_problem(shape, size)] == allowed


def test_what_does_not_divide_says_what_would() -> None:
    with pytest.raises(CannotEstimate, match="4 does not divide the 10 key and value heads; use one of 1, 2, 5, and"):
        check_parallel(shape_of("microsoft/phi-4"), 4, 1)
    with pytest.raises(CannotEstimate, match="7 is no multiple of the 4 key and value heads"):
        check_parallel(shape_of("Qwen2.5-7B-Instruct"), 7, 1)


@pytest.mark.parametrize(
    ("gpus", "split"), [(1, (1, 1)), (2, (2, 1)), (3, (1, 3)), (4, (2, 2)), (8, (2, 4)), (10, (10, 1))]
)
def test_a_number_of_gpus_is_split_as_the_heads_allow(gpus: int, split: tuple[int, int]) -> None:
    assert split_over(shape_of("microsoft/phi-4"), gpus) == split


def test_gpus_alone_are_answered_and_a_wrong_split_is_refused() -> None:
    asked = {"model_id": "microsoft/phi-4", "gpu": "RTX 4090", "max_model_len": 8192}
    answer = answer_line({**asked, "gpus": 4})
    assert (answer["tensor_parallel"], answer["pipeline_parallel"], answer["fits"]) == (2, 2, True)
    for wrong in (4, 8):
        with pytest.raises(CannotEstimate, match="10 key and value heads"):
            answer_line({**asked, "tensor_parallel": wrong})


def test_more_stages_than_layers_are_refused() -> None:
    with pytest.raises(CannotEstimate, match="from 1 to the 40 layers"):
        split_over(shape_of("microsoft/phi-4"), 41)


def test_the_change_to_more_gpus_is_one_that_starts() -> None:
    plan = ServingPlan(shape_of("microsoft/phi-4"), precision="int4-awq", max_model_len=16_384)
    change = smallest_change(plan, Memory("gpu", 7 * GIB), most_gpus=8)
    assert change is not None
    assert change.words == "use 4 GPUs (tensor_parallel 2, pipeline_parallel 2)"
    assert dict(change.options) == {"tensor_parallel": 2, "pipeline_parallel": 2}


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("Qwen/Qwen3-235B-A22B-FP8", 4),  # 1,536 / 8 = 192: vllm-project/vllm #17569
        ("MiniMaxAI/MiniMax-M2", 4),  # #48173
        ("Qwen/Qwen3-30B-A3B-FP8", 2),  # 768 / 4 = 192: #25292
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", 4),
        ("Qwen/Qwen3-4B-FP8", 4),  # a dense layer of 9,728
        ("deepseek-ai/DeepSeek-V3", 8),
        ("Qwen/Qwen3-32B-FP8", 8),
    ],
)
def test_fp8_blocks_are_not_cut(model: str, most: int) -> None:
    asked = {"model_id": model, "gpu": "H200", "gpus": 8, "max_model_len": 4096}
    answer = answer_line(asked)
    assert (answer["tensor_parallel"], answer["pipeline_parallel"]) == (most, 8 // most)
    assert any("no multiple of the FP8 block of 128" in note for note in answer["notes"]) == (most < 8)
    if most < 8:
        with pytest.raises(CannotEstimate, match=f"no multiple of the FP8 block of 128; use one of .*{most}, and"):
            answer_line({**asked, "tensor_parallel": 8})


def test_experts_that_are_dealt_out_whole_are_not_cut() -> None:
    """Qwen's and MiniMax's own recipes for eight GPUs turn expert parallel on."""
    asked = {"model_id": "Qwen/Qwen3-235B-A22B-FP8", "gpu": "H100", "gpus": 8, "max_model_len": 4096}
    with pytest.raises(CannotEstimate, match="192 of the 1,536 columns of its experts without enable_expert_parallel"):
        answer_line({**asked, "tensor_parallel": 8})
    for said in ({"enable_expert_parallel": True}, {"precision": "fp8 (TP8+EP)"}):
        assert answer_line(asked | said)["tensor_parallel"] == 8


def test_16_bits_and_scales_of_rows_may_be_cut_anywhere() -> None:
    for model, precision in (("Qwen/Qwen3-30B-A3B", "bf16"), ("RedHatAI/Qwen3-30B-A3B-FP8-dynamic", "")):
        answer = answer_line({"model_id": model, "precision": precision, "gpu": "H200", "gpus": 4})
        assert answer["tensor_parallel"] == 4
