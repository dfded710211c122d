"""How much of a GPU's memory a program can have: what torch reports, a little less than the label says.

The exact figures are those that vLLM and torch print at start (`total_gpu_memory`, `torch.cuda.mem_get_info`);
for other types the usual share is taken: ECC costs GDDR6 cards a sixteenth, drivers keep one or two per cent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.planning.gpu_types import GPU_TYPES, GpuType, gpu_type_of
from apps.planning.shapes import CannotEstimate

GIB = 2**30

# Printed by torch on such a card, GiB.
USABLE_GIB = {
    "h100-sxm": 79.18, "h100-pcie": 79.18, "h800": 79.18, "a100-sxm-80": 79.15, "a100-pcie-80": 79.15, "a800": 79.15,
    "a100-sxm-40": 39.49, "a100-pcie-40": 39.49, "l4": 22.03, "a10": 22.06, "a10g": 22.06, "rtx-3090": 23.58,
    "rtx-3090-ti": 23.58, "rtx-4090": 23.64, "a5000": 23.58, "t4": 14.74, "v100-32": 31.74, "v100-16": 15.77,
    "rtx-pro-6000": 94.97, "rtx-5090": 31.36, "h200-sxm": 139.81, "h200-nvl": 139.81, "h20": 95.08,
    "h20-141": 139.81, "l40s": 44.40, "l40": 44.40, "a40": 44.43, "rtx-a6000": 47.43, "rtx-6000-ada": 47.37,
    "mi300x": 191.69, "b200": 178.36, "h100-nvl": 93.11, "gh200-96": 94.50, "2080ti-22": 21.66, "2080ti": 10.75,
    "rtx-5080": 15.47, "rtx-4080": 15.69, "l20": 44.40, "gb10": 119.6,
}  # fmt: skip
_ECC_SHARE, _PLAIN_SHARE = 0.925, 0.983
_ECC_CARDS = ("l4", "a2", "a10", "a16", "a40", "l40", "l40s", "t4")
_MOST_BYTES = 2**40  # no device has more
_MIG_GIB = {"1g.5gb": 4.75, "2g.10gb": 9.75, "3g.20gb": 19.62, "1g.10gb": 9.62, "1g.20gb": 19.62, "2g.20gb": 19.62,
            "3g.40gb": 39.25, "4g.40gb": 39.25, "7g.80gb": 79.15, "1g.12gb": 10.75, "2g.24gb": 21.75}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A GPU that somebody named in words. `kind` is None for a mere size such as "24GB class"."""

    title: str
    kind: GpuType | None
    usable_bytes: int
    count: int = 1


def usable_bytes(kind: GpuType) -> int:
    """What torch sees of a whole GPU of that type, in bytes."""
    known = USABLE_GIB.get(kind.key)
    if known is None:
        known = kind.memory_bytes / 1e9 * (_ECC_SHARE if kind.key.startswith(_ECC_CARDS) else _PLAIN_SHARE)
    return round(known * GIB)


def usable_of(name: str, driver_bytes: int) -> int:
    """What torch sees of a GPU by the name and the bytes that its driver gives; a MIG slice is seen whole."""
    kind = gpu_type_of(name, driver_bytes)
    if kind is not None:
        return min(driver_bytes, usable_bytes(kind))
    return driver_bytes if re.search(r"\bMIG\b", name) else round(driver_bytes * _PLAIN_SHARE)


def read_gpu(text: str, memory_gib: float | None = None) -> NamedGpu:
    """A GPU from free text: "RTX 3090 24GB", "8xH100", "A100 MIG 1g.5gb", "24GB class".

    `memory_gib` replaces the memory that the name stands for. Raises CannotEstimate for text without a known
    type or a size.
    """
    named = text.strip()[:200]
    count, rest = _leading_count(named)
    kind, usable = _kind_and_bytes(_spaced(rest))
    if memory_gib:
        usable = round(memory_gib * GIB)
    if not 0 < usable <= _MOST_BYTES:
        raise CannotEstimate(f"GPU {named!r} is not known. {_nearest(rest)} A size such as '24GB class' works too.")
    return NamedGpu(kind.title if kind else named, kind, usable, count)


def _leading_count(text: str) -> tuple[int, str]:
    before = re.match(r"([1-9]\d{0,2})\s*[x×*]\s*(?=\D)", text, re.I)
    if before:
        return int(before[1]), text[before.end() :]
    after = re.search(r"\s[x×*]\s*([1-9]\d{0,2})$", text, re.I)
    return (int(after[1]), text[: after.start()]) if after else (1, text)


def _spaced(text: str) -> str:
    """Spellings such as 2080Ti, RTX4090 and 4090 brought to the words of drivers."""
    text = re.sub(r"(?i)\bdgx\s+spark\b", "GB10", text)
    spaced = re.sub(r"(?i)\b(rtx|gtx)(?=\d)", r"\1 ", re.sub(r"(?i)(\d{4})ti\b", r"\1 Ti", text))
    spaced = re.sub(r"(?i)(\d)\s+g(i?)b\b", r"\1GB", spaced)
    return spaced if "rtx" in spaced.lower() else re.sub(r"\b([345]0[56789]0)\b", r"RTX \1", spaced)


def _kind_and_bytes(text: str) -> tuple[GpuType | None, int]:
    """The type, and the bytes of the whole GPU or of the MIG slice that the text names."""
    mig = re.search(r"\b(\dg\.\d+gb)", text.lower())
    without_size = re.sub(r"(?i)[\d.]+\s*gi?b\b", "", text)
    if mig:
        size = _MIG_GIB.get(mig[1]) or float(mig[1].split(".")[1][:-2]) * 0.96
        return gpu_type_of(without_size), round(size * GIB)
    kind = gpu_type_of(text)
    if kind is not None:
        return kind, usable_bytes(kind)
    kind = gpu_type_of(without_size)
    named = re.search(r"(?i)(\d+(?:\.\d+)?)\s*gi?b", text)
    size = float(named[1]) if named else 0.0
    if size > 0:
        return kind, round(size * _class_share(size) * GIB)
    return kind, usable_bytes(kind) if kind else 0


def _class_share(size: float) -> float:
    return 79.18 / 80 if size >= 80 else _PLAIN_SHARE


def _nearest(text: str) -> str:
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    near = [row.title for row in GPU_TYPES if words & row.words - {"rtx", "nvidia", "pcie", "nvl"}]
    return f"Did you mean {' or '.join(near[:3])}?" if near else "Name a type such as 'H100 80GB' or 'RTX 4090'."
