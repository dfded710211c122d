"""Hosts as people have them: old drivers, other platforms, proxies, a shell that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.engines.base import Kind
from apps.engines.locks import read_lock
from apps.engines.locks.drivers import cuda_versions, too_old_for
from tests.workers import fake_gpus
from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import JOIN_TOKEN, ProtocolServer
from tests.workers.test_attempts import TREE, tree_pids
from workers import host_checks
from workers.cli import main
from workers.config import WorkerConfig
from workers.engine_env import engine_environment

pytestmark = pytest.mark.slow


def test_a_driver_too_old_for_the_locked_cuda_is_said_at_join_with_the_one_needed(
    tmp_path: Path, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = tmp_path / "gpus.json"
    fake_gpus.install(world, monkeypatch.setattr)
    said = []
    for driver in ("535.183.01", "580.65.06"):
        fake_gpus.write(world, {"uuid": "GPU-a"}, driver=driver)
        path = tmp_path / f"{driver}.json"
        assert main(["join", "--url", server.url, "--token", JOIN_TOKEN, "--config", str(path)]) == 0
        said.append(capsys.readouterr().out)
    assert "The NVIDIA driver is 535.183.01; " in said[0]
    assert "vllm" in said[0]
    assert "use CUDA 13.0, which needs driver 580 or newer." in said[0]
    assert "NVIDIA driver" not in said[1]


def test_every_cuda_lock_has_a_known_oldest_driver() -> None:
    assert set(cuda_versions()) == {"vllm", "lm-eval", "axolotl"}
    assert set(too_old_for("1.0")) == set(cuda_versions())
    assert too_old_for("") == too_old_for("999.0") == {}


def test_other_platforms_and_a_lost_isolation_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_lock("vllm", "cpu").platform == host_checks.LOCKED_FOR
    monkeypatch.setattr(host_checks, "ROCM_DEVICE", tmp_path / "kfd")

    def said(machine: str = "x86_64", **more: str) -> list[str]:
        return host_checks.warnings(machine=machine, gpus=[], isolation="cgroup", **more)

    assert said() == []
    assert "no locked environment for this platform (aarch64)" in said("aarch64")[0]
    (tmp_path / "kfd").touch()
    assert "no locked environment for this platform (AMD ROCm)" in said()[0]
    (lost,) = host_checks.warnings(
        machine="x86_64", gpus=[{"cuda": "13.0", "driver": "580"}], isolation="process_group"
    )
    assert lost.startswith("Isolation: process group; a process that hides its environment could outlive a crash.")


NETWORK = {
    "HTTPS_PROXY": "http://user:password@proxy:3128", "no_proxy": "localhost", "SSL_CERT_FILE": "/ca.pem",
    "REQUESTS_CA_BUNDLE": "/ca.pem", "PIP_INDEX_URL": "https://mirror/simple", "UV_DEFAULT_INDEX": "https://mirror",
    "HF_ENDPOINT": "https://hub.mirror",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "listed", "seen"), [
    ("install", "", set(NETWORK)), ("download", "", set(NETWORK)), ("train", "", set()), ("serve", "", set()),
    ("evaluate", "HTTPS_PROXY, SSL_CERT_FILE", {"HTTPS_PROXY", "SSL_CERT_FILE"}),
])  # fmt: skip
def test_the_way_out_is_for_installs_and_downloads_and_for_what_is_listed(
    kind: Kind, listed: str, seen: set[str], tmp_path: Path
) -> None:
    config = WorkerConfig(
        url="http://127.0.0.1", host_token="t", host_name="h", queue="q", state_dir=tmp_path, models_dir=tmp_path,
        env_root=tmp_path,
    )  # fmt: skip
    host = NETWORK | {"HOME": str(tmp_path), "SECRET_OF_HOST": "1", "STACKWEB_ENGINE_VARIABLES": listed}
    given = engine_environment(host, config, kind=kind, uuid="u", work_dir=tmp_path, temporary="/tmp")
    child = subprocess.run(
        [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        env=given, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(json.loads(child.stdout)) & (set(host) - {"HOME"}) == seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_of_a_job_or_pod_ends_its_attempts_and_then_leaves(
    number: int, make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start("--leave-on-exit")
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    assert worker.end(number) == 0
    assert (held.finish["reason"], server.has_left, server.open_when_left) == ("interrupted", True, [])
    assert not any(map(is_alive, tree_pids(held)))


def test_a_plain_shell_that_ends_takes_the_host_along(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    """The last command of a batch script: the shell gets the signal, and `exec` hands it on."""
    worker = make_worker()
    worker.start()
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    worker.end(signal.SIGKILL)
    engine, script_file = sys.executable, Path(__file__).with_name("script_engine.py")
    shell = subprocess.Popen(
        ["sh", "-c", f"exec {engine} {script_file} {worker.path} --leave-on-exit"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    held.beat = {}
    server.wait(lambda: held.beat)
    shell.terminate()
    assert shell.wait(20) == 0
    assert (held.finish["reason"], server.has_left) == ("interrupted", True)


def test_an_ordinary_stop_does_not_leave(worker: Worker, server: ProtocolServer) -> None:
    server.wait(lambda: server.samples)
    assert worker.end() == 0
    assert not server.has_left
