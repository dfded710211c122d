"""How much of a GPU's memory a program can have: what torch reports, a little less than the label says.

The exact figures are those that vLLM and torch print at start (`total_gpu_memory`, `torch.cuda.mem_get_info`);
for other types the usual share is taken: ECC costs GDDR6 cards a sixteenth, drivers keep one or two per cent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

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
_ANY_CARD = {"rtx", "nvidia", "pcie", "nvl", "laptop", "pro", "super", "ti"}
_MOST_BYTES = 2**40  # no device has more
_SEVERAL_SIZES = {
    "a100-sxm-80": ("A100", "40 or 80"), "a100-pcie-80": ("A100 PCIe", "40 or 80"), "v100-32": ("V100", "16 or 32"),
    "gh200-96": ("GH200", "96 or 144"),
}  # fmt: skip
_MIG_GIB = {"1g.5gb": 4.75, "2g.10gb": 9.75, "3g.20gb": 19.62, "1g.10gb": 9.62, "1g.20gb": 19.62, "2g.20gb": 19.62,
            "3g.40gb": 39.25, "4g.40gb": 39.25, "7g.80gb": 79.15, "1g.12gb": 10.75, "2g.24gb": 21.75}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A GPU that somebody named in words. `kind` is None for a mere size such as "24GB class".

    `note` says what the words left open, and how they were read.
    """

    title: str
    kind: GpuType | None
    usable_bytes: int
    count: int = 1
    note: str = ""

    def gpus(self, asked: int | None) -> int:
        """How many: as `asked`, or as the name says. Raises CannotEstimate where the two disagree."""
        if asked is not None and self.count not in (1, asked):
            raise CannotEstimate(f"gpu names {self.count} of them, gpus says {asked}; write the count in gpus alone.")
        return asked or self.count


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
    """A GPU from free text: "RTX 3090 24GB", "8xH100", "H100 x8", "A100 MIG 1g.5gb", "24GB class".

    `memory_gib` replaces the memory that the name stands for. Raises CannotEstimate for text without a known
    type or a size, and for a size that no GPU has.
    """
    named = text.strip()[:200]
    count, rest = _count(named)
    rest = _spaced(rest)
    if not memory_gib:
        _check_size(named, rest)
    kind, usable = _kind_and_bytes(rest)
    note = "" if memory_gib else _left_open(rest, kind)
    if memory_gib:
        usable = round(memory_gib * GIB)
    if not 0 < usable <= _MOST_BYTES:
        raise CannotEstimate(f"GPU {named!r} is not known. {_nearest(rest)} A size such as '24GB class' works too.")
    return NamedGpu(kind.title if kind else named, kind, usable, count, note)


_COUNTS = (
    r"^(?P<n>[1-9]\d{0,2})\s*[x×*]\s*(?=\w)",  # 8xH100, 2x24GB
    r"^(?P<n>[1-9]\d?)\s+(?=[a-z])(?!gi?b\b)",  # 8 H100
    r"(?<=[\d\s])(?<!mi\d\d\d)[x×*]\s*(?P<n>[1-9]\d{0,2})$",  # H100 x8, H100x8
    r"(?:(?<=\d[sx])|(?<=gb))[x×*]\s*(?P<n>[1-9]\d{0,2})$",  # L40Sx2, MI300Xx8, 24GBx2
    r"(?<=\w):(?P<n>[1-9]\d{0,2})$",  # H100:4
    r"[,(]?\s*\b(?P<n>[1-9]\d{0,2})\s*(?:gpus?|cards?)\b\)?",  # H100 (8 GPUs)
)


def _count(text: str) -> tuple[int, str]:
    """The number of GPUs that a name holds, and the name without it."""
    for pattern in _COUNTS:
        found = re.search(pattern, text, re.I)
        if found:
            return int(found["n"]), (text[: found.start()] + text[found.end() :]).strip()
    return 1, text


_SIZE = re.compile(r"(?i)(?<![\w.,])(\d+(?:\.\d+)?)\s*gi?b\b")


def _check_size(named: str, text: str) -> None:
    """Raises CannotEstimate for "-5GB", "0GB", "1e9GB" and their like, which part of would read as a size."""
    stated = re.search(r"(?i)[^\s,(]*\d\s*gi?b\b", text)
    if stated is None or re.search(r"(?i)\dg\.\d+gb", text):
        return
    found = _SIZE.search(text)
    negative = re.search(r"(?:^|\s)-\s*[\d.]+\s*gi?b", text, re.I)
    if found is None or negative or not 0 < float(found[1]) * GIB <= _MOST_BYTES:
        raise CannotEstimate(f"GPU {named!r} states a size that no GPU has; write it as in '24GB class'.")


def _left_open(text: str, kind: GpuType | None) -> str:
    """A100 and V100 are sold with two sizes; a name that says none is read as the usual one."""
    if kind is None or kind.key not in _SEVERAL_SIZES or re.search(r"(?i)\d\s*gi?b\b", text):
        return ""
    name, sizes = _SEVERAL_SIZES[kind.key]
    return (
        f"{name} comes with {sizes} GB; this is for {kind.memory_bytes / 1e9:.0f} GB. Say which, as in '{kind.title}'."
    )


def _spaced(text: str) -> str:
    """Spellings such as 2080Ti, RTX4090 and 4090 brought to the words of drivers."""
    text = re.sub(r"(?i)\bdgx\s+spark\b", "GB10", text)
    text = re.sub(r"(?i)(?<![\w.])(\d\d+)g(?=$|[\s,)-])", r"\1GB", text)  # A100 40G, but not A10G
    text = re.sub(r"(?i)\b([45]090)\s?d\b(?!\s?v)", r"\1", text)  # the D has less compute, and the same memory
    text = re.sub(r"(?i)(?<!quadro )\brtx ?8000\b", "Quadro RTX 8000", text)
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
    named = _SIZE.search(text)
    size = float(named[1]) if named else 0.0
    if size > 0:
        return kind, round(size * _class_share(size) * GIB)
    return kind, usable_bytes(kind) if kind else 0


def _class_share(size: float) -> float:
    return 79.18 / 80 if size >= 80 else _PLAIN_SHARE


def _nearest(text: str) -> str:
    lowered = text.lower()
    if re.search(r"\bapple\b|\bm[1-9]\b(?: pro| max| ultra)?", lowered):
        return "A Mac's GPU shares the Mac's memory: give gpu_memory_gib, what of it the GPU may take."
    words = set(re.findall(r"[a-z0-9]+", lowered))
    near = [row.title for row in GPU_TYPES if words & row.words - _ANY_CARD]
    titles = {row.title.lower(): row.title for row in GPU_TYPES}
    near = near or [titles[each] for each in get_close_matches(lowered, titles, n=3, cutoff=0.7)]
    return f"Did you mean {' or '.join(near[:3])}?" if near else "Name a type such as 'H100 80GB' or 'RTX 4090'."
