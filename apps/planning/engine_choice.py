"""Which engine for these requirements: who can do it, who cannot and why. Archived engines are never recommended."""

from __future__ import annotations

from dataclasses import dataclass

from apps.planning.precisions import read_precision
from apps.planning.stack_map import ServingEngine, stack_map

_ORDER = {"vllm": 0, "sglang": 1, "llama.cpp": 2, "ollama": 3, "transformers": 4}
_FOR_FEW = {"llama.cpp": 0, "ollama": 1, "vllm": 2, "sglang": 3, "transformers": 4}
_FOR_GGUF = {"llama.cpp": 0, "ollama": 1, "vllm": 2, "sglang": 3}
_UNQUANTISED = ("bf16", "fp16", "fp32")
FEW_REQUESTS = 4


@dataclass(frozen=True, slots=True)
class Requirements:
    """What is asked of an engine; `hardware` is nvidia, amd, cpu or mac."""

    hardware: str = "nvidia"
    model_format: str = "safetensors"
    precision: str = "bf16"
    concurrency: int = 16
    needs_lora: bool = False
    needs_structured_output: bool = False
    needs_multi_node: bool = False
    needs_speculative_decoding: bool = False


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`refusals` empty: it can. `reasons` say what speaks for it."""

    engine: ServingEngine
    reasons: tuple[str, ...]
    refusals: tuple[str, ...]


def recommend_engines(asked: Requirements) -> list[EngineChoice]:
    """Engines that can do it first, the best of them on top; then those that cannot, with the reason."""
    order = _FOR_FEW if asked.concurrency <= FEW_REQUESTS and asked.hardware in ("cpu", "mac") else _ORDER
    order = _FOR_GGUF if asked.model_format == "gguf" else order
    choices = [
        EngineChoice(each, _reasons(each, asked), _refusals(each, asked)) for each in stack_map().serving_engines
    ]
    return sorted(choices, key=lambda each: (bool(each.refusals), order.get(each.engine.name, 9)))


def _refusals(engine: ServingEngine, asked: Requirements) -> tuple[str, ...]:
    precision = read_precision(asked.precision)
    kind = "gguf" if precision.gguf else precision.name
    checks = [
        (engine.status == "archived", engine.status_note),
        (asked.hardware not in engine.hardware, f"does not run on {asked.hardware}"),
        (asked.model_format not in engine.formats, f"does not load {asked.model_format} files"),
        (kind not in (*_UNQUANTISED, *engine.quantisations), f"does not load {kind} weights"),
        (kind in engine.not_on.get(asked.hardware, ()), f"does not load {kind} weights on {asked.hardware}"),
        (asked.needs_lora and not engine.lora, "does not serve LoRA adapters"),
        (asked.needs_structured_output and not engine.structured_output, "has no structured output"),
        (asked.needs_multi_node and not engine.multi_node, "does not span hosts"),
        (asked.needs_speculative_decoding and not engine.speculative_decoding, "has no speculative decoding"),
    ]
    return tuple(words for refused, words in checks if refused)


def _reasons(engine: ServingEngine, asked: Requirements) -> tuple[str, ...]:
    found = [engine.key_feature]
    if asked.concurrency > FEW_REQUESTS and engine.high_concurrency:
        found.append(f"batches {asked.concurrency} requests continuously")
    if asked.concurrency > FEW_REQUESTS and not engine.high_concurrency:
        found.append("answers many requests at once slowly")
    if asked.model_format == "gguf" and "safetensors" in engine.formats:
        found.append("loads GGUF as an extra; safetensors is what it is made for")
    if engine.prefix_caching:
        found.append("keeps shared prefixes")
    return tuple(found)
