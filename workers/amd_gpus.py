"""AMD GPUs as the ROCm package `amdsmi` sees them, where it is importable. Not verified on hardware."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

MIB = 1024**2
PREFIX = "AMD-"
PROCESSES = "amdsmi_get_gpu_process_list"


@cache
def _library() -> ModuleType | None:
    """amdsmi, ready to be asked. It comes with ROCm, not from a package index; without its driver it raises."""
    try:
        library = importlib.import_module("amdsmi")
        library.amdsmi_init()
    except Exception:  # also an OSError of its own loader, or a KeyError for an unknown driver
        return None
    return library


def _sensor(library: ModuleType, name: str, *arguments: Any, field: str = "") -> Any:
    """None where a sensor is missing: the version lacks the function, it raises, or it answers N/A."""
    try:
        value = getattr(library, name)(*arguments)
        value = value[field] if field else value
    except Exception:  # its exceptions share no base class that every version has
        return None
    return None if value == "N/A" else value


def _handles(library: ModuleType) -> list[Any]:
    return _sensor(library, "amdsmi_get_processor_handles") or []


def list_gpus() -> list[dict[str, Any]]:
    """In the shape of workers.gpus.list_gpus; no CUDA, no MIG."""
    library = _library()
    if library is None:
        return []
    handles = _handles(library)
    return [
        {
            "index": index,
            "uuid": _uuid(library, handle, index),
            "name": _sensor(library, "amdsmi_get_gpu_asic_info", handle, field="market_name") or "AMD GPU",
            "memory_bytes": (_sensor(library, "amdsmi_get_gpu_vram_usage", handle, field="vram_total") or 0) * MIB,
            "driver": _sensor(library, "amdsmi_get_gpu_driver_info", handle, field="driver_version") or "",
            "cuda": "",
            "power_limit_w": _power_limit_w(library, handle),
            "mig_profile": "",
            "is_split": False,
            "links": _links(library, handles, index),
        }
        for index, handle in enumerate(handles)
    ]


def sample_gpus() -> list[dict[str, Any]]:
    """In the shape of workers.gpus.sample_gpus."""
    library = _library()
    if library is None:
        return []
    return [_sample(library, handle, index) for index, handle in enumerate(_handles(library))]


def is_amd(uuid: str) -> bool:
    return uuid.startswith(PREFIX)


def processes_on(uuid: str) -> list[dict[str, int]] | None:
    """`{pid, memory_bytes}` of everybody on that GPU; None when it does not say, or is not there any more."""
    library = _library()
    if library is not None:
        for index, handle in enumerate(_handles(library)):
            if _uuid(library, handle, index) == uuid:
                return _processes(library, handle)
    return None


def _uuid(library: ModuleType, handle: Any, index: int) -> str:
    return f"{PREFIX}{_sensor(library, 'amdsmi_get_gpu_device_uuid', handle) or index}"


def _sample(library: ModuleType, handle: Any, index: int) -> dict[str, Any]:
    used_mib = _sensor(library, "amdsmi_get_gpu_vram_usage", handle, field="vram_used")
    power = _sensor(library, "amdsmi_get_power_info", handle) or {}
    watts = [power.get(name) for name in ("current_socket_power", "average_socket_power", "socket_power")]
    sensor, now = library.AmdSmiTemperatureType.HOTSPOT, library.AmdSmiTemperatureMetric.CURRENT
    return {
        "uuid": _uuid(library, handle, index),
        "util_percent": _sensor(library, "amdsmi_get_gpu_activity", handle, field="gfx_activity"),
        "memory_used_bytes": None if used_mib is None else used_mib * MIB,
        "temperature_c": _sensor(library, "amdsmi_get_temp_metric", handle, sensor, now),
        "power_w": next((float(each) for each in watts if isinstance(each, int | float)), None),
        "sm_clock_mhz": _clock_mhz(library, handle, library.AmdSmiClkType.GFX),
        "memory_clock_mhz": _clock_mhz(library, handle, library.AmdSmiClkType.MEM),
        "throttle": [],
        "processes": _processes(library, handle) or [],
    }


def _processes(library: ModuleType, handle: Any) -> list[dict[str, int]] | None:
    if not hasattr(library, PROCESSES):
        return []  # this version names nobody
    rows = _sensor(library, PROCESSES, handle)
    return None if rows is None else [{"pid": row["pid"], "memory_bytes": row["mem"]} for row in rows]


def _clock_mhz(library: ModuleType, handle: Any, kind: Any) -> Any:
    return _sensor(library, "amdsmi_get_clock_info", handle, kind, field="clk")


def _power_limit_w(library: ModuleType, handle: Any) -> float | None:
    microwatts = _sensor(library, "amdsmi_get_power_cap_info", handle, field="power_cap")
    return microwatts / 1e6 if microwatts else None


def _links(library: ModuleType, handles: list[Any], index: int) -> list[dict[str, str]]:
    """`{uuid, kind: xgmi | pcie}` of every other GPU."""
    kinds = "AmdSmiLinkType" if hasattr(library, "AmdSmiLinkType") else "AmdSmiIoLinkType"
    found = []
    for other, handle in enumerate(handles):
        if other != index:
            link = _sensor(library, "amdsmi_topo_get_link_type", handles[index], handle, field="type")
            kind = "xgmi" if "XGMI" in str(_sensor(library, kinds, link)) else "pcie"
            found.append({"uuid": _uuid(library, handle, other), "kind": kind})
    return found
