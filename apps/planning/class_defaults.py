"""What transformers' own classes (5.19, configuration_<family>.py) take for a field that a config leaves out.

A null that is written stands for itself: DeepSeek-V2-Lite has no q_lora_rank.
"""

from __future__ import annotations

_MLA = {"kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
_V3 = {
    **_MLA, "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
    "first_k_dense_replace": 3,
}  # fmt: skip
_LATENT_GLM = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256}
CLASS_DEFAULTS: dict[str, dict[str, int]] = {
    "mistral": {"num_key_value_heads": 8},
    "ministral": {"num_key_value_heads": 8},
    "phi4_multimodal": {"num_key_value_heads": 8},
    "jamba": {"num_key_value_heads": 8},
    "bamba": {"num_key_value_heads": 8},
    "falcon_h1": {"num_key_value_heads": 8},
    "ministral3": {"num_key_value_heads": 8, "head_dim": 128},
    "mixtral": {"num_key_value_heads": 8, "num_experts": 8, "num_experts_per_tok": 2},
    "phimoe": {"num_key_value_heads": 8, "num_experts": 16, "num_experts_per_tok": 2},
    "minimax": {"num_key_value_heads": 8, "num_experts": 8, "num_experts_per_tok": 2},
    "qwen2": {"num_key_value_heads": 32},
    "qwen2_vl_text": {"num_key_value_heads": 8},
    "qwen2_5_vl_text": {"num_key_value_heads": 8},
    "qwen2_moe": {
        "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    },
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128},
    "qwen3_vl_text": {"num_key_value_heads": 32, "head_dim": 128},
    "qwen3_moe": {
        "num_key_value_heads": 4, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    },
    "qwen3_vl_moe_text": {
        "num_key_value_heads": 16, "head_dim": 128, "num_experts": 60, "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
    },
    "qwen3_next": {
        "num_key_value_heads": 2, "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
    },
    "qwen3_5_text": {"num_key_value_heads": 4},
    "qwen3_5_moe_text": {
        "num_key_value_heads": 2, "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
    },
    "gemma": {"num_key_value_heads": 16},
    "gemma2": {"num_key_value_heads": 4},
    "gemma4_text": {"num_key_value_heads": 4},
    "deepseek_v2": {**_MLA, "num_experts": 64, "moe_intermediate_size": 1407, "n_shared_experts": 2,
                    "first_k_dense_replace": 0},
    "deepseek_v3": _V3,
    "deepseek_v32": _V3,
    "kimi_k2": _V3,
    "kimi_linear": {
        "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "num_experts": 256,
        "num_experts_per_tok": 8, "moe_intermediate_size": 1024, "n_shared_experts": 1,
    },
    "mistral4": {
        "kv_lora_rank": 256, "q_lora_rank": 1024, "qk_rope_head_dim": 64, "qk_nope_head_dim": 64, "v_head_dim": 128,
        "num_experts": 128, "num_experts_per_tok": 4, "moe_intermediate_size": 2048, "n_shared_experts": 1,
    },
    "glm4_moe_lite": {
        **_LATENT_GLM, "q_lora_rank": 768, "num_experts": 64, "num_experts_per_tok": 4, "moe_intermediate_size": 1536,
        "n_shared_experts": 1,
    },
    "glm_moe_dsa": {
        **_LATENT_GLM, "q_lora_rank": 2048, "num_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "moe_intermediate_size": 2048, "first_k_dense_replace": 3,
    },
    "glm": {"num_key_value_heads": 2, "head_dim": 128},
    "glm4": {"num_key_value_heads": 2, "head_dim": 128},
    "glm4_moe": {
        "num_key_value_heads": 8, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1408,
        "n_shared_experts": 1, "first_k_dense_replace": 1,
    },
    "gpt_oss": {"num_key_value_heads": 8, "num_experts": 128, "num_experts_per_tok": 4},
    "llama4_text": {"num_experts": 16, "num_experts_per_tok": 1},
    "minimax_m2": {"num_key_value_heads": 8, "head_dim": 128, "num_experts": 256, "num_experts_per_tok": 8},
    "nemotron_h": {"num_key_value_heads": 8, "head_dim": 128},
    "granitemoe": {"num_experts": 8, "num_experts_per_tok": 2},
    "granitemoeshared": {"num_experts": 8, "num_experts_per_tok": 2},
    "granitemoehybrid": {"num_experts": 8, "num_experts_per_tok": 2},
    "hunyuan_v1_moe": {"n_shared_experts": 1},  # the class always builds one
    "dots1": {"num_key_value_heads": 32, "n_shared_experts": 0, "first_k_dense_replace": 0},
    "olmoe": {"num_key_value_heads": 16, "num_experts": 64, "num_experts_per_tok": 8},
    "olmo3": {"sliding_window": 4096},
    "cohere2": {"sliding_window": 4096},
    "exaone4": {"num_key_value_heads": 32, "sliding_window": 4096},
    "starcoder2": {"num_key_value_heads": 2},
    "ernie4_5": {"num_key_value_heads": 2, "head_dim": 128},
    "ernie4_5_moe": {
        "num_key_value_heads": 4, "num_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1536,
        "n_shared_experts": 2, "first_k_dense_replace": 1,
    },
    "seed_oss": {"num_key_value_heads": 8, "head_dim": 128},
    "smollm3": {"num_key_value_heads": 4},
    "lfm2": {"num_key_value_heads": 8},
    "lfm2_moe": {
        "num_key_value_heads": 8, "num_experts": 32, "num_experts_per_tok": 4, "moe_intermediate_size": 1792,
        "first_k_dense_replace": 2,
    },
    "stablelm": {"num_key_value_heads": 32},
    "bitnet": {"num_key_value_heads": 5},
    "helium": {"num_key_value_heads": 20, "head_dim": 128},
    "afmoe": {
        "head_dim": 128, "num_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
        "n_shared_experts": 2, "first_k_dense_replace": 1, "sliding_window": 1024,
    },
    "solar_open": {
        "num_key_value_heads": 8, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
        "moe_intermediate_size": 1280, "n_shared_experts": 1,
    },
}  # fmt: skip
# Configs of these never name the heads of keys and values: each has its own, or the family's code decides.
NO_KV_FIELD = frozenset({
    "gpt2", "gpt_neo", "gpt_neox", "gptj", "gpt_bigcode", "opt", "bloom", "mpt", "phi", "phi3small", "qwen",
    "chatglm", "internlm", "baichuan", "olmo", "qwen2_vl", "qwen2_5_vl",
})  # fmt: skip
# Where a layer has attention or a state is different in each release of these, so a config has to say it.
LAYERS_SAID_BY = {
    "nemotron_h": ("hybrid_override_pattern", "layers_block_type"),
    "kimi_linear": ("linear_attn_config", "layer_types"),
    "granitemoehybrid": ("layer_types", "layers_block_type"),
    "minimax_text_01": ("attn_type_list", "layer_types"),
    "minimax_m1": ("attn_type_list", "layer_types"),
    "lfm2": ("layer_types", "full_attn_idxs"),
    "lfm2_moe": ("layer_types", "full_attn_idxs"),
}
# Keys of a few families; the classes of all others pass over them.
READ_ONLY_BY = {
    "ffn_config": ("dbrx",),
    "attn_config": ("dbrx", "mpt"),
    "hybrid_override_pattern": ("nemotron_h",),
    "layers_block_type": ("nemotron_h", "granitemoehybrid", "jamba", "bamba"),
}
