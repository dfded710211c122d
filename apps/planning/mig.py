"""Slices of a GPU that is cut with MIG: which profiles a type can be cut into, and what each has of the whole.

Memory is dealt in eighths and compute in sevenths, both in quarters on the A30 and the RTX PRO 6000: NVIDIA MIG User
Guide, "Supported MIG Profiles". A profile's name rounds its memory to whole GB.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from apps.planning.gpu_types import GB, GpuType, gpu_type_of, mig_share

# Compute slices -> the parts of the memory that they come with.
_EIGHTHS = {1: (1 / 8, 2 / 8), 2: (2 / 8,), 3: (4 / 8,), 4: (4 / 8,), 7: (1.0,)}
_QUARTERS = {1: (1 / 4,), 2: (2 / 4,), 4: (1.0,)}
_IN_EIGHTHS = ("a100", "a800", "h100", "h200", "h800", "h20", "gh200", "b200", "gb200", "b300", "gb300")
_IN_QUARTERS = ("a30", "rtx-pro-6000")
# What torch sees of a slice, GiB, where it was read; of others the usual share of the name's GB.
_SEEN_GIB = {"1g.5gb": 4.75, "2g.10gb": 9.75, "3g.20gb": 19.62, "1g.10gb": 9.62, "1g.20gb": 19.62, "2g.20gb": 19.62,
             "3g.40gb": 39.25, "4g.40gb": 39.25, "7g.80gb": 79.15, "1g.12gb": 10.75, "2g.24gb": 21.75}  # fmt: skip
_USUAL_SHARE = 0.96


def mig_profile(text: str) -> str:
    """The profile that a GPU's name holds, such as "1g.10gb"; empty without one."""
    found = re.search(r"\b(\d+g\.\d+gb)", text.lower())
    return found[1] if found else ""


def slice_name(name: str, profile: str) -> str:
    """A device's name with the profile of its slice, if it is one and its driver leaves that out."""
    return f"{name} MIG {profile}" if profile and not is_slice(name) else name


@lru_cache(maxsize=1024)  # placing asks it of every GPU of the fleet, job by job
def is_slice(name: str) -> bool:
    """Whether a GPU's name is that of a MIG slice, such as "NVIDIA A100-SXM4-80GB MIG 3g.40gb".

    An engine runs on one slice alone: CUDA shows a process no second one (MIG User Guide, "CUDA Device Enumeration"),
    and NCCL joins none.
    """
    return bool(re.search(r"\bmig\b", name.lower()) or mig_profile(name))


def device_type(name: str, driver_bytes: int = 0) -> GpuType | None:
    """The type of a device by the name and the bytes that its inventory gives; of a MIG slice its part of the whole.

    None for a type that is not in the table, and for a slice whose profile the whole GPU does not have.
    """
    if not is_slice(name):
        return gpu_type_of(name, driver_bytes)
    whole, profile = gpu_type_of(re.split(r"(?i)\bmig\b", name)[0]), mig_profile(name)
    return slice_of(whole, profile) if whole and profile else None


def slice_bytes(profile: str) -> int:
    """What torch sees of such a slice."""
    _, size = _numbers(profile)
    return round(_SEEN_GIB.get(profile, size * _USUAL_SHARE) * 2**30)


def slice_of(kind: GpuType, profile: str) -> GpuType | None:
    """The slice as a type of its own, with its part of bandwidth, throughput and price; None where `kind` has no such
    profile."""
    count, size = _numbers(profile)
    deals = _EIGHTHS if kind.key.startswith(_IN_EIGHTHS) else _QUARTERS if kind.key.startswith(_IN_QUARTERS) else {}
    whole = kind.memory_bytes / GB
    part = next((each for each in deals.get(count, ()) if abs(each * whole - size) < 1), None)
    if part is None:
        return None
    compute = count / max(deals)
    return replace(
        kind,
        title=f"{kind.title} MIG {profile}",
        memory_bytes=size * GB,
        bandwidth=kind.bandwidth * part,
        bf16_flops=kind.bf16_flops and kind.bf16_flops * compute,
        fp8_flops=kind.fp8_flops and kind.fp8_flops * compute,
        hour_price=kind.hour_price and kind.hour_price * mig_share(profile),
    )


def _numbers(profile: str) -> tuple[int, int]:
    """Compute slices, and the memory in GB."""
    count, size = profile.removesuffix("gb").split("g.")
    return int(count), int(size)
