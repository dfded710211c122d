"""Numbers as they stand in a sentence."""

from __future__ import annotations

GIB = 1024**3


def count_of(count: int, noun: str, plural: str = "") -> str:
    """1 host, 2 hosts."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def gib(size_bytes: float) -> str:
    """GiB with one decimal below 100: `5.1 GiB`."""
    value = size_bytes / GIB
    return f"{value:,.1f} GiB" if value < 100 else f"{value:,.0f} GiB"


def gpu_name(name: str) -> str:
    """Without the maker, which stands for nothing beside other GPUs: `A100-SXM4-80GB`."""
    return name.removeprefix("NVIDIA ").removeprefix("GeForce ")


def listed(parts: list[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
