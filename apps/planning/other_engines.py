"""Engines by what people call them, and those of whose memory no logs are at hand: vLLM's rules stand in for theirs.

SGLang keeps a static share of the GPU for weights and cache and leaves the rest to activations and graphs; TGI sizes
its cache by a warm-up as vLLM does; transformers keeps a cache as long as each request. All hold the same weights and
the same bytes a token, so what differs is the overhead.
"""

from __future__ import annotations

import re

from apps.planning.overhead import parse_version

VLLM, LLAMA_CPP, TRANSFORMERS = "vLLM", "llama.cpp", "transformers"
_WORDS = (
    (r"vllm", VLLM),
    (r"llama[ ._-]?cpp|ollama|llamafile|lm[ _-]?studio|kobold", LLAMA_CPP),
    (r"sglang", "SGLang"),
    (r"\btgi\b|text[ _-]generation[ _-]inference", "TGI"),
    (r"transformers", TRANSFORMERS),
    (r"\btrt|tensor[ _-]?rt", "TensorRT-LLM"),
)


def read_engine(text: str) -> str:
    """The engine's name from free text such as "vLLM 0.11" or "ollama"; empty for none, other text as it is."""
    for pattern, name in _WORDS:
        if re.search(pattern, text, re.I):
            return name
    return text.strip()[:40]


def engine_notes(engine: str, version: str, *, is_gguf: bool = False) -> tuple[str, ...]:
    """What is only assumed: of a version that says nothing, of an engine other than vLLM, and of GGUF in it."""
    notes = []
    if engine not in ("", VLLM, LLAMA_CPP):
        notes.append(f"The rules of vLLM stand in for {engine}: weights and cache are alike, the overhead is a guess.")
    if is_gguf and engine == TRANSFORMERS:
        notes.append("transformers widens a GGUF file to 16 bits while it loads.")
    elif is_gguf and engine not in ("", LLAMA_CPP):
        notes.append(
            f"{engine} reads GGUF files on trial only, slower than its own formats; llama.cpp is made for them."
        )
    runs_vllm = engine == VLLM or (not engine and not is_gguf)
    if version and runs_vllm and parse_version(version) is None:
        notes.append(f"engine_version {version[:40]!r} names no version of vLLM; the rules of the newest are used.")
    if version and not runs_vllm:
        notes.append(f"{engine or LLAMA_CPP} {version[:40]}: the version is noted, not applied; only vLLM's are known.")
    return tuple(notes)
