"""Joining a server from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.protocol_server import HOST_TOKEN, JOIN_TOKEN, ProtocolServer
from workers.cli import main
from workers.config import ConfigError, WorkerConfig


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKWEB_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("STACKWEB_ENV_ROOT", str(tmp_path / "environments"))


def test_join_writes_a_private_configuration(
    tmp_path: Path, server: ProtocolServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "worker/config.json"
    assert main(["join", "--url", server.url, "--token", JOIN_TOKEN, "--name", "h7", "--config", str(path)]) == 0
    config = WorkerConfig.load(path)
    assert (config.host_token, config.host_name, config.queue) == (HOST_TOKEN, "h7", "gpu.h7")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "cores" in capsys.readouterr().out

    assert main(["--config", str(path), "status"]) == 0
    assert "does not run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gpu.example.org", "--insecure-http"),
        ("gpu.example.org", "begins with neither"),
        ("", "The token is not known."),
    ],
)
def test_join_refuses_plainly(
    tmp_path: Path, server: ProtocolServer, capsys: pytest.CaptureFixture[str], url: str, said: str
) -> None:
    path = tmp_path / "config.json"
    assert main(["join", "--url", url or server.url, "--token", "swj_wrong", "--config", str(path)]) == 1
    assert said in capsys.readouterr().err
    assert not path.exists()


def test_a_reader_that_has_enough_ends_the_output_quietly() -> None:
    command = [sys.executable, "-m", "workers.cli", "inventory"]
    reads, writes = os.pipe()
    os.close(reads)  # gone before the first byte, as head may be
    with os.fdopen(writes, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_join_suggests_is_in_the_help_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "--config" in capsys.readouterr().out


def test_a_wrong_configuration_names_its_field(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match="stackweb-worker join"):
        WorkerConfig.load(path)
    path.write_text(json.dumps({"url": "http://127.0.0.1", "colour": "red"}))
    with pytest.raises(ConfigError, match="host_token"):
        WorkerConfig.load(path)


def test_inventory_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inventory"]) == 0
    assert json.loads(capsys.readouterr().out)["ram_bytes"] > 0


def test_a_worker_starts_without_the_hubs_client() -> None:
    """Downloads are programs of their own; the client would take a fifth of a worker's start."""
    said = "import sys, workers.cli; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
