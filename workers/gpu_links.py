"""How the GPUs of this host are joined, as NVML tells it: NVLink, directly or through a switch, else PCIe."""

from __future__ import annotations

from typing import Any

import pynvml

from workers.nvml import sensor, text


def links_between(handles: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """uuid -> `{uuid, kind: nvlink | pcie}` of every other GPU; `handles` are NVML's, by uuid."""
    wired = {uuid: _wired_to(handle) for uuid, handle in handles.items()} if len(handles) > 1 else {}
    places = {uuid: _pci_place(handle) for uuid, handle in handles.items()} if wired else {}
    return {
        uuid: [
            {"uuid": other, "kind": "nvlink" if places[other] in wired[uuid] or _may_nvlink(handle, there) else "pcie"}
            for other, there in handles.items()
            if other != uuid
        ]
        for uuid, handle in handles.items()
    }


def _wired_to(handle: Any) -> set[str]:
    """PCI places at the other ends of the active NVLinks; behind an NVSwitch, the switch's."""
    found = set()
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        try:
            if pynvml.nvmlDeviceGetNvLinkState(handle, link) == pynvml.NVML_FEATURE_ENABLED:
                found.add(text(pynvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link).busId))
        except pynvml.NVMLError:
            break  # no such link: this GPU has no more, or none
    return found


def _pci_place(handle: Any) -> str:
    info = sensor(pynvml.nvmlDeviceGetPciInfo, handle)
    return text(info.busId) if info is not None else "unknown"


def _may_nvlink(one: Any, other: Any) -> bool:
    """Also true through an NVSwitch, whose place is no GPU's."""
    status = sensor(pynvml.nvmlDeviceGetP2PStatus, one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
    return bool(status == pynvml.NVML_P2P_STATUS_OK)
