"""What this host cannot do and what would help, in sentences for whoever joins it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from apps.engines.locks.drivers import too_old_for
from workers.cgroups import Isolation

LOCKED_FOR = "x86_64"
ROCM_DEVICE = Path("/dev/kfd")
OWN = "Make one by hand, or use an image that holds one, and name its folder in STACKWEB_ENV_VLLM and its like."


def warnings(*, machine: str, gpus: Iterable[Mapping[str, Any]], isolation: Isolation) -> list[str]:
    """`gpus` as the inventory reports them."""
    gpus = list(gpus)
    found = []
    if machine != LOCKED_FOR:
        found.append(f"There is no locked environment for this platform ({machine}). {OWN}")
    elif ROCM_DEVICE.exists() and not any(gpu.get("cuda") for gpu in gpus):
        found.append(f"There is no locked environment for this platform (AMD ROCm). {OWN}")
    found += [sentence for driver in sorted(_nvidia_drivers(gpus)) if (sentence := _driver_sentence(driver))]
    if isolation == "process_group":
        found.append(
            "Isolation: process group; a process that hides its environment could outlive a crash. Let the worker "
            "make cgroups to close that gap: as root, or with Delegate=yes in its systemd unit."
        )
    return found


def _nvidia_drivers(gpus: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(gpu["driver"]) for gpu in gpus if gpu.get("cuda") and gpu.get("driver")}


def _driver_sentence(driver: str) -> str:
    old = too_old_for(driver)
    if not old:
        return ""
    cuda, oldest = max(old.values())
    engines = ", ".join(sorted(old))
    return (
        f"The NVIDIA driver is {driver}; {engines} use CUDA {cuda}, which needs driver {oldest} or newer. "
        "Update the driver, or they will not start on its GPUs."
    )
