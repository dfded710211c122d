"""Which matrices a quantised model keeps at 16 bits, from the quantization_config in its config.json.

Quantisers name what they left alone under four keys; entries are module names, parts of them, patterns with *
or regular expressions after "re:".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

_KEYS = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules")
_ENTRIES = 5000

# The module that holds each matrix, as transformers names it.
MODULES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_a": "self_attn.q_a_proj", "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "attn_kv_b": "self_attn.kv_b_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "ffn_gate_exps": "mlp.experts.0.gate_proj", "ffn_up_exps": "mlp.experts.0.up_proj",
    "ffn_down_exps": "mlp.experts.0.down_proj", "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj", "ffn_down_shexp": "mlp.shared_experts.down_proj",
    "ssm_in": "linear_attn.in_proj_qkvz", "ssm_ba": "linear_attn.in_proj_ba", "ssm_out": "linear_attn.out_proj",
}  # fmt: skip


def kept_shares(quantization: Mapping[str, Any] | None, layers: int) -> dict[str, float]:
    """Matrix name -> share of its layers that stay at 16 bits; names without a share are left out."""
    entries = _entries(quantization)
    if not entries:
        return {}
    plain = [each for each in entries if not each.startswith("re:") and "*" not in each]
    patterns = [re.compile(fnmatch.translate(f"*{each}*")) for each in entries if "*" in each and each[:3] != "re:"]
    patterns += [compiled for each in entries if each.startswith("re:") and (compiled := _compiled(each[3:]))]
    shares: dict[str, float] = {}
    for name, module in MODULES.items():
        share = _share(module, plain, patterns, layers)
        if share:
            shares[name] = share
    return shares


def _entries(quantization: Mapping[str, Any] | None) -> list[str]:
    if not isinstance(quantization, Mapping):
        return []
    for key in _KEYS:
        value = quantization.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [each for each in value[:_ENTRIES] if isinstance(each, str) and len(each) < 200]
    return []


def _compiled(text: str) -> re.Pattern[str] | None:
    # Nested repetition could take for ever on a hostile pattern; such a pattern is left out.
    if re.search(r"[+*)][+*{]", text.replace(".*", "").replace(".+", "")):
        return None
    try:
        return re.compile(text)
    except re.error:
        return None


def _share(module: str, plain: list[str], patterns: list[re.Pattern[str]], layers: int) -> float:
    middle = f"model.layers.{layers // 2}.{module}"
    if any(each.search(middle) for each in patterns):
        return 1.0
    single: set[int] = set()
    for entry in plain:
        found = re.search(r"layers\.(\d+)\.?(.*)", entry)
        part = found[2] if found else entry
        if not _covers(part, module):
            continue
        if found is None:
            return 1.0
        single.add(int(found[1]))
    return len(single) / layers if layers else 0.0


def _covers(part: str, module: str) -> bool:
    """True where `part` names the module or something around it; "mlp.gate" is the router, not gate_proj."""
    if not part:
        return True
    steps = module.split(".")
    asked = part.split(".")
    return any(steps[start : start + len(asked)] == asked for start in range(len(steps)))
