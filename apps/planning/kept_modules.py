"""Which matrices a quantised model keeps at 16 bits, from the quantization_config in its config.json.

Quantisers name what they left alone under several keys; entries are module names, parts of them, patterns with *
or regular expressions after "re:".
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_KEYS = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "exclude", "skip_modules")
_ENTRIES = 5000
# A card is anybody's: what a pattern could cost is bounded, what names more than quantisers do is left out.
_PATTERNS, _QUANTIFIERS = 32, 3

# ModelOpt names a module of one layer and all within it by a star, which the name alone says as well.
_ALL_WITHIN = re.compile(r"^((?:\w+\.)*layers\.\d+\.[\w.]+?)\.?\*$")

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

_BESIDE_MLP = {
    name: module.removeprefix("mlp.") for name, module in MODULES.items() if module.startswith("mlp.experts.")
}


def kept_shares(quantization: Mapping[str, Any] | None, layers: int, family: str = "") -> dict[str, float]:
    """Matrix name -> share of its layers that stay at 16 bits; names without a share are left out."""
    entries = _entries(quantization)
    if not entries:
        return {}
    listed = _layers_by_part(each for each in entries if not each.startswith("re:") and "*" not in each)
    patterns = [each for each in entries if each.startswith("re:") or "*" in each][:_PATTERNS]
    compiled = [found for each in patterns if (found := _compiled(each))]
    modules = MODULES | (_BESIDE_MLP if family == "gemma4_text" else {})
    shares = {name: _share(module, listed, compiled, layers) for name, module in modules.items()}
    return {name: share for name, share in shares.items() if share}


def _entries(quantization: Mapping[str, Any] | None) -> list[str]:
    if not isinstance(quantization, Mapping):
        return []
    for key in _KEYS:
        value = quantization.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            named = [each for each in value[:_ENTRIES] if isinstance(each, str) and len(each) < 200]
            return [_ALL_WITHIN.sub(r"\1", each) for each in named]
    return []


def _compiled(entry: str) -> re.Pattern[str] | None:
    if not entry.startswith("re:"):
        return re.compile(fnmatch.translate(f"*{entry}*"))
    text = entry[3:]
    # Nested or long repetition could take for ever; such an expression is left out.
    if re.search(r"[+*)][+*{]", text.replace(".*", "").replace(".+", "")):
        return None
    if len(re.findall(r"[*+{]|(?<!\()\?", text)) > _QUANTIFIERS:
        return None
    try:
        return re.compile(text)
    except re.error:
        return None


def _layers_by_part(entries: Iterable[str]) -> dict[str, set[int] | None]:
    """Module, or part of it -> the layers that name it; None: all of them."""
    found: dict[str, set[int] | None] = {}
    for entry in entries:
        in_layer = re.search(r"layers\.(\d+)\.?(.*)", entry)
        if in_layer is None:
            found[entry] = None
        elif (named := found.setdefault(in_layer[2], set())) is not None:
            named.add(int(in_layer[1]))
    return found


def _share(module: str, listed: dict[str, set[int] | None], patterns: list[re.Pattern[str]], layers: int) -> float:
    middle = f"model.layers.{layers // 2}.{module}"
    covering = [named for part, named in listed.items() if _covers(part, module)]
    if None in covering or any(each.match(middle) for each in patterns):
        return 1.0
    single = {layer for named in covering if named for layer in named if layer < layers}
    return len(single) / layers if layers else 0.0


def _covers(part: str, module: str) -> bool:
    """True where `part` names the module or something around it; "mlp.gate" is the router, not gate_proj."""
    return not part or f".{part}." in f".{module}."
