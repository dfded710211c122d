"""Engines of whose memory no logs are at hand: vLLM's rules stand in for theirs, with low confidence.

SGLang keeps a static share of the GPU for weights and cache and leaves the rest to activations and graphs; TGI sizes
its cache by a warm-up as vLLM does; transformers keeps a cache as long as each request. All hold the same weights and
the same bytes a token, so what differs is the overhead.
"""

from __future__ import annotations

from dataclasses import replace

from apps.planning.serving_plan import FitEstimate

_KNOWN = {"sglang": "SGLang", "tgi": "TGI", "transformers": "transformers", "trt-llm": "TensorRT-LLM"}


def for_engine(fit: FitEstimate, engine: str) -> FitEstimate:
    """The estimate as it stands for another engine than vLLM; free text, empty means vLLM."""
    asked = engine.strip().lower().replace("_", "-")
    if asked in ("", "vllm"):
        return fit
    title = _KNOWN.get(asked, engine.strip()[:40])
    note = f"The rules of vLLM stand in for {title}: weights and cache are alike, the overhead is a guess."
    return replace(fit, confidence="low", notes=(*fit.notes, note))
