"""What a model reads besides text, by the parts that its config.json names.

The names are those of the configs of transformers 5.19 and of the makers' own code (Qwen, LLaVA, Phi, MiniCPM).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IMAGE_PARTS = ("vision_config", "visual", "vision_tower", "mm_vision_tower", "img_processor", "thinker_config")
AUDIO_PARTS = ("audio_config", "audio_processor", "speech_config", "thinker_config")


def inputs_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """text, image, audio: those that the config has parts for."""
    found = {"image": IMAGE_PARTS, "audio": AUDIO_PARTS}
    return ("text", *(name for name, parts in found.items() if any(part in config for part in parts)))
