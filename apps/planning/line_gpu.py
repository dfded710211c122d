"""The GPU of a line, from free text that people write: counts before or behind, and what no size is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from apps.planning.gpu_memory import NamedGpu, read_gpu
from apps.planning.line_fields import text
from apps.planning.shapes import CannotEstimate

# "2x24GB", "2x4090" and "2 RTX 4090"; "H100x8", "24GBx2" and "H100:4".
_COUNT_BEFORE = re.compile(r"([1-9]\d{0,2})(?:\s*[x×*]\s*(?=\d)|\s+(?![x×*]|gi?b)(?=[a-z]))", re.I)
_COUNT_BEHIND = re.compile(r"(.*\d\S*?)[x×*:]([1-9]\d{0,2})", re.I)
_NO_SIZE = re.compile(r"^\s*-|\d[\d.]*e[+-]?\d+\s*gi?b|\d,\d+\s*gi?b", re.I)
_MOBILE = re.compile(r"\blaptop|\bmobile\b|\bmax-?q\b", re.I)
_SIZE = re.compile(r"\d+(?:\.\d+)?\s*gi?b", re.I)


def line_gpu(line: Mapping[str, Any], memory_gib: float | None) -> NamedGpu:
    """Raises CannotEstimate for a GPU that is missing, not known, or of a size that is none."""
    named = text(line, "gpu").strip()
    if not named:
        if memory_gib is None:
            raise CannotEstimate("Give gpu, such as 'H100 80GB', or gpu_memory_gib.")
        return read_gpu(f"{memory_gib}GB class", memory_gib)
    if _NO_SIZE.search(named):
        raise CannotEstimate(f"gpu is {named[:40]!r}; write its memory plainly, such as '24GB class' or 'H100 80GB'.")
    if _MOBILE.search(named):
        return _mobile(named, memory_gib)
    return read_gpu(_with_plain_count(named), memory_gib)


def _with_plain_count(named: str) -> str:
    before, behind = _COUNT_BEFORE.match(named), _COUNT_BEHIND.fullmatch(named)
    if before:
        return f"{before[1]} x {named[before.end() :]}"
    return f"{behind[2]} x {behind[1]}" if behind else named


def _mobile(named: str, memory_gib: float | None) -> NamedGpu:
    """A laptop's chip has another memory and speed than the card of that name, so only its size counts."""
    size = _SIZE.search(named)
    if memory_gib is None and size is None:
        raise CannotEstimate(
            f"gpu is {named[:40]!r}, a laptop's; add its memory, such as '16GB': the card's is another."
        )
    found = read_gpu(f"{memory_gib}GB class" if memory_gib else f"{size[0]} class" if size else "", memory_gib)
    return replace(found, title=named)
