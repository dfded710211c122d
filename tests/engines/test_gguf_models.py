"""GGUF models: which quantisations a repository offers, and what a file says of its model."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from apps.engines.folder import files_of_model, format_of, missing_parts, model_facts, visible_files
from apps.engines.gguf_config import config_from_gguf
from apps.engines.gguf_header import GgufHeader, GgufTensor, read_gguf
from apps.engines.repository_files import formats_of, gguf_choices, quantisation_label, weight_files, without_copies
from apps.planning.configs import shape_from_config
from tests.catalog.hub_server import safetensors
from tests.gguf_models import CONTEXT, HIDDEN, LAYERS, VOCABULARY, tiny_gguf, tiny_gguf_parts


def test_each_quantisation_is_a_choice_and_what_lies_beside_the_weights_is_none() -> None:
    sizes = {
        "Tiny-Q8_0.gguf": 80, "Tiny-UD-Q4_K_XL.gguf": 45, "Tiny-Q4_K_M.gguf": 44, "tiny-f16.gguf": 160,
        "BF16/Tiny-BF16-00001-of-00002.gguf": 100, "BF16/Tiny-BF16-00002-of-00002.gguf": 60,
        "Q6_K/Tiny-Q6_K-00001-of-00002.gguf": 33,  # its second part is missing
        "mmproj-F16.gguf": 9, "imatrix_unsloth.gguf": 1, "README.md": 2, "config.json": 1,
    }  # fmt: skip
    found = gguf_choices(sizes)
    assert [(each.label, each.size_bytes) for each in found] == [
        ("Q4_K_M", 44), ("UD-Q4_K_XL", 45), ("Q8_0", 80), ("BF16", 160), ("F16", 160),
    ]  # fmt: skip
    assert found[3].files == ("BF16/Tiny-BF16-00001-of-00002.gguf", "BF16/Tiny-BF16-00002-of-00002.gguf")


def test_where_quantisations_do_not_tell_files_apart_their_names_do() -> None:
    found = gguf_choices({"base-Q4_0.gguf": 1, "chat-Q4_0.gguf": 2, "odd name (1).gguf": 3})
    assert [each.label for each in found] == ["base-Q4_0", "chat-Q4_0", "odd-name-1"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Llama-3.1-8B-Instruct-IQ3_XXS.gguf", "IQ3_XXS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Qwen2.5-7B.q5_k_m.gguf", "Q5_K_M"),
        ("Q4_K_M/x-00001-of-00003.gguf", "Q4_K_M"),
        ("model.gguf", ""),
    ],
)
def test_the_label_stands_in_the_name(name: str, label: str) -> None:
    assert quantisation_label(name) == label


def test_formats_are_told_by_name_and_optimizer_states_are_none() -> None:
    sizes = {
        "config.json": 1, "model.safetensors": 1, "pytorch_model.bin": 2, "training_args.bin": 4, "optimizer.pt": 8,
        "onnx/model.onnx": 16, "onnx/model.onnx_data": 32, "Tiny.mlpackage/Data/weights/weight.bin": 64,
        "rank0.engine": 128, "openvino/openvino_model.bin": 256,
    }  # fmt: skip
    assert formats_of(sizes) == {"safetensors": 1, "pytorch": 2, "onnx": 48, "mlmodel": 64, "tensorrt": 128}


def test_copies_of_the_same_weights_are_left_out_but_never_the_only_ones() -> None:
    shards = ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors", "mtp.safetensors"]
    dense = "2_Dense/model.safetensors"  # of a sentence-transformers model
    copies = ["consolidated-00001-of-00001.safetensors", "original/model.safetensors", "model.fp16.safetensors"]
    assert without_copies(["config.json", *shards, dense, *copies]) == ["config.json", *shards, dense]
    assert weight_files(["config.json", *shards, dense, *copies]) == shards


@pytest.mark.parametrize(
    "names",
    [
        ["consolidated.safetensors"],
        ["adapter_model.safetensors", "consolidated.safetensors"],
        [
            "model.safetensors-00001-of-00002.safetensors",
            "model.safetensors-00002-of-00002.safetensors",
            "mtp.safetensors",
        ],
        ["model-00001-of-00001.safetensors", "model.mtp.safetensors", "model.visual.safetensors"],
        ["gptq_model-4bit-128g.safetensors"],
    ],
)
def test_what_no_other_file_holds_is_loaded(names: list[str]) -> None:
    assert weight_files([*names, "config.json"]) == names


@pytest.mark.parametrize("names", [["adapter_model.safetensors"], ["unet/model.safetensors", "config.json"]])
def test_safetensors_without_a_config_beside_them_are_none(names: list[str]) -> None:
    assert weight_files(names) == []


@pytest.mark.parametrize("parts", [1, 2])
def test_a_file_or_its_parts_say_what_the_model_is(parts: int, tmp_path: Path) -> None:
    if parts == 1:
        (tmp_path / "tiny-Q4_K_M.gguf").write_bytes(tiny_gguf())
    else:
        for number, data in enumerate(tiny_gguf_parts(), 1):
            (tmp_path / f"tiny-Q4_K_M-0000{number}-of-00002.gguf").write_bytes(data)
    folder, names = files_of_model(tmp_path)
    assert (missing_parts(folder, names), format_of(names)) == ("", "gguf")
    facts = model_facts(folder, names)
    shape = shape_from_config(facts["config"])
    assert facts["parameters"] == shape.parameters
    assert (facts["layers"], facts["context_length"], facts["vocab_size"]) == (LAYERS, CONTEXT, VOCABULARY)
    assert (facts["quantisation"], facts["usual_type"], facts["chat_template"]) == ("Q4_K_M", "Q4_K", True)
    assert facts["weights_bytes"] == sum((tmp_path / name).stat().st_size for name in names)
    assert facts["gguf_file"] == names[0]
    assert (shape.hidden_size, shape.kv_heads, shape.tied_embeddings) == (HIDDEN, 2, True)


def test_one_file_of_a_folder_is_named_and_several_are_not_guessed(tmp_path: Path) -> None:
    for label in ("Q4_K_M", "Q8_0"):
        (tmp_path / f"tiny-{label}.gguf").write_bytes(tiny_gguf())
    assert "holds 2 GGUF models" in missing_parts(*files_of_model(tmp_path))
    folder, names = files_of_model(tmp_path / "tiny-Q8_0.gguf")
    assert (folder, names, missing_parts(folder, names)) == (tmp_path, ["tiny-Q8_0.gguf"], "")


def test_a_part_brings_the_others_and_safetensors_go_first(tmp_path: Path) -> None:
    names = [f"tiny-Q4_K_M-0000{number}-of-00002.gguf" for number in (1, 2)]
    for name, data in zip(names, tiny_gguf_parts(), strict=True):
        (tmp_path / name).write_bytes(data)
    assert files_of_model(tmp_path / names[1]) == (tmp_path, names)
    (tmp_path / names[1]).unlink()
    assert "parts are missing" in missing_parts(*files_of_model(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    assert format_of(visible_files(tmp_path)) == "safetensors"


def header(architecture: str, **values: object) -> GgufHeader:
    metadata = {"general.architecture": architecture} | {
        f"{architecture}.{name.replace('__', '.')}": value for name, value in values.items()
    }
    tensors = {"output.weight": GgufTensor((8, 8), "F32", 0, 256)}
    return GgufHeader(3, {**metadata, "tokenizer.ggml.tokens": 129_280}, tensors)


def test_latent_attention_and_experts_are_read() -> None:
    config = config_from_gguf(
        header(
            "deepseek2", block_count=61, embedding_length=7168, feed_forward_length=18432, context_length=163840,
            attention__head_count=128, attention__head_count_kv=1, attention__key_length=576,
            attention__value_length=512, attention__key_length_mla=192, attention__value_length_mla=128,
            attention__kv_lora_rank=512, attention__q_lora_rank=1536, rope__dimension_count=64, expert_count=256,
            expert_used_count=8, expert_feed_forward_length=2048, expert_shared_count=1, leading_dense_block_count=3,
        )
    )  # fmt: skip
    shape = shape_from_config(config)
    assert abs(shape.parameters / 671.0e9 - 1) < 0.001  # DeepSeek-V3's own figure
    assert sum(cache.layers * cache.heads * cache.width for cache in shape.caches) == 61 * 576


def test_a_list_with_a_number_for_each_layer_counts_as_its_largest() -> None:
    config = config_from_gguf(header("llama", attention__head_count_kv=[8, 4, 8], feed_forward_length=[1, 9]))
    assert (config["num_key_value_heads"], config["intermediate_size"]) == (8, 9)


def test_experts_in_a_llama_file_are_mixtral() -> None:
    assert config_from_gguf(header("llama", expert_count=8))["model_type"] == "mixtral"
    assert config_from_gguf(header("llama"))["model_type"] == "llama"


def test_a_whole_file_has_its_layout_checked() -> None:
    data = tiny_gguf()
    assert read_gguf(io.BytesIO(data), len(data)).parameters > 0
