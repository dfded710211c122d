"""Configs of well-known models, so that a question can be answered without a network.

`reference_models.json` holds what memory depends on, with the source of each row; `also` names later trainings of the
same shape. Names are found whatever their case, publisher or suffix: a quantised release (-AWQ, -FP8, -GGUF) is its
base at that precision, and Ollama's qwen3:8b is Qwen3-8B.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from apps.planning.shapes import CannotEstimate

_FILE = Path(__file__).with_name("reference_models.json")
# Suffixes of quantised releases, and the precision each one means.
_QUANTISED = (
    (r"-bf16", "bf16"), (r"-fp?16", "fp16"), (r"-?fp8-w8a8", "fp8"),
    (r"-?(auto-?round-)?gptq-?(int8|8bit)|-?(quantized\.)?w8a8(-fp8)?|-?int8|-8bit", "int8"),
    (r"-?(auto-?round-)?gptq(-?int4|-4bit)?(-.*)?|-?(quantized\.)?w4a16.*|-?auto-?round", "int4-gptq"),
    (r"-awq-8bit", "int8"), (r"-?awq(-int4|-4bit)?|-int4-awq", "int4-awq"),
    (r"-?bnb-4bit|-unsloth-bnb-4bit", "nf4"), (r"-?bnb-8bit", "int8"), (r"-?nvfp4(a16)?|-?fp4", "nvfp4"),
    (r"-?fp8(-dynamic|-kv|-block|-static.*)?", "fp8"), (r"-?mxfp4", "mxfp4"), (r"-?int4|-4bit", "int4"),
    (r"(-qat-q4-0)?-?gguf", ""),
)  # fmt: skip
# Qwen's own FP8 releases all have this quantization_config.
_QWEN_FP8, _BLOCKS = re.compile(r"(qwen/)?qwen3[^/]*-fp8"), {"quant_method": "fp8", "weight_block_size": [128, 128]}
_DRESSES = ("instruct", "chat", "it", "hf", "bf16")
_DRESS = re.compile(r"-(hf|instruct|chat|it|base|pt|thinking|instruct-hf|chat-hf|preview)$")


@dataclass(frozen=True, slots=True)
class Reference:
    """A row of the catalogue as it was asked for; `precision` where the name says one."""

    model_id: str
    config: Mapping[str, Any]
    precision: str
    source: str
    is_sibling: bool = False  # something like it stands in for it


def reference_model(model_id: str) -> Reference:
    """The row of that name. Raises CannotEstimate with the nearest names."""
    asked = _plain(model_id)
    rows = _by_name()
    found = rows.get(asked)
    if found:
        return Reference(found["id"], found["config"], _own_precision(found["config"]), found["source"])
    bare, precision = _without_quantisation(asked)
    for name in (bare, _DRESS.sub("", bare), *(f"{bare}-{dress}" for dress in _DRESSES)):
        row = rows.get(name) or _dressed().get(name)
        if row:
            return _as_asked(row, precision, _BLOCKS if _QWEN_FP8.fullmatch(model_id.lower()) else None)
    typical = _typical(bare)
    if typical:
        title = f"a typical model of {bare.upper()}"
        return Reference(title, typical, precision, "no model in particular", is_sibling=True)
    sibling = _sibling(bare)
    if sibling:
        return replace(_as_asked(rows[sibling], precision), is_sibling=True)
    near = get_close_matches(bare, rows, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(rows[each]['id'] for each in near)}?" if near else ""
    raise CannotEstimate(
        f"Model {model_id[:80]!r} is not in the reference catalogue.{hint} Or give its config.json as config."
    )


def _as_asked(row: dict[str, Any], precision: str, stored: dict[str, Any] | None = None) -> Reference:
    """The row, at another precision than its own where the name asked for one; `stored`: how it is quantised."""
    config = dict(row["config"])
    if precision:
        config.pop("quantization_config", None)
    if stored:
        config["quantization_config"] = stored
    return Reference(row["id"], config, precision or _own_precision(config), row["source"])


def reference_names() -> list[str]:
    return [row["id"] for row in _rows()]


@cache
def _rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(_FILE.read_text())
    return rows


@cache
def _by_name() -> dict[str, dict[str, Any]]:
    """Rows by their own names and by those of releases with the same config ("also")."""
    names = {_plain(name): row for row in _rows() for name in row.get("also", ())}
    return names | {_plain(row["id"]): row for row in _rows()}


@cache
def _dressed() -> dict[str, dict[str, Any]]:
    """Rows by their name without -Instruct and its like; the first of a name stays."""
    found: dict[str, dict[str, Any]] = {}
    for name, row in _by_name().items():
        found.setdefault(_DRESS.sub("", name), row)
    return found


def _sibling(name: str) -> str:
    """A release of the same line and size with another minor number, such as Qwen3.5-27B for Qwen3.6-27B."""
    found = re.match(r"(qwen\d|glm-\d|kimi-k\d|deepseek-v\d|minimax-m\d|llama-\d|phi-\d|granite-\d)\.\d+(.*)$", name)
    if not found:
        return ""
    rest = _DRESS.sub("", found[2]) or found[2]
    line = re.compile(re.escape(found[1]) + r"(\.\d+)?" + re.escape(rest) + "$")
    return next((each for each in sorted(_by_name(), reverse=True) if line.match(_DRESS.sub("", each))), "")


# Layers and width of plain transformers by size, as GPT-3's table gives them (arXiv 2005.14165) and others follow.
_TYPICAL = {0.125: (12, 768), 0.35: (24, 1024), 1.3: (24, 2048), 2.7: (32, 2560), 6.7: (32, 4096), 13.0: (40, 5120),
            30.0: (48, 7168), 66.0: (64, 9216), 175.0: (96, 12288)}  # fmt: skip


def _typical(name: str) -> dict[str, Any] | None:
    """A config for a mere size such as "7B" or "350M"; None for any other name."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bm])", name)
    if not found:
        return None
    billions = float(found[1]) / (1 if found[2] == "b" else 1000)
    size = min(_TYPICAL, key=lambda each: abs(math.log(each / max(billions, 1e-3))))
    layers, width = _TYPICAL[size]
    shape = {"n_layers": round(layers * billions / size) or 1, "d_model": width, "n_heads": width // 64}
    return {"model_type": "mpt", "vocab_size": 50_368, "max_seq_len": 32_768, **shape}


def _plain(model_id: str) -> str:
    name = re.sub(r"\(.*?\)|\b(class|fine-?tune|dummy weights)\b", "", model_id.lower()).strip()
    name = re.sub(r"[_ ]", "-", name).rstrip("/").rpartition("/")[2]
    name = re.sub(r":(?=\d+x?[\d.]*[bm]\b)", "-", name)  # Ollama's tags: llama3.1:8b
    return re.sub(r"^(meta-)?(llama|gemma)-?(?=\d)", r"\2-", name)


def _without_quantisation(name: str) -> tuple[str, str]:
    for pattern, precision in _QUANTISED:
        found = re.search(rf"({pattern})$", name)
        if found and found.start() > 0:
            return name[: found.start()], precision
    return name, ""


def _own_precision(config: Mapping[str, Any]) -> str:
    """What the config's own quantization_config makes of the weights; empty for plain ones."""
    own = config.get("quantization_config")
    method = str(own.get("quant_method", "")) if isinstance(own, Mapping) else ""
    if method == "compressed-tensors":
        return str(own.get("format", "")) if own and own.get("format") == "int4-g32" else ""
    return {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4", "awq": "int4-awq", "gptq": "int4-gptq"}.get(method, "")
