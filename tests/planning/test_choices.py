"""Which model, which engine: only what can, the best first, and why the others are not there."""

from __future__ import annotations

import pytest

from apps.planning.engine_choice import Requirements, recommend_engines
from apps.planning.gpu_memory import NamedGpu, read_gpu
from apps.planning.model_choice import GOOD_ENOUGH, Objective, recommend_models
from apps.planning.reference import reference_model
from apps.planning.reported_scores import comparable_score, reported_scores
from apps.planning.stack_map import stack_map

OBJECTIVES: tuple[Objective, ...] = ("quality", "speed", "context")
GGUF = {"model_format": "gguf", "precision": "Q4_K_M"}


def engines(asked: Requirements) -> list[str]:
    return [each.engine.name for each in recommend_engines(asked) if not each.refusals]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_choice_fits_and_is_in_order(objective: Objective) -> None:
    found = recommend_models([read_gpu("2x RTX 4090")], objective=objective).choices
    assert len(found) == 10
    assert all(each.fit.verdict == "fits" and each.gpus <= 2 for each in found)
    rank = {
        "quality": [each.score.score for each in found],
        "speed": [each.speed.decode[1] for each in found if each.speed],
        "context": [each.fit.max_context for each in found],
    }[objective]
    assert rank == sorted(rank, reverse=True)


@pytest.mark.parametrize("objective", ["speed", "context"])
def test_the_fastest_is_not_a_toy(objective: Objective) -> None:
    best = recommend_models([read_gpu("H100")], objective="quality", most=1).choices[0].score.score
    for each in recommend_models([read_gpu("H100")], objective=objective).choices:
        assert each.score.score >= GOOD_ENOUGH * best


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_more_memory_never_takes_a_choice_away(objective: Objective) -> None:
    best = []
    for gib in (2, 6, 10, 16, 24, 48, 80, 141):
        found = recommend_models([NamedGpu(f"{gib} GiB", None, gib * 2**30)], objective=objective).choices
        best.append(max((each.score.score for each in found), default=0.0))
    if objective == "quality":
        assert best == sorted(best)
    some = [score > 0 for score in best]
    assert some == sorted(some)
    assert some[-1]


def test_what_is_left_out_has_its_reason() -> None:
    found = recommend_models([read_gpu("RTX 4090")], context=32_768)
    reasons = {each.reason: each.model_ids for each in found.left_out}
    assert "deepseek-ai/DeepSeek-R1" in reasons["does not fit with 32,768 tokens"]
    chosen = {each.model_id for each in found.choices}
    assert not chosen & {name for names in reasons.values() for name in names}
    assert recommend_models([read_gpu("RTX 4090")], context=10**8).choices == ()


def test_scores_are_per_cent_with_a_source() -> None:
    rows = [each for scores in reported_scores().values() for each in scores]
    assert len(rows) > 400
    assert all(0 <= each.score <= 100 and each.source for each in rows)
    assert {each.kind for each in rows} == {"open", "closed"}
    assert {each.benchmark for each in rows} >= {"MMLU", "GSM8K", "HumanEval", "IFEval", "MATH", "MMLU-Pro"}
    score = comparable_score("Qwen/Qwen3-32B", "MMLU-Pro")
    assert score
    assert not score.self_reported
    assert comparable_score(reference_model("Qwen3-32B").model_id, "no such test") is None


@pytest.mark.parametrize(
    "asked",
    [Requirements(), Requirements(precision="nf4"), Requirements(hardware="amd"), Requirements(needs_lora=True)],
)
def test_archived_engines_are_refused_whatever_is_asked(asked: Requirements) -> None:
    assert "tgi" not in engines(asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Requirements(), ["vllm", "sglang", "transformers"]),
        (Requirements(hardware="mac", **GGUF), ["llama.cpp", "ollama"]),
        (Requirements(**GGUF), ["llama.cpp", "ollama", "vllm", "sglang"]),
        (Requirements(hardware="amd", **GGUF), ["llama.cpp", "ollama", "vllm"]),
        (Requirements(hardware="amd", precision="awq"), ["sglang", "transformers"]),
        (Requirements(hardware="cpu", precision="fp8", needs_structured_output=True), ["sglang"]),
        (Requirements(needs_multi_node=True, precision="nvfp4"), ["vllm", "sglang"]),
    ],
)
def test_engines_by_what_is_asked(asked: Requirements, expected: list[str]) -> None:
    assert engines(asked) == expected


def test_a_refusal_says_what_is_missing() -> None:
    refused = {each.engine.name: each.refusals for each in recommend_engines(Requirements("amd", precision="awq"))}
    assert refused["vllm"] == ("does not load int4-awq weights on amd",)
    assert refused["llama.cpp"] == ("does not load safetensors files", "does not load int4-awq weights")


def test_the_map_names_every_system_once_with_a_source() -> None:
    known = stack_map()
    systems = [*known.serving_engines, *known.training_tools, *known.other_systems]
    rows = [*systems, *known.benchmarks, *known.quantisations]
    assert all(each.source for each in rows)
    names = [each.name for each in rows]
    assert len(names) == len(set(names))
    assert {each.name for each in systems} == {
        "vllm", "sglang", "tgi", "transformers", "ollama", "llama.cpp", "unsloth", "axolotl", "torchtune",
        "llama-factory", "hub", "safetensors", "gguf", "lm-eval", "open-llm-leaderboard", "chatbot-arena",
    }  # fmt: skip
    archived = [each for each in systems if each.status == "archived"]
    assert {each.name for each in archived} == {"tgi", "torchtune", "open-llm-leaderboard"}
    assert all(each.status_note for each in archived)


def test_fewer_bits_decode_faster_in_the_table() -> None:
    speeds = {each.name: each.speed for each in stack_map().quantisations if each.speed}
    assert 1 < speeds["Q8_0"] < speeds["Q6_K"] < speeds["Q5_K_M"] < speeds["Q4_K_M"]
