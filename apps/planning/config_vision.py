"""The vision part of a multimodal model, as far as its own config tells: a plain vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.planning.config_fields import LARGEST
from apps.planning.shapes import Matrix


def vision_matrices(config: Mapping[str, Any]) -> list[Matrix]:
    """One matrix that stands for the whole part; none where the config names no sizes."""
    vision = config.get("vision_config")
    if not isinstance(vision, Mapping):
        return []
    hidden, layers = _size(vision, "hidden_size", "embed_dim", "width"), _size(vision, "num_hidden_layers", "depth")
    if not hidden or not layers:
        return []
    inner = _size(vision, "intermediate_size") or round(hidden * (_ratio(vision) or 4))
    gated = 3 if "qwen2_5_vl" in str(config.get("model_type")) else 2
    patch = _size(vision, "patch_size") or 14
    channels = _size(vision, "in_channels", "num_channels", "in_chans") or 3
    parameters = layers * (4 * hidden * hidden + gated * hidden * inner) + hidden * channels * patch * patch
    return [Matrix("vision", parameters, 1, 1, 1)]


def _size(vision: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = vision.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST:
            return value
    return 0


def _ratio(vision: Mapping[str, Any]) -> float:
    value = vision.get("mlp_ratio")
    return float(value) if isinstance(value, int | float) and 0 < value < 100 else 0.0
