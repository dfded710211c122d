"""The longest context that a model's config.json stands for, as vLLM derives it (vllm config/model.py).

YaRN's is its original length x its factor, linear and dynamic scaling stretch the positions by theirs; Llama 3's,
LongRoPE and Gemma 3 name the stretched length already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apps.planning.config_fields import LARGEST, Fields

_PARTS = ("text_config", "llm_config", "language_config")
_STRETCHED_ALREADY = "gemma3"


def own_context(config: Mapping[str, Any], positions: int) -> int:
    """In tokens; `positions` is what the config names as its positions, and stays where nothing scales it.

    Raises CannotEstimate for an original length that can be none.
    """
    for part in (config, *(config.get(name) for name in _PARTS)):
        if isinstance(part, Mapping) and not str(part.get("model_type", "")).startswith(_STRETCHED_ALREADY):
            for key, scaling in _scalings(part):
                positions = _scaled(key, scaling, positions)
    return positions


def _scalings(part: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in ("rope_scaling", "rope_parameters"):
        found = part.get(key)
        if isinstance(found, Mapping) and "factor" in found:
            yield key, found
            return


def _scaled(key: str, scaling: Mapping[str, Any], positions: int) -> int:
    kind, factor = scaling.get("rope_type") or scaling.get("type"), scaling.get("factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= LARGEST:
        return positions
    if kind == "yarn":
        original = Fields(scaling, {}, within=f"{key}.").count_or("original_max_position_embeddings", 0)
        stretched = (original or positions) * factor
    else:
        stretched = positions * factor if kind in ("linear", "dynamic") else positions
    return int(stretched) if stretched <= LARGEST else positions
