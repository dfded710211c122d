"""How much of a GPU's memory a program can have: what torch reports, a little less than the label says.

The exact figures are those that vLLM and torch print at start (`total_gpu_memory`, `torch.cuda.mem_get_info`);
for other types the usual share is taken: ECC costs GDDR6 cards a sixteenth, drivers keep one or two per cent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches

from apps.planning.gpu_types import GB, GH200_HOST_GB, GPU_TYPES, GpuType, agrees, gpu_type_of
from apps.planning.mig import is_slice, mig_profile, slice_bytes, slice_of
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
    "gh200-96": ("GH200", "96 or 144"), "rtx-4060-ti": ("RTX 4060 Ti", "8 or 16"),
    "rtx-5060-ti": ("RTX 5060 Ti", "8 or 16"), "rtx-3050": ("RTX 3050", "6 or 8"), "rtx-3060": ("RTX 3060", "8 or 12"),
    "rtx-3080": ("RTX 3080", "10 or 12"),
}  # fmt: skip
_MUCH_MORE = 1.15  # times what the type has
# All that may stand beside a mere size, and what shows that a name is one of a known maker's.
_MERE_WORD = re.compile(
    r"an?|any|one|single|each|per|of|or|with|unknown|class|type|gpus?|cards?|device|v?ram|memory|total|usable|nvidia|"
    r"amd|cuda|graphics|consumer|data|center|datacenter|server|hbm\d?e?|gddr\dx?"
)
_MAKERS = re.compile(
    r"\b(?:rtx|gtx|geforce|quadro|titan|tesla|jetson|instinct|radeon|rx|arc|gaudi|ascend|metax|hygon|cambricon|"
    r"mi\d+x?|g?[abhlptv]\d{1,4}[a-z]?)\b"
)


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """A GPU that somebody named in words. `kind` is None for a mere size such as "24GB class".

    `note` says what the words left open, and how they were read; `is_doubtful` that this may be wrong.
    """

    title: str
    kind: GpuType | None
    usable_bytes: int
    count: int = 1
    note: str = ""
    is_doubtful: bool = False

    @property
    def is_slice(self) -> bool:
        return is_slice(self.title)

    def gpus(self, asked: int | None) -> int:
        """How many: as `asked`, or as the name says. Raises CannotEstimate where the two disagree, and for several
        MIG slices, which no engine joins."""
        if self.is_slice and max(asked or 1, self.count) > 1:
            raise CannotEstimate("gpus must be 1 for a MIG slice: an engine can use only one slice.")
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
    if is_slice(name):
        return driver_bytes
    kind = gpu_type_of(name, driver_bytes)
    return round(driver_bytes * _PLAIN_SHARE) if kind is None else min(driver_bytes, usable_bytes(kind))


def read_gpu(text: str, memory_gib: float | None = None) -> NamedGpu:
    """A GPU from free text: "RTX 3090 24GB", "8xH100", "H100 x8", "A100 MIG 1g.5gb", "24GB class".

    `memory_gib` replaces the memory that the name stands for. Raises CannotEstimate for text without a known
    type or a mere size, for a size that no GPU has, and for a MIG profile that the type does not have.
    """
    named = text.strip()[:200]
    count, rest = _count(named)
    rest = _REMARK.sub(" ", _spaced(rest))
    if not memory_gib:
        _check_size(named, rest)
    read = _of_slice if is_slice(rest) else _of_name
    found = read(named, rest, memory_gib)
    if not 0 < found.usable_bytes <= _MOST_BYTES:
        raise _unknown(named, rest)
    return replace(found, count=count)


_REMARK = re.compile(r"\(\s*[^\s()]+(?:\s+[^\s()]+){2,}\s*\)")  # (4.9 GiB used by another process), but not (80GB HBM3)
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


def _left_open(kind: GpuType) -> str:
    """Some types are sold with two sizes; a name that says none is read as the usual one."""
    if kind.key not in _SEVERAL_SIZES:
        return ""
    name, sizes = _SEVERAL_SIZES[kind.key]
    size = round(kind.memory_bytes / GB)
    example = kind.title if f"{size} GB" in kind.title else f"{kind.title} {size} GB"
    return f"{name} comes with {sizes} GB; this is for {size} GB. Say which, as in '{example}'."


def _spaced(text: str) -> str:
    """Spellings such as 2080Ti, RTX4090 and 4090 brought to the words of drivers."""
    text = re.sub(r"(?i)\bdgx\s+spark\b", "GB10", text)
    text = re.sub(r"(?i)(?<![\w.])(\d\d+)g(?=$|[\s,)-])", r"\1GB", text)  # A100 40G, but not A10G
    text = re.sub(r"(?i)\b([45]090)\s?d\b(?!\s?v)", r"\1", text)  # the D has less compute, and the same memory
    text = re.sub(r"(?i)(?<!quadro )\brtx ?8000\b", "Quadro RTX 8000", text)
    spaced = re.sub(r"(?i)\b(rtx|gtx)(?=\d)", r"\1 ", re.sub(r"(?i)(\d{4})ti\b", r"\1 Ti", text))
    spaced = re.sub(r"(?i)(\d)\s+g(i?)b\b", r"\1GB", spaced)
    return spaced if "rtx" in spaced.lower() else re.sub(r"\b([345]0[56789]0)\b", r"RTX \1", spaced)


def _of_slice(named: str, text: str, memory_gib: float | None) -> NamedGpu:
    """Of the sizes of the type that is named, the one that has such a profile."""
    profile, stated = mig_profile(text), _stated_gb(text)
    whole = gpu_type_of(re.sub(r"(?i)\bmig\b", " ", _without_sizes(text)))
    rows = [row for row in _sizes_of(whole) if agrees(row, stated * GB)]
    kinds = [each for each in (slice_of(row, profile) for row in rows) if each] if profile else []
    if not (profile or memory_gib):
        raise CannotEstimate(f"GPU {named!r} names no MIG profile; write it as in 'A100 80GB MIG 3g.40gb'.")
    if not kinds and not memory_gib:
        raise CannotEstimate(
            f"GPU {named!r}: no {whole.title if whole else 'GPU'} has the MIG profile {profile}; give gpu_memory_gib."
        )
    kind = kinds[0] if whole and kinds else None
    return NamedGpu(kind.title if kind else named, kind, round((memory_gib or 0) * GIB) or slice_bytes(profile))


def _sizes_of(kind: GpuType | None) -> list[GpuType]:
    """The rows of the table that differ from `kind` in memory alone; all of them for None."""
    return [row for row in GPU_TYPES if kind is None or row.words == kind.words]


def _of_name(named: str, text: str, memory_gib: float | None) -> NamedGpu:
    kind, stated = gpu_type_of(_without_sizes(text)), _stated_gb(text)
    if kind is None:
        return _of_size(named, text, memory_gib, stated)
    kind = next((row for row in _sizes_of(kind) if stated and agrees(row, stated * GB)), kind)
    has = usable_bytes(kind)
    if memory_gib:
        usable = round(memory_gib * GIB)
        note = f"{kind.title} has {has / GIB:.1f} GiB; this is for the {memory_gib:.1f} that were given."
        return NamedGpu(kind.title, kind, usable, note=note if usable > _MUCH_MORE * has else "")
    if not stated or agrees(kind, stated * GB):
        return NamedGpu(kind.title, kind, has, note="" if stated else _left_open(kind))
    note = f"{kind.title} has {kind.memory_bytes / GB:.0f} GB; this is for the {stated:g} GB that were named."
    return NamedGpu(kind.title, kind, _usable_of_size(stated), note=note, is_doubtful=True)


def _of_size(named: str, text: str, memory_gib: float | None, stated: float) -> NamedGpu:
    """A mere size; or a type that is not in the table, of which only the size that is given counts."""
    is_mere = all(map(_MERE_WORD.fullmatch, re.findall(r"[a-z0-9]+", _without_sizes(text).lower())))
    note = "" if is_mere else (
        f"GPU {named!r} is not known: only its memory counts here. Whether the engine runs on it is not checked."
    )  # fmt: skip
    if memory_gib:
        return NamedGpu(named, None, round(memory_gib * GIB), note=note)
    if not (is_mere or _MAKERS.search(text.lower())):
        raise _unknown(named, text)
    return NamedGpu(named, None, _usable_of_size(stated), note=note, is_doubtful=not is_mere)


def _unknown(named: str, text: str) -> CannotEstimate:
    return CannotEstimate(f"GPU {named!r} is not known. {_nearest(text)} A size such as '24GB class' works too.")


def _without_sizes(text: str) -> str:
    return re.sub(r"(?i)(?:\b\d+g|[\d.]+\s*/)?[\d.]+\s*gi?b\b", " ", text)


def _stated_gb(text: str) -> float:
    """The size that stands in a name, 0 without one; not that of the CPU beside a GH200."""
    found = _SIZE.search(text)
    size = float(found[1]) if found else 0.0
    return 0.0 if "gh200" in text.lower() and size in GH200_HOST_GB else size


def _usable_of_size(size: float) -> int:
    return round(size * _class_share(size) * GIB)


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
