"""The GPUs of this host and how busy they are: NVIDIA's as NVML sees them, AMD's where amdsmi is installed.

A GPU that MIG splits is listed, marked `is_split`, and after all GPUs come its slices, each a device of its own.
"""

from __future__ import annotations

import re
from typing import Any

import pynvml

from workers import amd_gpus
from workers.gpu_links import links_between
from workers.nvml import handles, is_split, sensor, slices, text

# Bits of NVML's mask of reasons why clocks are low; idle and the operator's own settings are no trouble.
THROTTLE_REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power_cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "heat",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "heat",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power_brake",
}


def list_gpus() -> list[dict[str, Any]]:
    """`{index, uuid, name, memory_bytes, driver, cuda, power_limit_w, mig_profile, is_split, links}` of each."""
    found = _list_nvidia()
    taken = max((gpu["index"] for gpu in found), default=-1) + 1
    return found + [gpu | {"index": taken + gpu["index"]} for gpu in amd_gpus.list_gpus()]


def visibility(indexes: list[int]) -> dict[str, str]:
    """Variables by which CUDA shows these GPUs, counted as NVML counts; a MIG slice goes by its UUID alone."""
    if not indexes:
        return {}
    counted = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    parts = {gpu["index"]: gpu["uuid"] for gpu in list_gpus() if gpu["mig_profile"]}
    if not parts.keys() & set(indexes):
        return counted
    return counted | {"CUDA_VISIBLE_DEVICES": ",".join(parts.get(index, str(index)) for index in indexes)}


def sample_gpus() -> list[dict[str, Any]]:
    """`{uuid, util_percent, memory_used_bytes, temperature_c, power_w, sm_clock_mhz, memory_clock_mhz, throttle,
    processes: [{pid, memory_bytes}]}` of each; None where a sensor is missing."""
    found = []
    for _, handle in handles():
        uuid = _uuid(handle)
        if uuid:
            whole = _sample(uuid, handle)
            found += [whole, *_sample_slices(handle, whole)]
    return found + amd_gpus.sample_gpus()


def _uuid(handle: Any) -> str:
    """Empty for a GPU that is lost just now."""
    return text(sensor(pynvml.nvmlDeviceGetUUID, handle) or "")


def _list_nvidia() -> list[dict[str, Any]]:
    whole = [(index, handle) for index, handle in handles() if _uuid(handle)]
    if not whole:
        return []
    driver = text(sensor(pynvml.nvmlSystemGetDriverVersion) or "")
    cuda = sensor(pynvml.nvmlSystemGetCudaDriverVersion_v2) or 0
    versions = {"driver": driver, "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else ""}
    links = links_between({_uuid(handle): handle for _, handle in whole})
    found, parts = [], []
    for index, handle in whole:
        gpu = _describe(handle) | {"is_split": is_split(handle), "links": links.get(_uuid(handle), [])}
        found.append({"index": index} | gpu | versions)
        for part in slices(handle):
            profile = _mig_profile(part)
            # As newer drivers name it; older ones give a slice the whole GPU's name.
            shape = _describe(part) | {"mig_profile": profile, "name": f"{gpu['name']} MIG {profile}"}
            parts.append(shape | {"is_split": False, "links": []} | versions)
    # Past the GPUs, whose indexes are CUDA's own.
    return found + [{"index": whole[-1][0] + 1 + place} | part for place, part in enumerate(parts)]


def _describe(handle: Any) -> dict[str, Any]:
    memory = sensor(pynvml.nvmlDeviceGetMemoryInfo, handle)
    limit_mw = sensor(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return {
        "uuid": _uuid(handle),
        "name": text(sensor(pynvml.nvmlDeviceGetName, handle) or "NVIDIA GPU"),
        "memory_bytes": int(memory.total) if memory is not None else 0,
        "power_limit_w": None if limit_mw is None else limit_mw / 1000,
        "mig_profile": "",
    }


def _mig_profile(part: Any) -> str:
    """Such as 1g.10gb: from the name, which newer drivers end with it, else from the slice's attributes."""
    named = re.search(r"\bMIG (\d+\w\.\d+gb\S*)", text(sensor(pynvml.nvmlDeviceGetName, part) or ""))
    if named:
        return named.group(1)
    shape = sensor(pynvml.nvmlDeviceGetAttributes, part)
    return f"{shape.gpuInstanceSliceCount}g.{round(shape.memorySizeMB / 1024)}gb" if shape is not None else "slice"


def _sample(uuid: str, handle: Any) -> dict[str, Any]:
    load = sensor(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = sensor(pynvml.nvmlDeviceGetMemoryInfo, handle)
    power_mw = sensor(pynvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "uuid": uuid,
        "util_percent": None if load is None else load.gpu,
        "memory_used_bytes": None if memory is None else int(memory.used),
        "temperature_c": sensor(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "power_w": None if power_mw is None else power_mw / 1000,
        "sm_clock_mhz": sensor(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": sensor(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "throttle": _throttle(handle),
        "processes": _processes(handle),
    }


def _sample_slices(handle: Any, whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A slice has memory and processes of its own; heat is the whole GPU's, power cannot be told apart."""
    return [
        _sample(uuid, part) | {"temperature_c": whole["temperature_c"], "power_w": None}
        for part in slices(handle)
        if (uuid := _uuid(part))
    ]


def _throttle(handle: Any) -> list[str]:
    mask = sensor(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
    return sorted({word for bit, word in THROTTLE_REASONS.items() if mask & bit})


def _processes(handle: Any) -> list[dict[str, int]]:
    rows = sensor(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return [{"pid": row.pid, "memory_bytes": row.usedGpuMemory or 0} for row in rows]
