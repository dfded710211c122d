"""What a quantiser left at 16 bits, as the lists of released models write it."""

from __future__ import annotations

from typing import Any

import pytest

from apps.planning.kept_modules import MODULES, kept_shares

ALL_OF_ATTENTION = {name: 1.0 for name, module in MODULES.items() if module.startswith("self_attn.")}


@pytest.mark.parametrize(
    ("quantization", "kept"),
    [
        ({"ignore": ["lm_head"]}, {}),
        ({"modules_to_not_convert": ["self_attn"]}, ALL_OF_ATTENTION),
        ({"ignored_layers": [f"model.layers.{layer}.self_attn.q_proj" for layer in (0, 1, 9)]}, {"attn_q": 0.3}),
        ({"exclude_modules": ["*o_proj"]}, {"attn_output": 1.0}),
        ({"ignore": [r"re:.*shared_experts\.gate_proj$"]}, {"ffn_gate_shexp": 1.0}),
        ({"ignore": ["mlp.gate"]}, {}),  # the router, which is not gate_proj
        ({"ignore": "lm_head"}, {}),
        (None, {}),
    ],
)
def test_what_is_named_is_kept(quantization: Any, kept: dict[str, float]) -> None:
    assert kept_shares(quantization, 10) == kept


def test_a_layer_that_is_listed_twice_counts_once_and_one_that_is_not_there_never() -> None:
    entries = [f"model.layers.{layer}.mlp.down_proj" for layer in (3, 3, 10, 99)]
    assert kept_shares({"ignore": entries}, 10) == {"ffn_down": 0.1}


def test_a_first_layer_that_is_left_alone_whole_counts_for_every_matrix() -> None:
    assert kept_shares({"ignore": ["model.layers.0."]}, 4) == dict.fromkeys(MODULES, 0.25)


@pytest.mark.parametrize("hostile", ["re:(.*,)*x", "re:(e|.)*(.|e)*Z", "re:.*.*.*.*Z", "re:a?b?c?d?", "re:("])
def test_an_expression_that_could_take_for_ever_is_left_out(hostile: str) -> None:
    assert kept_shares({"ignore": [hostile, "q_proj"]}, 10) == {"attn_q": 1.0}
