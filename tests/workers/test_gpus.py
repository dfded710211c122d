"""GPUs as a trace of NVML tells them (tests/workers/data, synthetic so far); `make test-gpu` reads real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from tests.workers.nvml_replay import TRACE, Replay
from workers import amd_gpus, nvml
from workers.gpus import list_gpus, sample_gpus, visibility
from workers.record_nvml import record

GIB = 1024**3


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    nvml.end()
    yield
    nvml.end()


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    replay = Replay()
    replay.install(monkeypatch.setattr)
    return replay


def _raise(error: int) -> Any:
    def read(*_: Any) -> Any:
        raise pynvml.NVMLError(error)

    return read


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", _raise(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert (list_gpus(), sample_gpus()) == ([], [])


def test_a_host_with_nvlink_and_mig(replay: Replay) -> None:
    found = list_gpus()
    assert [(gpu["index"], gpu["uuid"][:3], gpu["mig_profile"], gpu["is_split"]) for gpu in found] == [
        (0, "GPU", "", False),
        (1, "GPU", "", False),
        (2, "GPU", "", True),
        (3, "MIG", "3g.20gb", False),  # from its name
        (4, "MIG", "3g.20gb", False),  # from its attributes
    ]
    assert [gpu["memory_bytes"] // GIB for gpu in found] == [80, 80, 40, 20, 20]
    assert [gpu["name"] for gpu in found[2:]] == ["NVIDIA A100-PCIE-40GB", *["NVIDIA A100-PCIE-40GB MIG 3g.20gb"] * 2]
    assert [gpu["power_limit_w"] for gpu in found] == [700, 700, 250, None, None]
    assert {(gpu["driver"], gpu["cuda"]) for gpu in found} == {("580.95.05", "13.0")}
    kinds = {(gpu["index"], link["uuid"][8:12]): link["kind"] for gpu in found for link in gpu["links"]}
    assert {pair for pair, kind in kinds.items() if kind == "nvlink"} == {(0, "0002"), (1, "0001")}
    assert len(kinds) == 6


def test_cuda_shows_slices_by_uuid_and_gpus_in_nvmls_order(replay: Replay) -> None:
    assert visibility([]) == {}
    assert visibility([1, 0]) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the indexes stand in the command already
    assert visibility([4])["CUDA_VISIBLE_DEVICES"] == "MIG-5d1e0005-bbbb-4000-8000-000000000005"


def test_an_nvswitch_is_no_gpu_and_still_nvlink(replay: Replay) -> None:
    for one, other in (("gpu0", "gpu1"), ("gpu1", "gpu0")):
        replay.answers[f"nvmlDeviceGetNvLinkRemotePciInfo({one}, 0)"] = {"busId": "00000000:05:00.0"}
        replay.answers[f"nvmlDeviceGetP2PStatus({one}, {other}, 2)"] = pynvml.NVML_P2P_STATUS_OK
    assert [link["kind"] for link in list_gpus()[0]["links"]] == ["nvlink", "pcie"]


def test_what_a_busy_gpu_says(replay: Replay) -> None:
    replay.go_to(15)
    busy, idle, split, part, _ = sample_gpus()
    assert busy | {"uuid": ""} == {
        "uuid": "", "util_percent": 95, "memory_used_bytes": 62 * GIB, "temperature_c": 53, "power_w": 641.5,
        "sm_clock_mhz": 1650, "memory_clock_mhz": 2619, "throttle": ["heat", "power_cap"],
        "processes": [{"pid": 4242, "memory_bytes": 61 * GIB}],
    }  # fmt: skip
    assert (idle["throttle"], idle["processes"]) == ([], [])
    assert (split["util_percent"], split["memory_clock_mhz"], split["power_w"]) == (None, None, 101)
    assert (part["uuid"][:4], part["memory_used_bytes"], part["temperature_c"], part["power_w"]) == (
        "MIG-", 9 * GIB, 44, None,
    )  # fmt: skip
    assert part["processes"] == [{"pid": 5151, "memory_bytes": 8 * GIB}]


def test_a_gpu_off_the_bus_hides_no_other(replay: Replay) -> None:
    replay.go_to(20)
    assert [gpu["index"] for gpu in list_gpus()] == [0, 2, 3, 4]
    assert len(sample_gpus()) == 4


def test_nvml_begins_once_and_again_after_a_driver_reload(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    begin = pynvml.nvmlInit
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: [begun.append(1), begin()])
    for second, gpus in ((0, 5), (1, 5), (25, 0), (26, 4), (27, 4)):
        replay.go_to(second)
        assert len(sample_gpus()) == gpus
    assert len(begun) == 3  # at first, in vain at 25 s, and after


def test_a_recording_replays_as_what_was_recorded(replay: Replay, tmp_path: Path) -> None:
    out, clock = tmp_path / "trace.jsonl", [0.0]

    def pass_time(seconds: float) -> None:
        clock[0] += seconds
        replay.go_to(clock[0])

    assert record(out, source="a test", seconds=22, pause=pass_time) == 4
    again = Replay(out)
    for second in (0, 15, 22):
        expected, found = Replay(TRACE), []
        for trace in (expected, again):
            trace.go_to(second)
            replay.answers = trace.answers
            found.append((list_gpus(), sample_gpus()))
        assert found[0] == found[1]
        assert found[0][0]
    assert json.loads(out.read_text().splitlines()[0])["source"] == "a test"


def test_amd_in_the_same_shape(monkeypatch: pytest.MonkeyPatch, replay: Replay) -> None:
    """Against a stand-in that answers as AMD documents it; no hardware was at hand."""

    library = SimpleNamespace(
        amdsmi_get_processor_handles=lambda: ["a", "b"],
        amdsmi_get_gpu_device_uuid=lambda handle: f"{handle}-uuid",
        amdsmi_get_gpu_asic_info=lambda handle: {"market_name": "AMD Instinct MI300X"},
        amdsmi_get_gpu_vram_usage=lambda handle: {"vram_total": 196_592, "vram_used": 1024},
        amdsmi_get_gpu_driver_info=lambda handle: {"driver_version": "6.12.12"},
        amdsmi_get_power_cap_info=lambda handle: {"power_cap": 750_000_000},
        amdsmi_get_power_info=lambda handle: {"current_socket_power": 141, "average_socket_power": "N/A"},
        amdsmi_get_gpu_activity=lambda handle: {"gfx_activity": "N/A"},
        amdsmi_get_temp_metric=lambda handle, sensor, metric: 47,
        amdsmi_get_clock_info=lambda handle, kind: {"clk": {"GFX": 2100, "MEM": 1300}[kind]},
        amdsmi_topo_get_link_type=lambda one, other: {"type": 2},
        AmdSmiTemperatureType=SimpleNamespace(HOTSPOT=1),
        AmdSmiTemperatureMetric=SimpleNamespace(CURRENT=0),
        AmdSmiClkType=SimpleNamespace(GFX="GFX", MEM="MEM"),
        AmdSmiLinkType=lambda number: "AMDSMI_LINK_TYPE_XGMI" if number == 2 else "AMDSMI_LINK_TYPE_PCIE",
    )
    monkeypatch.setattr(amd_gpus, "_library", lambda: library)
    nvidia, amd = list_gpus()[0], list_gpus()[-1]
    assert amd.keys() == nvidia.keys()
    assert (amd["index"], amd["uuid"], amd["power_limit_w"], amd["memory_bytes"]) == (
        6, "AMD-b-uuid", 750, 196_592 * 1024**2,
    )  # fmt: skip
    assert amd["links"] == [{"uuid": "AMD-a-uuid", "kind": "xgmi"}]
    load = sample_gpus()[-1]
    assert load.keys() == sample_gpus()[0].keys()
    assert (load["util_percent"], load["power_w"], load["sm_clock_mhz"], load["processes"]) == (None, 141, 2100, [])
