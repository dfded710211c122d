"""Nothing is launched on a GPU that somebody else is on."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from tests.workers import fake_gpus
from tests.workers.conftest import Worker, script
from tests.workers.protocol_server import ProtocolServer
from workers import amd_gpus, device_locks, foreign
from workers.problems import Ordered, Problem
from workers.processes import MARKER

GIB = 1024**3


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two free GPUs, for this process and for workers that it starts."""
    path = tmp_path / "gpus.json"
    fake_gpus.write(path, {"uuid": "GPU-a"}, {"uuid": "GPU-b"})
    fake_gpus.install(path, monkeypatch.setattr)
    monkeypatch.setenv("FAKE_GPUS", str(path))
    monkeypatch.setenv("FAKE_LOCKS", str(tmp_path))
    monkeypatch.setattr(device_locks, "SHARED_FOLDER", tmp_path)
    monkeypatch.setattr(foreign, "RELEASE_SECONDS", 0)
    return path


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], MARKER: "held"})
    yield process
    process.kill()
    process.wait()


def test_who_computes_counts_and_who_only_draws_windows_does_not(world: Path) -> None:
    pid = os.getpid()
    fake_gpus.write(
        world,
        {"uuid": "GPU-a", "computing": [[pid, 3 * GIB]], "drawing": [[pid, 3 * GIB], [1, GIB // 2]]},
        {"uuid": "GPU-b", "computing": [[2**22 + 5, None]], "drawing": [[1, 2 * GIB]]},
    )
    on_a, on_b = foreign.processes_on(["GPU-a"]), foreign.processes_on(["GPU-b"])
    assert [(row["pid"], row["memory_bytes"], row["user"]) for row in on_a] == [(pid, 3 * GIB, getpass.getuser())]
    assert [(row["pid"], row["memory_bytes"]) for row in on_b] == [(1, 2 * GIB), (2**22 + 5, 0)]
    assert on_b[1]["name"] == "not visible from here"


def test_a_process_of_nobody_here_is_named_and_one_of_an_attempt_here_is_not_foreign(
    world: Path, bystander: subprocess.Popen[bytes]
) -> None:
    fake_gpus.write(world, {"uuid": "GPU-a", "computing": [[bystander.pid, 3 * GIB]]})
    foreign.wait_until_free(["GPU-a"], ["held"], lambda: False)
    with pytest.raises(Problem) as found:
        foreign.wait_until_free(["GPU-a"], ["another"], lambda: False)
    assert found.value.reason == "device_busy"
    for part in ("3.0 GiB", "GPU-a", f"pid {bystander.pid} (sleep)", f"user {getpass.getuser()}"):
        assert part in found.value.cause
    with pytest.raises(Ordered):
        foreign.wait_until_free(["GPU-a"], [], lambda: True)


def error(number: int) -> Callable[..., Any]:
    def answer(*_: Any) -> Any:
        raise pynvml.NVMLError(number)

    return answer


@pytest.mark.parametrize(
    "function",
    [
        "nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
    ],
)  # fmt: skip
def test_a_gpu_that_does_not_say_who_is_on_it_counts_as_busy(
    function: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.wait_until_free(["GPU-a"], [], lambda: False)
    monkeypatch.setattr(pynvml, function, error(pynvml.NVML_ERROR_UNKNOWN))
    with pytest.raises(Problem, match="NVML does not say who is on GPU-a: Unknown Error") as found:
        foreign.wait_until_free(["GPU-a"], [], lambda: False)
    assert found.value.reason == "device_busy"
    with pytest.raises(Ordered):
        foreign.wait_until_free(["GPU-a"], [], lambda: True)


def test_a_gpu_that_answers_again_within_the_wait_is_free(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "RELEASE_SECONDS", 60)
    monkeypatch.setattr(pynvml, "nvmlInit", error(pynvml.NVML_ERROR_GPU_IS_LOST))
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)

    monkeypatch.setattr(foreign.time, "sleep", pause)
    foreign.wait_until_free(["GPU-a"], [], lambda: False)
    assert pauses == [foreign.PAUSE_SECONDS]


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION])
def test_a_driver_that_never_names_anybody_stops_nothing(
    world: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for kind in ("Compute", "Graphics"):
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses", error(code))
    foreign.wait_until_free(["GPU-a"], [], lambda: False)


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two free GPUs as amdsmi shows them, and no NVML on that host."""
    library = SimpleNamespace(
        amdsmi_get_processor_handles=lambda: ["a", "b"],
        amdsmi_get_gpu_device_uuid=lambda handle: handle,
        amdsmi_get_gpu_process_list=lambda handle: [],
    )
    monkeypatch.setattr(amd_gpus, "_library", lambda: library)
    monkeypatch.setattr(pynvml, "nvmlInit", error(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    monkeypatch.setattr(foreign, "RELEASE_SECONDS", 0)
    return library


def test_an_amd_gpu_is_asked_too(amd: SimpleNamespace, bystander: subprocess.Popen[bytes]) -> None:
    foreign.wait_until_free(["AMD-a", "AMD-b"], [], lambda: False)
    rows = {"a": [{"pid": 1, "mem": GIB // 2}], "b": [{"pid": bystander.pid, "mem": 3 * GIB}]}
    amd.amdsmi_get_gpu_process_list = rows.__getitem__
    foreign.wait_until_free(["AMD-a"], [], lambda: False)  # a desktop's windows
    foreign.wait_until_free(["AMD-b"], ["held"], lambda: False)
    with pytest.raises(Problem, match=rf"3\.0 GiB of AMD-b: pid {bystander.pid} \(sleep\)"):
        foreign.wait_until_free(["AMD-a", "AMD-b"], ["another"], lambda: False)


def test_an_amd_gpu_that_does_not_say_counts_as_busy(amd: SimpleNamespace) -> None:
    amd.amdsmi_get_gpu_process_list = lambda handle: 1 / 0
    for uuid in ("AMD-a", "AMD-gone"):
        with pytest.raises(Problem, match=f"amdsmi does not say who is on {uuid}"):
            foreign.wait_until_free([uuid], [], lambda: False)
    del amd.amdsmi_get_gpu_process_list  # a version without it
    foreign.wait_until_free(["AMD-a"], [], lambda: False)


def test_a_lock_is_shared_within_a_worker_and_refused_to_another(world: Path, tmp_path: Path) -> None:
    first = device_locks.lock_gpus(["GPU-a", "GPU-b"], tmp_path / "one")
    second = device_locks.lock_gpus(["GPU-a"], tmp_path / "one")
    device_locks.release(first)
    with pytest.raises(Problem, match=f"state folder {tmp_path / 'one'}"):
        device_locks.lock_gpus(["GPU-b", "GPU-a"], tmp_path / "two")
    device_locks.release(device_locks.lock_gpus(["GPU-b"], tmp_path / "two"))
    device_locks.release(second)
    device_locks.release(device_locks.lock_gpus(["GPU-a"], tmp_path / "two"))


def test_a_busy_gpu_starts_nothing_and_a_free_one_does(
    world: Path, bystander: subprocess.Popen[bytes], make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    fake_gpus.write(world, {"uuid": "GPU-a", "computing": [[bystander.pid, GIB]]}, {"uuid": "GPU-b"})
    make_worker().start()
    busy = server.add(script("print('ran')"), devices=[0])
    free = server.add(script("print('ran')"), devices=[1])
    gone = server.add(script("print('ran')"), devices=[7])
    server.wait(lambda: busy.finish and free.finish and gone.finish)
    assert (busy.finish["reason"], busy.log) == ("device_busy", b"")
    assert f"pid {bystander.pid}" in busy.finish["cause"]
    assert (free.finish["reason"], free.log) == (None, b"ran\n")
    assert "GPU 7 is not there" in gone.finish["cause"]


def test_a_shim_keeps_its_gpu_while_no_agent_runs(
    world: Path, make_worker: Callable[..., Worker], server: ProtocolServer, tmp_path: Path
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script("import time\nprint('up')\ntime.sleep(600)"), devices=[0])
    server.wait(lambda: b"up" in held.log)
    worker.end(9)
    with pytest.raises(Problem, match="another Stackweb worker"):
        device_locks.lock_gpus(["GPU-a"], tmp_path / "second")
    worker.start()
    held.cancel = True
    server.wait(lambda: held.finish)
    server.wait(lambda: is_free("GPU-a", tmp_path / "second"))  # the shim itself ends a moment after the engine


def is_free(uuid: str, state_dir: Path) -> bool:
    try:
        device_locks.release(device_locks.lock_gpus([uuid], state_dir))
    except Problem:
        return False
    return True
