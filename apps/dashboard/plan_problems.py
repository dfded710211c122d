"""Turns what the planner refuses into a problem that names the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from apps.accounts.problems import invalid
from apps.planning.shapes import CannotEstimate

# Words at the start of the planner's sentences, and the field each one is about.
_FIELDS = {
    "GPU": "gpu", "Model": "model_id", "Precision": "precision", "GGUF": "precision", "KV": "kv_cache_dtype",
    "Tensor": "tensor_parallel", "Pipeline": "pipeline_parallel", "config.json": "config", "The architecture": "config",
}  # fmt: skip


@contextmanager
def planning_problems(asked: Mapping[str, Any]) -> Iterator[None]:
    """CannotEstimate becomes Problem 422 about the field of `asked` that its sentence names."""
    try:
        yield
    except CannotEstimate as error:
        sentence = str(error)
        field = next((name for name in asked if sentence.startswith(f"{name} ")), None)
        field = field or next((name for name, given in asked.items() if f"{name} {given} " in sentence), None)
        field = field or next((name for words, name in _FIELDS.items() if sentence.startswith(words)), "model_id")
        value = asked.get(field)
        raise invalid(field, sentence, value=value if isinstance(value, str | int | float | None) else None) from None
