"""Configs of every family against the classes of the transformers library, and configs that lack, lie or attack."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.planning.config_modalities import modality_matrices
from apps.planning.configs import shape_from_config
from apps.planning.kv_cache import kv_layout
from apps.planning.memory import serving_fit
from apps.planning.reference import reference_model, reference_names
from apps.planning.serving_plan import Memory, ServingPlan
from apps.planning.shapes import CannotEstimate
from apps.planning.weights import weights_bytes, weights_on_gpu

DATA = Path(__file__).parent / "data"
# Parameter counts of each family's default model, built by transformers 5.16 without weights.
COUNTS: list[dict[str, Any]] = json.loads((DATA / "parameter_counts.json").read_text())
# Parameters of the vision part and what joins it to the text, built by transformers 5.19 likewise.
VISION: list[dict[str, Any]] = json.loads((DATA / "vision_counts.json").read_text())
LLAMA = reference_model("Llama-3.1-8B-Instruct").config


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: str(row["config"]["model_type"]))
def test_parameters_of_every_family(row: dict[str, Any]) -> None:
    assert shape_from_config(row["config"]).parameters == pytest.approx(row["parameters"], rel=1e-4)


@pytest.mark.parametrize("row", VISION, ids=lambda row: str(row["config"]["model_type"]))
def test_parameters_of_the_vision_part(row: dict[str, Any]) -> None:
    (vision,) = modality_matrices(row["config"], row["config"]["text_config"]["hidden_size"])
    assert vision.parameters == pytest.approx(row["parameters"], rel=2e-3)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("google/gemma-3-4b-it", 4_300_079_472),
        ("google/gemma-3-27b-it", 27_432_406_640),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 108_641_793_536),
        ("Qwen/Qwen2-VL-7B-Instruct", 8_291_375_616),
        ("Qwen/Qwen2.5-VL-72B-Instruct", 73_410_777_344),
    ],
)
def test_multimodal_models_count_their_vision_part(name: str, published: int) -> None:
    """The totals that the repositories' safetensors headers add up to."""
    assert shape_from_config(reference_model(name).config).parameters == pytest.approx(published, rel=2e-4)


CLIP = {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14}
OMNI = {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_hidden_layers": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "model_type": "qwen2_5_omni_text"}  # fmt: skip
MLLAMA = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 40,
          "num_key_value_heads": 8, "vocab_size": 128256, "model_type": "mllama_text_model",
          "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38]}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "published", "cached_layers"),
    [
        # LLaVA 1.5 7B names neither sizes nor heads of its text part: the class's own count.
        ({"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}, "vision_config": CLIP},
         7_063_427_072, 32),
        ({"model_type": "llava", "vision_config": {"model_type": "pixtral", "patch_size": 16, "image_size": 1024},
          "text_config": {"model_type": "mistral", "hidden_size": 5120, "head_dim": 128, "intermediate_size": 14336,
                          "num_hidden_layers": 40, "num_key_value_heads": 8, "vocab_size": 131072}},
         12_682_742_784, 40),
        ({"model_type": "mllama", "text_config": MLLAMA,
          "vision_config": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "image_size": 560,
                            "num_global_layers": 8, "patch_size": 14, "vision_output_dim": 7680}},
         10_670_220_835, 32),
        ({"model_type": "qwen2_5_omni", "thinker_config": {
            "model_type": "qwen2_5_omni_thinker", "text_config": OMNI,
            "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420},
            "audio_config": {"d_model": 1280, "encoder_layers": 32, "encoder_ffn_dim": 5120}}},
         8_931_813_888, 28),
    ],
)  # fmt: skip
def test_multimodal_configs_that_leave_much_unsaid(config: dict[str, Any], published: int, cached_layers: int) -> None:
    shape = shape_from_config(config)
    assert shape.parameters == pytest.approx(published, rel=1e-3)
    assert sum(cache.layers for cache in shape.caches) == cached_layers


@pytest.mark.parametrize(
    ("quantization", "version", "dtype"),
    [
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "0.11.0", "fp8"),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "0.8.5", "auto"),
        ({"quant_method": "compressed-tensors", "kv_cache_scheme": None}, "0.11.0", "auto"),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "FP8"}, "0.11.0", "auto"),
        ({"quant_method": "modelopt", "kv_cache_quant_algo": "FP8"}, "", "fp8"),
    ],
)
def test_a_checkpoint_with_scales_for_its_cache(quantization: dict[str, Any], version: str, dtype: str) -> None:
    shape = shape_from_config(LLAMA)
    plan = ServingPlan(shape, "fp8", max_model_len=8192, quantization=quantization, engine_version=version)
    assert plan.cache_dtype == dtype
    own = serving_fit(plan, Memory("gpu", 40 * 2**30)).kv_bytes_per_token
    asked = serving_fit(replace(plan, kv_cache_dtype="bf16"), Memory("gpu", 40 * 2**30)).kv_bytes_per_token
    assert asked == own * (2 if dtype == "fp8" else 1)


def test_every_reference_model_has_a_shape_and_its_own_name() -> None:
    for name in reference_names():
        shape = shape_from_config(reference_model(name).config)
        assert shape.parameters > 10**8
        assert shape.caches
        assert reference_model(name).model_id == name


@pytest.mark.parametrize(
    ("asked", "model_id", "precision"),
    [
        ("qwen/qwen3-32b", "Qwen/Qwen3-32B", ""),
        ("Qwen2.5-7B-Instruct-AWQ", "Qwen/Qwen2.5-7B-Instruct", "int4-awq"),
        ("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "meta-llama/Llama-3.1-70B-Instruct", "int4-awq"),
        ("unsloth/meta-llama-3.1-8b-instruct-bnb-4bit", "meta-llama/Llama-3.1-8B-Instruct", "nf4"),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "meta-llama/Llama-3.3-70B-Instruct", "fp8"),
        ("openai/gpt-oss-20b", "openai/gpt-oss-20b", "mxfp4"),
        ("Qwen3-32B bf16", "Qwen/Qwen3-32B", "bf16"),
        ("Qwen2.5-7B-Instruct fp8 w8a8", "Qwen/Qwen2.5-7B-Instruct", "fp8"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "meta-llama/Llama-3.1-8B-Instruct", "int4-gptq"),
        ("RedHatAI/Qwen3-32B-quantized.w8a8", "Qwen/Qwen3-32B", "int8"),
        ("cyankiwi/GLM-4.5-Air-AWQ-4bit", "zai-org/GLM-4.5-Air", "int4-awq"),
        ("kaitchup/Phi-4-AutoRound-GPTQ-4bit", "microsoft/phi-4", "int4-gptq"),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "fp8"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "Qwen/Qwen3-30B-A3B-Instruct-2507", "fp8"),
        ("deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct", "deepseek-ai/DeepSeek-V2-Lite", ""),
        ("llama3.1:8b", "meta-llama/Meta-Llama-3.1-8B", ""),
        ("gemma3:27b", "google/gemma-3-27b-it", ""),
        ("qwen3:8b", "Qwen/Qwen3-8B", ""),
    ],
)
def test_models_are_found_by_the_names_people_write(asked: str, model_id: str, precision: str) -> None:
    found = reference_model(asked)
    assert (found.model_id, found.precision) == (model_id, precision)


def test_experts_of_nemotron_3_super_work_in_a_narrower_space() -> None:
    """120.7 billion parameters: huggingface.co/nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16."""
    shape = shape_from_config(reference_model("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16").config)
    assert shape.parameters == pytest.approx(120.7e9, rel=0.005)
    assert shape.active_parameters == pytest.approx(12.7e9, rel=0.05)


def test_a_list_may_say_which_layers_have_experts() -> None:
    """MiMo-V2-Flash: 309 billion parameters, the first of 48 layers dense: github.com/XiaomiMiMo/MiMo-V2-Flash."""
    config = {
        "model_type": "mimo_v2_flash", "num_hidden_layers": 48, "hidden_size": 4096, "num_attention_heads": 64,
        "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128, "intermediate_size": 16384, "vocab_size": 152576,
        "moe_layer_freq": [0] + [1] * 47, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "num_experts_per_tok": 8, "tie_word_embeddings": False,
    }  # fmt: skip
    assert shape_from_config(config).parameters == pytest.approx(309e9, rel=0.01)


def test_an_unknown_model_gets_the_nearest_names() -> None:
    with pytest.raises(CannotEstimate, match=r"Did you mean .*Qwen3-32B"):
        reference_model("Qwen/Qwen3-33B")


def test_latent_attention_keeps_one_vector_on_every_gpu() -> None:
    shape = shape_from_config(reference_model("deepseek-ai/DeepSeek-V3").config)
    assert kv_layout(shape, value_bytes=2).token_bytes == 61 * (512 + 64) * 2
    assert kv_layout(shape, value_bytes=2, tensor_parallel=8).token_bytes == 61 * (512 + 64) * 2


def test_windows_bound_what_a_request_keeps() -> None:
    """vLLM 0.10 with gemma-3-1b-it, 1.4 GiB of KV cache: 52,608 tokens, 7.64 requests of 32,768."""
    shape = shape_from_config(reference_model("google/gemma-3-1b-it").config)
    layout = kv_layout(shape, value_bytes=2, batch_tokens=2048, version=(0, 10))
    assert layout.tokens(1.4 * 2**30, 32_768) == pytest.approx(52_608, rel=0.01)
    assert layout.concurrency(1.4 * 2**30, 32_768) == pytest.approx(7.64, rel=0.01)
    old = kv_layout(shape, value_bytes=2, version=(0, 9))
    assert old.concurrency(1.4 * 2**30, 32_768) < 2


def test_state_layers_cost_the_same_at_any_length() -> None:
    shape = shape_from_config(reference_model("Qwen/Qwen3-Next-80B-A3B-Instruct").config)
    layout = kv_layout(shape, value_bytes=2)
    assert layout.token_bytes == 12 * 2 * 2 * 256 * 2  # a quarter of the layers have attention
    fixed = layout.request_bytes(16) - 16 * layout.token_bytes
    assert fixed > 0
    assert layout.request_bytes(160_000) - 160_000 * layout.token_bytes == fixed


def test_quantisers_leave_what_the_config_names() -> None:
    shape = shape_from_config(reference_model("meta-llama/Llama-3.1-405B-Instruct").config)
    kept = {"modules_to_not_convert": ["self_attn", "lm_head", "model.layers.0", "model.layers.125"]}
    on_each = weights_on_gpu(shape, precision="fp8", quantization=kept, tensor_parallel=8) / 2**30
    assert on_each == pytest.approx(57.75, rel=0.02)  # vllm-project/vllm #6746
    assert weights_bytes(shape=shape, precision="fp8") < 0.9 * 8 * on_each * 2**30
    router = {"modules_to_not_convert": ["mlp.gate", "lm_head"]}
    plain = weights_bytes(shape=shape, precision="fp8")
    assert weights_bytes(shape=shape, precision="fp8", quantization=router) == plain


def test_splitting_never_makes_a_gpu_hold_more() -> None:
    for name in ("meta-llama/Llama-3.3-70B-Instruct", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-235B-A22B"):
        shape = shape_from_config(reference_model(name).config)
        held = [weights_on_gpu(shape, tensor_parallel=count) for count in (1, 2, 4, 8, 16)]
        assert held == sorted(held, reverse=True)
        assert weights_on_gpu(shape, tensor_parallel=2, pipeline_parallel=2) < held[1]


def test_more_memory_never_fits_less() -> None:
    for name in ("Qwen/Qwen3-32B", "google/gemma-3-27b-it", "openai/gpt-oss-120b"):
        shape = shape_from_config(reference_model(name).config)
        # The engine plans larger batches on larger GPUs; here the batch stays the same.
        plan = ServingPlan(shape, max_model_len=8192, max_num_seqs=256, max_num_batched_tokens=2048)
        fits = [serving_fit(plan, Memory("gpu", size * 2**30)) for size in range(8, 200, 8)]
        assert [fit.fits for fit in fits] == sorted(fit.fits for fit in fits)
        assert [fit.kv_tokens for fit in fits] == sorted(fit.kv_tokens for fit in fits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": None}, "lacks num_hidden_layers"),
        ({"vocab_size": -5}, "vocab_size = -5"),
        ({"num_attention_heads": 31, "head_dim": None}, "does not divide hidden_size"),
        ({"num_key_value_heads": 7}, "num_key_value_heads = 7"),
        ({"hidden_size": True}, "hidden_size = True"),
        ({"num_hidden_layers": 2**63}, "num_hidden_layers"),
        ({"num_hidden_layers": 900_000_000}, "no model has more than 5,000"),
        ({"intermediate_size": None}, "lacks intermediate_size"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types names 3"),
        ({"layer_types": ["telepathy"] * 32}, "'telepathy'"),
        ({"num_experts": 8, "num_experts_per_tok": 9, "moe_intermediate_size": 64}, "num_experts_per_tok = 9"),
        ({"num_experts": 8}, "lacks moe_intermediate_size"),
        ({"model_type": "t5"}, "encoder"),
    ],
)
def test_what_is_missing_or_contradictory_is_named(change: dict[str, Any], message: str) -> None:
    config = {key: value for key, value in {**LLAMA, **change}.items() if value is not None or key not in change}
    with pytest.raises(CannotEstimate, match=message):
        shape_from_config(config)


def test_an_unknown_family_gets_a_bound_with_low_confidence() -> None:
    shape = shape_from_config({**LLAMA, "model_type": "brandnew"})
    assert shape.confidence == "low"
    assert "brandnew" in shape.notes[0]
    assert serving_fit(ServingPlan(shape, max_model_len=4096), Memory("gpu", 80 * 2**30)).confidence == "low"


def test_experts_under_unknown_names_are_no_plain_transformer() -> None:
    """64 experts that are not read would make the model many times too small."""
    odd = {**LLAMA, "model_type": "brandnew", "moe_total_experts": 64}
    with pytest.raises(CannotEstimate, match="moe_total_experts = 64, experts of an architecture that is not known"):
        shape_from_config(odd)
    assert shape_from_config({**odd, "num_experts": 0}).experts == 0
    assert shape_from_config({**LLAMA, "moe_total_experts": 64}).experts == 0  # a llama has none


def test_hostile_configs_are_refused_quickly() -> None:
    chance = random.Random(7)
    junk: list[Any] = [None, -1, 0, 2**70, 1e300, float("nan"), "x" * 5000, [], [[]], {}, {"a": {}}, True, [1] * 9_999]
    fields = [
        *LLAMA, "text_config", "layer_types", "num_experts", "quantization_config", "sliding_window", "kv_lora_rank",
        "vision_config", "hybrid_override_pattern", "linear_attn_config", "attn_config", "ffn_config",
    ]  # fmt: skip
    families = [*sorted(row["config"]["model_type"] for row in COUNTS), "?"]
    began, answered = time.monotonic(), 0
    for _ in range(3000):
        config = {**LLAMA, "model_type": chance.choice(families)}
        for _ in range(chance.randint(1, 4)):
            config[chance.choice(fields)] = chance.choice(junk)
        try:
            quantization: Any = config.get("quantization_config")
            plan = ServingPlan(shape_from_config(config), quantization=quantization, max_model_len=4096)
            serving_fit(plan, Memory("gpu", 80 * 2**30))
            answered += 1
        except CannotEstimate:
            pass
    assert answered > 100
    assert time.monotonic() - began < 60
