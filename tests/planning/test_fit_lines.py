"""The planner's lines: one JSON object in, one out, whatever it says."""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from apps.planning import fit_lines, fit_question, train_lines
from apps.planning.config_precision import precision_of
from apps.planning.configs import shape_from_config
from apps.planning.gguf import gguf_file_bytes
from apps.planning.gpu_memory import read_gpu
from apps.planning.precisions import read_precision
from apps.planning.reference import reference_model
from apps.planning.shapes import CannotEstimate
from stackweb.cli import main
from stackweb.fit_command.arguments import add_fit_commands
from stackweb.fit_command.batch import answer_file

ASKED = {"id": 1, "model_id": "Qwen/Qwen3-32B", "gpu": "H100 80GB", "gpus": 1}
KEYS = {
    "id", "fits", "reason", "weights_gib_per_gpu", "activation_peak_gib", "non_torch_gib", "kv_available_gib_per_gpu",
    "kv_bytes_per_token_per_gpu", "kv_tokens", "max_concurrency", "max_model_len_possible", "weights_file_gib",
    "confidence", "formula_version",
}  # fmt: skip


@pytest.mark.parametrize(("command", "keys"), [("fit", fit_question.KEYS), ("fit-train", train_lines.KEYS)])
def test_the_command_has_an_option_for_every_key_of_a_line(command: str, keys: tuple[str, ...]) -> None:
    parser = argparse.ArgumentParser()
    add_fit_commands(parser.add_subparsers())
    assert set(keys) - {"id", "model_id"} <= vars(parser.parse_args([command])).keys()


def test_options_of_adapters_and_experts_reach_the_planner(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["fit", "--model", "Qwen/Qwen3-30B-A3B", "--gpu", "H100 80GB", "--gpus", "2", "--json"]
    plain = answered(asked, capsys)
    assert answered([*asked, "--lora-slots", "8", "--lora-rank", "64"], capsys)["kv_tokens"] < plain["kv_tokens"]
    asked = ["fit", "--model", "Qwen/Qwen3-30B-A3B-FP8", "--gpu", "H100 80GB", "--gpus", "4", "--json"]
    cut, whole = answered(asked, capsys), answered([*asked, "--enable-expert-parallel"], capsys)
    assert (cut["tensor_parallel"], whole["tensor_parallel"]) == (2, 4), "a block of FP8 weights is not cut"


def answered(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


def test_a_line_as_vllm_measured_it() -> None:
    """llm-d-planner's boot of vLLM 0.11 on an H100: 61.03 GiB of weights, 5.64 peak, 4.45 left."""
    answer = fit_lines.answer_line({**ASKED, "engine_version": "0.11.0", "max_model_len": 16_000})
    assert answer.keys() >= KEYS
    assert answer["weights_gib_per_gpu"] == pytest.approx(61.03, abs=0.02)
    assert answer["activation_peak_gib"] == pytest.approx(5.64, abs=0.05)
    assert answer["kv_available_gib_per_gpu"] == pytest.approx(4.45, abs=0.15)
    assert (answer["fits"], answer["reason"]) == (True, None)


def test_what_does_not_fit_says_why_and_what_would() -> None:
    long = fit_lines.answer_line({**ASKED, "max_model_len": 40_960})
    assert (long["fits"], long["reason"]) == (False, "kv_cache")
    assert long["smallest_change"].startswith("set max_model_len to ")
    shorter = int(long["smallest_change"].split()[3].replace(",", ""))
    assert fit_lines.answer_line({**ASKED, "max_model_len": shorter})["fits"]
    heavy = fit_lines.answer_line({**ASKED, "gpu": "RTX 4090"})
    assert (heavy["reason"], heavy["smallest_change"]) == ("weights", "use 4 GPUs (tensor_parallel 4)")


def test_where_no_change_is_enough_a_smaller_precision_comes_with_the_context_it_leaves() -> None:
    asked = {"model_id": "Llama-3.1-405B", "gpu": "A100 40GB", "gpus": 8, "max_model_len": 131_072}
    words = fit_lines.answer_line(asked)["smallest_change"]
    found = re.fullmatch(r"load it as (\S+) and set max_model_len to ([\d,]+) instead of 131,072", words)
    assert found is not None
    precision, context = {"precision": found[1]}, {"max_model_len": int(found[2].replace(",", ""))}
    assert context["max_model_len"] >= 2048
    assert [fit_lines.answer_line(asked | each)["fits"] for each in (precision, context)] == [False, False]
    assert fit_lines.answer_line(asked | precision | context)["fits"]
    one = {"model_id": "Llama-3.3-70B", "gpu": "RTX 4090", "gpus": 8, "max_model_len": 131_072}
    assert " and " not in fit_lines.answer_line(one)["smallest_change"]
    assert fit_lines.answer_line(asked | {"gpu": "RTX 3060"})["smallest_change"] is None


@pytest.mark.parametrize("precision", ["bf16", "Q8_0"])
def test_what_is_missing_is_a_figure_of_its_own(precision: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights alone are too much: nothing is left, and the range around what is short holds the middle."""
    asked = {**ASKED, "precision": precision, "gpu": "RTX 4090", "max_model_len": 4096}
    short = fit_lines.answer_line(asked)
    assert (short["fits"], short["reason"], short["kv_tokens"], short["max_concurrency"]) == (False, "weights", 0, 0)
    low, middle, high = (short[f"kv_available_gib_per_gpu{part}"] for part in ("_low", "", "_high"))
    assert low < middle < high < 0
    one_context = 4096 * short["kv_bytes_per_token_per_gpu"] / 2**30
    assert short["missing_gib_per_gpu"] == pytest.approx(one_context - middle, abs=0.001)
    grown = fit_lines.answer_line({**asked, "gpu": "H100"})
    assert (grown["fits"], grown["missing_gib_per_gpu"]) == (True, 0)
    assert main(["fit", "--model", "Qwen/Qwen3-32B", "--gpu", "RTX 4090", "--precision", precision]) == 0
    words = capsys.readouterr().out
    assert "nothing left for it: weights and overhead are" in words
    assert f"{fit_lines.answer_line({**asked, 'max_model_len': None})['missing_gib_per_gpu']:.2f} GiB on each" in words


def test_all_gpus_are_used_unless_told() -> None:
    two = fit_lines.answer_line({**ASKED, "gpus": 2})
    assert two["weights_gib_per_gpu"] == pytest.approx(61.03 / 2, rel=0.01)
    assert fit_lines.answer_line({**ASKED, "gpu": "2x H100", "gpus": None}) == two
    with pytest.raises(CannotEstimate, match="more than gpus = 1"):
        fit_lines.answer_line({**ASKED, "tensor_parallel": 4})


def test_gguf_precisions_size_the_file_and_the_offload() -> None:
    answer = fit_lines.answer_line({"model_id": "Llama-3.1-8B", "precision": "Q4_K_M", "gpu": "RTX 3060"})
    assert answer["weights_file_gib"] == pytest.approx(4.58, rel=0.005)
    long = {"model_id": "Llama-3.3-70B", "precision": "Q4_K_M", "gpu": "RTX 4090", "max_model_len": 4096}
    big = fit_lines.answer_line(long)
    assert not big["fits"]
    assert "of 80 layers fit on the GPU" in big["explanation"]


@pytest.mark.parametrize(
    ("model", "quantisation", "gigabytes"),
    [("Qwen2.5-72B", "Q4_K_M", 47.406), ("gemma-3-12b-it", "Q5_K_M", 8.44), ("Meta-Llama-3-70B", "IQ2_XXS", 19.102),
     ("phi-4", "Q4_K_M", 9.052)],
)  # fmt: skip
def test_gguf_sizes_of_published_files(model: str, quantisation: str, gigabytes: float) -> None:
    """Loader logs and llama.cpp's own table; the 72B has rows that a block of 256 does not divide."""
    size = gguf_file_bytes(shape_from_config(reference_model(model).config), quantisation)
    assert size.middle / 1e9 == pytest.approx(gigabytes, rel=0.003)
    assert size.low < size.middle < size.high


@pytest.mark.parametrize(
    ("text", "gib"),
    [("RTX 3090 24GB", 23.58), ("24GB class", 23.59), ("A100-SXM4-80GB", 79.15), ("L4", 22.03), ("4090", 23.64),
     ("A100 MIG 1g.5gb", 4.75), ("2080Ti 22GB", 21.63), ("MI300X", 191.69), ("V100 32GB", 31.74)],
)  # fmt: skip
def test_gpus_from_free_text(text: str, gib: float) -> None:
    assert read_gpu(text).usable_bytes / 2**30 == pytest.approx(gib, abs=0.01)


def test_a_gpus_number_may_stand_before_its_name() -> None:
    assert read_gpu("8xH100").count == 8
    with pytest.raises(CannotEstimate, match="'unknown' is not known"):
        read_gpu("unknown")


def test_speed_is_a_range_and_null_where_nothing_is_known() -> None:
    one, two = (fit_lines.answer_line({**ASKED, "max_model_len": 8192, "gpus": count}) for count in (1, 2))
    for name in ("decode_tokens_per_s", "prefill_tokens_per_s", "first_token_s"):
        assert one[f"{name}_low"] < one[name] < one[f"{name}_high"]
    assert one["decode_tokens_per_s"] < two["decode_tokens_per_s"] < 2 * one["decode_tokens_per_s"]
    assert fit_lines.answer_line({**ASKED, "gpu": "RTX 3050"})["decode_tokens_per_s"] is None
    assert fit_lines.answer_line({**ASKED, "gpu": "80GB class", "max_model_len": 8192})["first_token_s"] is None


def test_another_engine_is_answered_with_low_confidence() -> None:
    ours, theirs = (
        fit_lines.answer_line({**ASKED, "max_model_len": 8192, "engine": name}) for name in ("vllm", "sglang")
    )
    assert theirs["weights_gib_per_gpu"] == ours["weights_gib_per_gpu"]
    assert (ours["confidence"], theirs["confidence"]) == ("high", "low")
    assert "SGLang" in theirs["notes"][-1]


@pytest.mark.parametrize("engine", ["sglang", "TGI", "transformers", "my-own"])
def test_only_versions_of_vllm_change_the_figures(engine: str) -> None:
    """SGLang 0.5.5 is no vLLM 0.5: its sampler does not sort as that one did."""
    asked = {**ASKED, "max_model_len": 8192, "engine": engine}
    plain, dated = (fit_lines.answer_line({**asked, "engine_version": version}) for version in ("", "0.5.5"))
    assert "0.5.5: the version is noted, not applied" in dated["notes"][-1]
    assert {**dated, "notes": plain["notes"]} == plain


@pytest.mark.parametrize("model", ["moonshotai/Kimi-K2-Thinking", "moonshotai/Kimi-K2.5", "openai/gpt-oss-20b"])
def test_int4_of_a_model_published_in_4_bits_means_its_own_format(model: str) -> None:
    """594 GB of Kimi-K2-Thinking are int4 experts and 16-bit layers around them: huggingface.co/moonshotai."""
    line = {"model_id": model, "gpu": "8x H200"}
    own, said = (fit_lines.answer_line(line | more)["weights_gib_per_gpu"] for more in ({}, {"precision": "int4"}))
    assert said == own


def test_a_version_may_stand_in_the_engines_name() -> None:
    named = fit_lines.answer_line({**ASKED, "engine": "vLLM 0.6.4"})
    assert named == fit_lines.answer_line({**ASKED, "engine": "vllm", "engine_version": "0.6.4"})
    assert named["activation_peak_gib"] != fit_lines.answer_line({**ASKED, "engine": "vllm"})["activation_peak_gib"]


def test_a_version_of_llama_cpp_is_noted() -> None:
    answer = fit_lines.answer_line({**ASKED, "precision": "Q4_K_M", "engine": "Ollama", "engine_version": "0.3.1"})
    assert answer["notes"] == ["llama.cpp 0.3.1: the version is noted, not applied; only vLLM's are known."]
    assert answer["confidence"] == "medium"


@pytest.mark.parametrize(
    ("precision", "says"), [("bf16", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"), ("Q4_K_M", "llama.cpp warns")]
)
def test_more_context_than_the_model_has_is_doubtful(precision: str, says: str) -> None:
    """Qwen3-8B: 40,960 positions without YaRN."""
    asked = {"model_id": "Qwen/Qwen3-8B", "gpu": "H100 80GB", "precision": precision}
    own, long = (fit_lines.answer_line({**asked, "max_model_len": length}) for length in (40_960, 65_536))
    assert (own["confidence"] != "low", own["notes"]) == (True, [])
    assert (long["fits"], long["confidence"]) == (True, "low")
    assert says in long["notes"][0]
    assert own["max_model_len_possible"] == long["max_model_len_possible"] == 40_960


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        (None, 40_960),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, 131_072),
        ({"type": "linear", "factor": 2.0}, 81_920),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 40_960),
        ({"rope_type": "yarn", "factor": "four"}, 40_960),
        ({"rope_type": "yarn", "factor": 1e300}, 40_960),
    ],
)
def test_positions_that_are_stretched_count(scaling: dict[str, Any] | None, context: int) -> None:
    config = {**reference_model("Qwen/Qwen3-8B").config, "rope_scaling": scaling}
    answer = fit_lines.answer_line({"config": config, "gpu": "H100 80GB", "max_model_len": 1024})
    assert answer["max_model_len_possible"] == context


def test_a_mere_size_is_a_typical_model() -> None:
    answer = fit_lines.answer_line({**ASKED, "model_id": "7B", "max_model_len": 2048})
    assert answer["weights_gib_per_gpu"] == pytest.approx(7e9 * 2 / 2**30, rel=0.1)
    assert answer["confidence"] == "low"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu": None}, "Give gpu"),
        ({"model_id": None}, "Give model_id"),
        ({"gpus": -1}, "gpus is '-1'"),
        ({"gpus": 1.5}, "whole number"),
        ({"gpu_memory_utilization": 7}, "gpu_memory_utilization is '7'"),
        ({"max_model_len": "long"}, "max_model_len is 'long'"),
        ({"max_model_len": float("nan")}, "max_model_len"),
        ({"precision": "q9"}, "not known"),
        ({"kv_cache_dtype": "int3"}, "KV cache type|not known"),
        ({"config": [1]}, "config must be"),
        ({"enforce_eager": "perhaps"}, "enforce_eager"),
        ({"gpu": {"a": 1}}, "gpu is"),
    ],
)
def test_bad_input_names_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotEstimate, match=message):
        fit_lines.answer_line({**ASKED, **change})


def test_a_batch_answers_every_line_in_order(tmp_path: Path) -> None:
    lines = [
        json.dumps(ASKED), "", "not json", "[1]", json.dumps({**ASKED, "id": "b", "gpu": "abacus"}),
        json.dumps({**ASKED, "id": "c", "model_id": "no/such-thing"}), "[" * 100_000,
        json.dumps({"id": "big", "config": {"x": "y" * 5_000_000}}), json.dumps({**ASKED, "id": "last"}),
    ]  # fmt: skip
    file = tmp_path / "lines"
    file.write_text("\n".join(lines))
    out = io.StringIO()
    assert answer_file(str(file), fit_lines.answer_line, out) == 0
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [answer["id"] for answer in answers] == [1, None, None, "b", "c", None, "big", "last"]
    assert ["error" in answer for answer in answers] == [False, True, True, True, True, True, True, False]
    assert "longer than 4 MiB" in answers[6]["error"]


def test_a_training_line() -> None:
    asked = {"model_id": "Llama-3.1-8B", "method": "qlora", "gpu": "RTX 4090", "dataset_tokens": 10**7, "epochs": 3}
    answer = train_lines.answer_line(asked)
    peak, speed = answer["peak_gib_per_gpu"], answer["tokens_per_s_per_gpu"]
    assert 0 < peak["low"] < peak["mid"] < peak["high"] <= 1.25 * peak["mid"]
    assert answer["hours"] == pytest.approx(3e7 / speed["mid"] / 3600 + 1 / 60, rel=0.01)
    assert answer["cost_usd"] is None  # no list price of this card is known
    priced = train_lines.answer_line({**asked, "gpu": "A100 80GB"})
    assert priced["cost_usd_low"] < priced["cost_usd"] < priced["cost_usd_high"]


def test_the_command_prints_words_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model", "Qwen/Qwen3-32B", "--gpu", "H100 80GB", "--max-model-len", "16000"]) == 0
    assert "Qwen/Qwen3-32B on H100 80GB: Fits" in capsys.readouterr().out
    assert main(["fit", "--model", "Qwen/Qwen3-32B", "--gpu", "H100 80GB", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() >= KEYS
    assert main(["fit-train", "--model", "Llama-3.1-8B", "--gpu", "A100 80GB", "--method", "lora"]) == 0
    assert "Peak memory" in capsys.readouterr().out
    assert main(["fit", "--model", "Qwen/Qwen3-33B", "--gpu", "H100"]) == 1
    assert "Did you mean" in capsys.readouterr().err
    assert main(["fit", "--batch", "/no/such/file"]) == 1


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("gptq int4 g128", "int4-gptq"), ("gptq int4 g64", "int4-gptq-g64"), ("GPTQ-Int8", "int8-gptq"),
        ("bnb int8", "int8"), ("bitsandbytes 4bit", "nf4-plain"), ("fp8 w8a8", "fp8"), ("modelopt_fp4", "nvfp4"),
    ],
)  # fmt: skip
def test_digits_of_a_group_are_not_bits(words: str, name: str) -> None:
    assert read_precision(words).name == name


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "int4-gptq-g32"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4-awq"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128, "type": "int"}}},
            },
            "int4",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
        ),
    ],
)
def test_a_quantization_config_names_its_precision(own: dict[str, Any], name: str) -> None:
    assert precision_of(own) == name
    assert read_precision(precision_of(own)).name == name


@pytest.mark.parametrize(("rank", "gib"), [(64, 0.31), (256, 1.25)])
def test_slots_for_adapters_take_their_room(rank: int, gib: float) -> None:
    """vLLM keeps 16-bit A and B of every linear matrix of each slot: 2 x rank x (rows + columns)."""
    asked = {"model_id": "Llama-3.1-8B", "gpu": "H100 80GB", "max_model_len": 4096}
    plain, slots = (fit_lines.answer_line(asked | more) for more in ({}, {"lora_slots": 1, "lora_rank": rank}))
    assert slots["weights_gib_per_gpu"] - plain["weights_gib_per_gpu"] == pytest.approx(gib, abs=0.01)
    two = fit_lines.answer_line(asked | {"lora_slots": 2, "lora_rank": rank})
    assert two["weights_gib_per_gpu"] - plain["weights_gib_per_gpu"] == pytest.approx(2 * gib, abs=0.02)
