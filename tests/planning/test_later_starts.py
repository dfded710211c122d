"""What start-up logs found after the formulas showed, each with its public source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from apps.planning.configs import shape_from_config
from apps.planning.fit_lines import answer_line
from apps.planning.kept_modules import kept_shares
from apps.planning.kv_cache import kv_layout
from apps.planning.reference import reference_model
from apps.planning.shapes import Cache


def _asked(**line: Any) -> dict[str, Any]:
    return answer_line(line)


def test_mllama_profiles_an_image_for_each_sequence() -> None:
    """36.63 GiB of activations for 128 sequences, 14.65 GiB for the cache: github.com/vllm-project/vllm/pull/12126."""
    line = {"model_id": "meta-llama/Llama-3.2-11B-Vision", "gpu": "H100", "gpu_memory_gib": 79.22, "precision": "bf16"}
    asked = {"max_model_len": 65_536, "engine_version": "0.6.6", "enforce_eager": True, "gpu_memory_utilization": 0.9}
    answer = _asked(**line, **asked, max_num_seqs=128)
    assert answer["activation_peak_gib"] == pytest.approx(36.63, abs=0.05)
    assert answer["kv_available_gib_per_gpu"] == pytest.approx(14.65, abs=0.3)
    assert _asked(**line, **asked)["reason"] == "activation"  # 256 sequences, the default


def test_qwen_vl_profiles_its_largest_image() -> None:
    """Out of memory on four A100 40 GB for all of 2 sequences: github.com/vllm-project/vllm/issues/16570."""
    answer = _asked(
        model_id="Qwen/Qwen2.5-VL-72B-Instruct", gpu="4x NVIDIA A100-PCIE-40GB", tensor_parallel=4, max_num_seqs=2,
        max_model_len=8192, gpu_memory_utilization=0.95, engine_version="0.8.3", gpu_memory_gib=39.38,
    )  # fmt: skip
    assert not answer["fits"]


def test_only_0_7_fills_latent_vectors_up() -> None:
    """59.75 GiB for 116,023 blocks of 16 tokens: github.com/vllm-project/vllm/pull/13109."""
    shape = shape_from_config(reference_model("deepseek-ai/DeepSeek-V2-Lite").config)
    in_0_7 = kv_layout(shape, value_bytes=2, version=(0, 7)).token_bytes
    assert in_0_7 == pytest.approx(59.75 * 2**30 / (116_023 * 16), rel=1e-3)
    assert kv_layout(shape, value_bytes=2, version=(0, 8)).token_bytes == 27 * 576 * 2


def test_gemma_4_in_nvfp4_keeps_its_attention() -> None:
    """31.18 GiB loaded: robotmunki.com/pages/vllm-startup-log-annotated.html."""
    answer = _asked(model_id="nvidia/Gemma-4-31B-IT-NVFP4", gpu="NVIDIA GB10")
    assert answer["weights_gib_per_gpu"] == pytest.approx(31.18, rel=0.03)


def test_a_star_after_a_module_of_one_layer_names_all_within_it() -> None:
    """As nvidia/Gemma-4-26B-A4B-NVFP4 writes it, whose experts stand beside mlp and are quantised."""
    parts = ("self_attn*", "mlp*", "router*")
    ignored = [f"model.language_model.layers.{layer}.{part}" for layer in range(40) for part in parts]
    kept = kept_shares({"ignore": ["lm_head", *ignored]}, 40, "gemma4_text")
    assert {kept["attn_q"], kept["ffn_up"]} == {1.0}
    assert "ffn_up_exps" not in kept


def test_packed_weights_are_rounded_up_without_their_scales() -> None:
    """9.38 GiB of Qwen2.5-14B-Instruct-AWQ in 0.19.1 on an A10G (EKS workshop study, April 2026)."""
    answer = _asked(model_id="Qwen/Qwen2.5-14B-Instruct-AWQ", gpu="A10G", engine_version="0.19.1", max_model_len=4096)
    assert answer["weights_gib_per_gpu"] == pytest.approx(9.38, rel=0.01)
    assert answer["kv_available_gib_per_gpu"] == pytest.approx(9.1, abs=0.3)


def test_qwen3_5_loads_its_vision_part() -> None:
    """9,409,813,744 parameters without the layers for speculation: huggingface.co/Qwen/Qwen3.5-9B."""
    shape = shape_from_config(reference_model("Qwen/Qwen3.5-9B").config)
    assert shape.parameters == pytest.approx(9_409_813_744, rel=1e-4)


@pytest.mark.parametrize("name", ["ibm-granite/granite-3.1-8b-instruct", "bigcode/starcoder2-15b"])
def test_a_silent_config_is_not_sure_whether_its_head_is_tied(name: str) -> None:
    """One is tied against its class, the other untied: their published totals, 8.17 and 15.96 billion."""
    config = {key: value for key, value in reference_model(name).config.items() if key != "tie_word_embeddings"}
    assert shape_from_config(reference_model(name).config).confidence == "high"
    assert shape_from_config(config).confidence == "medium"


def test_a_state_of_any_size_is_counted_at_once() -> None:
    """Each block of it was a group of its own, which took minutes for a config that lies."""
    caches = (Cache("full", 8, 8, 256), Cache("state", 24, state_bytes=10**15))
    shape = replace(shape_from_config(reference_model("Qwen/Qwen3-8B").config), caches=caches)
    layout = kv_layout(shape, value_bytes=2)
    assert len(layout.groups) < 10
    assert layout.blocks_of_request(16) > 10**9
