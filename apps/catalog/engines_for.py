"""Which engines that Stackweb starts can serve weights of a format and precision on the hardware here."""

from __future__ import annotations

import re
from functools import lru_cache

from apps.engines.registry import ENGINES, get_engine
from apps.planning.engine_choice import Requirements, recommend_engines
from apps.planning.shapes import CannotEstimate

OUR_NAMES = {"llama.cpp": "llama-cpp"}  # the map's name -> the registry's, which is its environment's too
_AMD = re.compile(r"\b(amd|instinct|radeon|mi\d{2,3}[ax]?)\b", re.I)


def hardware_of(kind: str, device: str) -> str:
    """nvidia, amd or cpu, by a device's kind and product name."""
    if kind != "gpu":
        return "cpu"
    return "amd" if _AMD.search(device) else "nvidia"


@lru_cache(maxsize=500)
def engines_for(weights_format: str, precision: str, hardware: str, *, is_adapter: bool = False) -> tuple[str, ...]:
    """Titles, the best engine first; an unknown precision is judged by the rest."""
    asked = Requirements(hardware, weights_format, precision or "bf16", needs_lora=is_adapter)
    try:
        choices = recommend_engines(asked)
    except CannotEstimate:
        choices = recommend_engines(Requirements(hardware, weights_format, needs_lora=is_adapter))
    able = (each.engine for each in choices if not each.refusals)
    return tuple(engine.title for engine in able if starts(engine.name, is_gguf=weights_format == "gguf"))


def starts(name: str, *, is_gguf: bool) -> bool:
    """Whether Stackweb starts the engine of the map with such files."""
    ours = OUR_NAMES.get(name, name)
    return ours in ENGINES and (get_engine(ours).weights_format == "gguf") == is_gguf
