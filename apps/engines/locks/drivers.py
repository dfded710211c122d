"""Which NVIDIA driver a locked CUDA environment needs.

The table is NVIDIA's for minor version compatibility (CUDA Compatibility guide, read 2026-11-23):
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""

from __future__ import annotations

import re
from functools import cache

from apps.engines.locks import LOCKS

OLDEST_DRIVER = {"11": "450", "12": "525", "13": "580"}  # major version of CUDA -> driver
_RUNTIME = re.compile(r"^nvidia-cuda-runtime(?:-cu\d+)?==(\d+)\.(\d+)", re.MULTILINE)


@cache
def cuda_versions() -> dict[str, str]:
    """Engine -> the CUDA version its lock pins, such as 13.0."""
    found = {}
    for path in sorted(LOCKS.glob("*-cuda.txt")):
        if match := _RUNTIME.search(path.read_text()):
            found[path.stem.removesuffix("-cuda")] = f"{match[1]}.{match[2]}"
    return found


def too_old_for(driver: str) -> dict[str, tuple[str, str]]:
    """Engine -> (its CUDA version, the oldest driver for it), of those that this driver cannot run.

    A driver whose version is no number is not judged.
    """
    if not re.match(r"\d+", driver):
        return {}
    found = {}
    for engine, cuda in cuda_versions().items():
        oldest = OLDEST_DRIVER.get(cuda.partition(".")[0])
        if oldest and int(driver.partition(".")[0]) < int(oldest):
            found[engine] = (cuda, oldest)
    return found
