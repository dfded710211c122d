"""Fine-tunes that others measured, and the words in which a question may name its method, tool and optimizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.planning.shapes import CannotEstimate
from apps.planning.train_lines import answer_line, read_line
from apps.planning.training_methods import read_method, read_optimizer
from stackweb.cli import main

GB, GIB = 10**9, 2**30
LLAMA_2 = {"model_id": "meta-llama/Llama-2-7b-hf", "gpu": "A100 80GB"}
MISTRAL = {"model_id": "mistralai/Mistral-7B-v0.1", "gpu": "A100 80GB", "seq_len": 4096, "micro_batch": 4}
_QWEN = {"model_type": "qwen2", "max_position_embeddings": 8192, "tie_word_embeddings": False, "vocab_size": 151_936}
QWEN_1_8B = _QWEN | {
    "num_hidden_layers": 24,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 5504,
}
QWEN_7B = _QWEN | {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
}


def _peak(line: dict[str, Any]) -> dict[str, float]:
    peak: dict[str, float] = answer_line(line)["peak_gib_per_gpu"]
    return peak


def _speed(line: dict[str, Any]) -> float:
    return float(answer_line(line)["tokens_per_s_per_gpu"]["mid"])


@pytest.mark.parametrize(("method", "taken"), [("full", "zero3"), ("lora", "ddp")])
def test_how_several_gpus_share_is_told_where_the_line_does_not_say(method: str, taken: str) -> None:
    line = LLAMA_2 | {"method": method, "engine": "trl", "gpus": 4}
    told, said, single = (
        " ".join(answer_line(each)["notes"]) for each in (line, line | {"sharding": taken}, line | {"gpus": 1})
    )
    assert f"sharding {taken}." in told
    assert "sharding" not in said + single


def test_rows_longer_than_the_context_are_told() -> None:
    note = "seq_len 8,192 is more than the 4,096 tokens that the model is made for"
    assert any(each.startswith(note) for each in answer_line(LLAMA_2 | {"seq_len": 8192})["notes"])
    assert not any(each.startswith("seq_len") for each in answer_line(LLAMA_2 | {"seq_len": 4096})["notes"])


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("precision", "banana", "Precision 'banana' is not known"), ("precision", 7, "Precision '7' is not known"),
        ("weights_bytes", -1, "weights_bytes is '-1'"), ("weights_bytes", "many", "weights_bytes is 'many'"),
    ],
)  # fmt: skip
def test_what_a_line_says_of_its_files_is_checked(key: str, value: Any, says: str) -> None:
    with pytest.raises(CannotEstimate, match=says):
        answer_line(LLAMA_2 | {key: value})


def test_stage_2_of_deepspeed_counts_its_buckets() -> None:
    """LongLoRA, arXiv 2309.12307v2, table 12: Llama 2 7B, 8,192 tokens, 8 A100, the Hugging Face trainer."""
    line = LLAMA_2 | {"method": "lora", "engine": "transformers", "seq_len": 8192, "gpus": 8, "lora_rank": 8}
    peak = _peak(line | {"sharding": "zero2"})
    assert peak["low"] <= 25.7 * GB / GIB <= peak["high"]
    assert _peak(line | {"sharding": "zero1"})["mid"] >= peak["mid"]


@pytest.mark.parametrize("batch", [4, 8])
def test_the_step_of_adamw_makes_one_more_copy_of_the_weights(batch: int) -> None:
    """fms-acceleration, scripts/benchmarks/refs/a100_80gb.csv: 67.46 GiB of tensors at either batch, 10 bytes a
    parameter; 75.45 and 71.28 GiB reserved."""
    line = MISTRAL | {"method": "full", "engine": "trl", "optimizer": "adamw bf16", "micro_batch": batch}
    peak = _peak(line)
    assert peak["low"] <= 67.46
    assert peak["high"] >= 75.45
    assert _peak(line | {"seq_len": 64})["mid"] > 10 * 7.24e9 / GIB
    assert _peak(line | {"seq_len": 64, "optimizer": "adamw_8bit"})["mid"] < 8 * 7.24e9 / GIB


def test_a_base_prepared_by_peft_hands_float32_on() -> None:
    """fms-acceleration, the same file: 4-bit Mistral 7B takes 25.45 GiB as peft prepares it, 19.45 without."""
    line = MISTRAL | {"method": "qlora"}
    prepared, plain = _peak(line | {"engine": "transformers"}), _peak(line | {"engine": "trl"})
    assert prepared["low"] <= 25.45 <= prepared["high"]
    assert plain["low"] <= 19.45 <= plain["high"]
    assert prepared["mid"] > plain["mid"] + 2


def test_sharded_full_training_keeps_float32_beside_16_bits() -> None:
    """QwenLM/Qwen README: 1.8B in full with DeepSpeed on one GPU 43.5 GB; fms-acceleration, a100_80gb_liger.csv:
    Mistral 7B over two GPUs 73.77 GiB, over four 49.9."""
    alone = _peak({"config": QWEN_1_8B, "gpu": "A100 80GB", "method": "full", "seq_len": 512, "sharding": "zero2"})
    assert alone["low"] <= 43.5 * GB / GIB <= alone["high"]
    for gpus, measured in ((2, 73.77), (4, 49.9)):
        peak = _peak(MISTRAL | {"method": "full", "engine": "trl", "gpus": gpus, "optimizer": "adamw_torch"})
        assert peak["low"] <= measured <= peak["high"]


def test_checkpointing_costs_adapters_a_third_of_their_speed() -> None:
    """modelscope/ms-swift, Benchmark.md: Qwen 7B LoRA, 6.19 samples/s without checkpointing and 4.31 with it."""
    line = {"config": QWEN_7B, "gpu": "A100 80GB", "method": "lora"}
    ratio = _speed(line | {"gradient_checkpointing": False}) / _speed(line)
    assert ratio == pytest.approx(6.19 / 4.31, rel=0.06)


def test_short_steps_of_adapters_wait_for_kernels() -> None:
    """QwenLM/Qwen README: 7B LoRA takes 1.2 s for 8 rows of 256 tokens, 5.2 s for 8 rows of 2,048."""
    line = {"config": QWEN_7B, "gpu": "A100 80GB", "method": "lora", "lora_rank": 64}
    for tokens, seconds in ((256, 1.2), (2048, 5.2)):
        assert 8 * tokens / _speed(line | {"seq_len": tokens}) == pytest.approx(seconds, rel=0.25)
    assert _speed(line | {"seq_len": 128}) == pytest.approx(_speed(line | {"seq_len": 256}) / 2, rel=0.01)


@pytest.mark.parametrize(
    ("engine", "tokens", "gb"), [("unsloth", 21_848, 12), ("unsloth", 342_733, 80), ("transformers", 28_454, 80)]
)
def test_the_longest_context_that_fits_fills_the_gpu(engine: str, tokens: int, gb: int) -> None:
    """unsloth.ai docs, Unsloth Benchmarks: Llama 3.1 8B, QLoRA of rank 32, one row a step."""
    line = {"model_id": "meta-llama/Llama-3.1-8B", "gpu": "A100 80GB", "method": "qlora", "lora_rank": 32}
    assert _peak(line | {"engine": engine, "seq_len": tokens})["mid"] == pytest.approx(0.97 * gb, rel=0.1)


@pytest.mark.parametrize(("tokens", "peak_gib"), [(512, 18.01), (2048, 27.74), (8192, 48.41)])
def test_swift_keeps_more_of_the_logits(tokens: int, peak_gib: float) -> None:
    """modelscope/ms-swift, Benchmark.md: Qwen 7B, LoRA of rank 8, one row a step."""
    line = {"config": QWEN_7B, "gpu": "A100 80GB", "method": "lora", "lora_rank": 8, "seq_len": tokens}
    peak = _peak(line | {"engine": "ms-swift"})
    assert peak["low"] <= peak_gib <= peak["high"]
    assert peak["mid"] > _peak(line | {"engine": "trl"})["mid"]


@pytest.mark.parametrize(
    ("text", "name", "preference"),
    [
        ("LoRA", "lora", "none"), ("q-lora", "qlora", "none"), ("LoRA int4", "qlora", "none"), ("dpo", "lora", "dpo"),
        ("full fine-tune", "full", "none"), ("sft", "full", "none"), ("freeze", "lora", "none"),
        ("ORPO full", "full", "orpo"), ("simpo", "lora", "orpo"), ("qlora kto", "qlora", "dpo"),
    ],
)  # fmt: skip
def test_spellings_of_methods(text: str, name: str, preference: str) -> None:
    found = read_method(text)
    assert (found.name, found.preference) == (name, preference)


@pytest.mark.parametrize(
    ("text", "name", "bits", "optimizer"),
    [
        ("full fine-tune, 8-bit adam", "full", 16, "adamw-8bit"), ("full adamw_8bit", "full", 16, "adamw-8bit"),
        ("LoRA, paged adamw 8bit", "lora", 16, "paged-adamw-8bit"), ("LoRA, bnb 8-bit AdamW", "lora", 16, "adamw-8bit"),
        ("full (AMP, 32-bit optimizer)", "full", 16, "adamw-fp32"), ("full, adafactor", "full", 16, "adafactor"),
        ("LoRA (unquantized)", "lora", 16, "adamw"), ("LoRA not quantised", "lora", 16, "adamw"),
        ("full (no quantization)", "full", 16, "adamw"), ("full fp8", "full", 16, "adamw"),
        ("LoRA on fp8 base", "qlora", 8, "adamw"), ("LoRA 4bit base, 8-bit adam", "qlora", 4, "adamw-8bit"),
        ("lora 8bit", "qlora", 8, "adamw"), ("full 16-bit vs QLoRA", "qlora", 4, "adamw"),
    ],
)  # fmt: skip
def test_bits_of_the_optimizer_are_not_those_of_the_base(text: str, name: str, bits: int, optimizer: str) -> None:
    plan, _ = read_line(LLAMA_2 | {"method": text})
    assert (plan.method, plan.optimizer) == (name, optimizer)
    assert plan.method != "qlora" or plan.quantised_bits == bits


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("adamw_8bit", "adamw-8bit"), ("paged_adamw_32bit", "adamw-fp32"), ("adamw_torch_fused", "adamw"),
        ("galore_adamw_8bit", "galore"), ("apollo_adamw", "galore"), ("lion_8bit", "lion-8bit"), ("SGD", "sgd"),
        ("adafactor", "adafactor"), ("rmsprop", "adagrad"), ("schedule_free_adamw", "adamw"),
    ],
)  # fmt: skip
def test_spellings_of_optimizers(text: str, name: str) -> None:
    assert read_optimizer(text, "axolotl", "full") == name


def test_the_usual_adamw_follows_the_tool() -> None:
    """LLaMA-Factory's README asks 120 GB for 7B in full: 32-bit states unless pure_bf16 is set."""
    assert read_optimizer("adamw_torch", "LLaMA Factory", "full") == "adamw-fp32"
    assert read_optimizer("adamw pure_bf16", "LLaMA Factory", "full") == "adamw"
    assert read_optimizer("", "axolotl", "full", 8) == "adamw-fp32"
    assert read_optimizer("", "axolotl", "full", 8, "ddp") == read_optimizer("", "torchtune", "full", 8) == "adamw"
    assert read_optimizer("", "axolotl", "lora", 8, "zero2") == "adamw"


def test_words_for_checkpointing() -> None:
    kept = {word: _peak(MISTRAL | {"gradient_checkpointing": word})["mid"] for word in (True, "unsloth", "true", "off")}
    assert kept["unsloth"] < kept[True] == kept["true"] < kept["off"]
    with pytest.raises(CannotEstimate, match="gradient_checkpointing is 'sometimes'"):
        answer_line(MISTRAL | {"gradient_checkpointing": "sometimes"})


def test_what_was_left_out_or_is_not_known_is_said() -> None:
    notes = " ".join(answer_line(LLAMA_2 | {"epochs": None})["notes"])
    assert "Not given, so taken: method lora, engine axolotl, lora_rank 16, micro_batch 1, seq_len 2048" in notes
    assert "epochs 1, optimizer adamw" in notes
    full = MISTRAL | {"method": "full", "engine": "mytrainer", "gpus": 8}
    notes = " ".join(answer_line(full)["notes"])
    assert "mytrainer has no figures of its own" in notes
    assert "18 bytes a parameter" in notes
    assert "lora_rank" not in notes


def test_one_bad_line_is_refused_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [LLAMA_2 | {"id": name} | extra for name, extra in (("a", {}), ("b", {"method": "magic"}), ("c", {}))]
    batch = tmp_path / "asked.jsonl"
    batch.write_text("\n".join(json.dumps(each) for each in asked))
    main(["fit-train", "--batch", str(batch), "--json"])
    answers = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert ["error" in each for each in answers] == [False, True, False]
    assert "method is 'magic'" in answers[1]["error"]


def test_a_field_says_more_than_the_name_of_a_tool() -> None:
    """fsdp_qlora also trains with a whole copy on each GPU (its benchmarks: 22.0 GiB beside 16.1)."""
    line = {"model_id": "meta-llama/Llama-2-7b-hf", "method": "lora", "engine": "fsdp_qlora", "gpu": "RTX 3090"}
    line |= {"gpus": 2, "seq_len": 2048, "micro_batch": 4, "lora_rank": 64}
    copied, split = (answer_line(line | {"sharding": each})["peak_gib_per_gpu"] for each in ("ddp", ""))
    assert copied["low"] < 22.04 < copied["high"]
    assert split["low"] < 16.14 < split["high"] < 22.04


def test_a_gptq_base_hands_on_sixteen_bits() -> None:
    line = {"model_id": "meta-llama/Llama-2-7b-hf", "engine": "transformers", "gpu": "A100 80GB", "seq_len": 8192}
    gptq, bnb = (answer_line(line | {"method": f"qlora {each}"})["peak_gib_per_gpu"]["mid"] for each in ("gptq", "bnb"))
    assert bnb - gptq == pytest.approx(8192 * 32 * 4096 * 2 / 2**30, rel=0.01)


def test_a_type_that_nobody_measured_reaches_the_share_of_its_peak() -> None:
    def speed(gpu: str) -> float:
        line = {"model_id": "Llama-3.1-8B", "method": "full", "gpu": gpu, "gpus": 8, "micro_batch": 4}
        middle: float = answer_line(line)["tokens_per_s_per_gpu"]["mid"]
        return middle

    for larger in ("GB200", "B300"):
        assert speed("B200") <= speed(larger) < 1.25 * speed("B200")
    assert speed("MI300X") < 1.25 * speed("H100 80GB")
