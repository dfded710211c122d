"""Installing an environment: whole or not there, one at a time, with a cause when it cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.engines.adapters.install import RECORD
from apps.engines.base import RunSpec
from apps.engines.locks import Lock, read_lock
from apps.engines.registry import get_engine
from workers import environments
from workers.environments import InstallError, find_environment, install, list_environments, main
from workers.package_index import index_arguments

Uv = Callable[[list[str], Lock, "str | None"], None]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in environments.CONFIGURABLE:
        monkeypatch.delenv(environments._setting(engine), raising=False)


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stands in for uv: makes the folders it would make, and remembers what was asked."""
    asked: list[list[str]] = []

    def run(arguments: list[str], lock: Lock, index_variant: str | None) -> None:
        asked.append(arguments)
        if arguments[0] == "venv":
            (Path(arguments[-1]) / "bin").mkdir(parents=True)
            (Path(arguments[-1]) / "lib/python3.11/site-packages").mkdir(parents=True)
            return
        program = Path(arguments[arguments.index("--python") + 1]).parent / lock.script
        program.touch(0o755)

    monkeypatch.setattr(environments, "_run_uv", run)
    return asked


def test_it_is_hash_locked_and_published_last(tmp_path: Path, uv: list[list[str]]) -> None:
    path = install("vllm", "cpu", tmp_path)
    assert path == tmp_path / read_lock("vllm", "cpu").key
    assert {"--require-hashes", "--no-deps"} <= set(uv[1])
    assert uv[1][-1].endswith("vllm-cpu.txt")
    assert (path / "lib/python3.11/site-packages/vllm-0.32.0+cpu.dist-info/METADATA").is_file()
    assert find_environment("vllm", "cpu", tmp_path) == path
    (found,) = list_environments(tmp_path)
    assert (found.engine, found.variant, found.state) == ("vllm", "cpu", "ready")
    assert found.lock_sha256 == read_lock("vllm", "cpu").sha256


def test_a_second_installation_does_nothing(tmp_path: Path, uv: list[list[str]]) -> None:
    install("axolotl", "cpu", tmp_path)
    calls = len(uv)
    install("axolotl", "cpu", tmp_path)
    assert len(uv) == calls


def test_a_half_made_folder_is_made_anew(tmp_path: Path, uv: list[list[str]]) -> None:
    half = tmp_path / read_lock("lm-eval", "cpu").key
    (half / "left").mkdir(parents=True)
    assert find_environment("lm-eval", "cpu", tmp_path) is None
    assert [each.state for each in list_environments(tmp_path)] == ["half_made"]
    install("lm-eval", "cpu", tmp_path)
    assert not (half / "left").exists()


def test_a_full_disk_is_told_before_anything_is_made(
    tmp_path: Path, uv: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 10**9))
    assert main(["install", "--engine", "vllm", "--variant", "cpu", "--into", str(tmp_path)]) == 1
    assert "failed (disk_full): vllm-cpu-" in capsys.readouterr().out
    assert uv == []


def test_another_kind_of_machine_is_told(tmp_path: Path, uv: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(InstallError, match=r"this host is aarch64.*STACKWEB_ENV_VLLM"):
        install("vllm", "cpu", tmp_path)


def test_uv_that_fails_gives_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("STACKWEB_FIND_LINKS", str(tmp_path))
    record = tmp_path / "record"
    asked = ["install", "--engine", "lm-eval", "--variant", "cpu", "--into", str(tmp_path / "into")]
    assert main([*asked, "--record", str(record)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("failed (environment_failed): Installing lm-eval-cpu-")
    assert "error" in last
    assert not record.exists()


@pytest.mark.parametrize(("library", "variant"), [("libggml-cpu.so", "cpu"), ("libggml-cuda.so", "cuda")])
def test_a_folder_of_llama_cpp_needs_no_python_and_says_what_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, variant: str
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("llama-server", library):
        (tmp_path / "bin" / name).touch()
    monkeypatch.setenv("STACKWEB_ENV_LLAMA_CPP", str(tmp_path))
    (found,) = [each for each in list_environments(tmp_path / "none") if each.engine == "llama-cpp"]
    assert (found.state, found.variant) == ("configured", variant)
    work = tmp_path / "work"
    work.mkdir()
    assert main(["install", "--engine", "llama-cpp", "--variant", variant, "--record", str(work / RECORD)]) == 0
    assert get_engine("install").collect(RunSpec(kind="install", engine="install"), work).ok


def test_a_configured_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine/bin").mkdir(parents=True)
    (tmp_path / "mine/lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    monkeypatch.setenv("STACKWEB_ENV_LM_EVAL", str(tmp_path / "mine"))
    assert find_environment("lm-eval", "cpu", tmp_path) == tmp_path / "mine"
    (found,) = list_environments(tmp_path)
    assert (found.state, found.variant, found.lock_sha256) == ("configured", "cpu", "")
    monkeypatch.setenv("STACKWEB_ENV_LM_EVAL", str(tmp_path / "gone"))
    with pytest.raises(InstallError, match="STACKWEB_ENV_LM_EVAL"):
        find_environment("lm-eval", "cpu", tmp_path)


def test_the_record_names_the_environment(tmp_path: Path, uv: list[list[str]]) -> None:
    record = tmp_path / "record"
    asked = ["install", "--engine", "axolotl", "--variant", "cpu", "--into", str(tmp_path)]
    assert main([*asked, "--record", str(record)]) == 0
    assert json.loads((Path(record.read_text().strip()) / "ready.json").read_text())["state"] == "ready"


def test_indexes_come_from_the_operators_settings(tmp_path: Path) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    place = str(tmp_path)
    assert index_arguments({}, {}, "cpu") == ["--torch-backend", "cpu"]
    assert index_arguments({}, {"find-links": place}, "cpu") == ["--find-links", place]
    assert index_arguments({}, {"find-links": place}, "cuda") == []  # a CPU build would win there
    assert index_arguments({"UV_TORCH_BACKEND": "cpu"}, {}, "cpu") == []
    given = index_arguments({"STACKWEB_TORCH_INDEX": "mirror"}, {"index-url": "house"}, "cpu")
    assert given == ["--default-index", "house", "--index", "mirror", "--index-strategy", "unsafe-best-match"]
