"""Two real agents on this machine copy a model from each other: with the Hub stopped, and with the giver killed."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.catalog.hub_server import Hub, running_hub, safetensors, tiny_repo
from tests.flows.stack import Stack, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WEIGHTS = safetensors(elements=3_000_000)
# The worker, but in the middle of the first large file that it gives it is killed.
DIES_GIVING = """
import os, signal, sys
from workers import cli, peer_server
def send_half(handler, file):
    size = os.fstat(file.fileno()).st_size
    if size < 1_000_000:
        return send(handler, file)
    handler.send_response(200)
    handler.send_header("Content-Length", str(size))
    handler.end_headers()
    handler.connection.sendfile(file, 0, size // 2)
    os.kill(os.getpid(), signal.SIGKILL)
send, peer_server.Handler._send = peer_server.Handler._send, send_half
sys.exit(cli.main(sys.argv[1:]))
"""


@dataclass
class Agent:
    """A host that joined by hand, with a home of its own."""

    home: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    def argv(self, *program: str) -> list[str]:
        return [sys.executable, *(program or ("-m", "workers.cli")), "--config", str(self.home / "config.json")]

    def start(self, *program: str) -> None:
        self.process = subprocess.Popen([*self.argv(*program), "run"], env=self.env)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@dataclass
class World:
    stack: Stack
    hub: Hub
    stop_hub: ExitStack
    brio: Agent

    def copied(self, version: str, host: str) -> Any:
        """The ended job that brought the version to the host."""
        (copy,) = self.stack.post(f"models/versions/{version}/copies", {"hosts": [host]})
        return self.stack.job_in(copy["job"]["id"], "succeeded")

    def deleted(self, host: str) -> None:
        (copy,) = self.stack.get(f"hosts/{host}/models")["items"]
        answer = self.stack.api.delete(f"hosts/{host}/models/{copy['id']}")
        assert answer.status_code == 202, answer.text
        self.stack.job_in(answer.json()["id"], "succeeded")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """`stackweb up` with its own host, and a host brio that joined it; either may copy from the other."""
    with ExitStack() as ends:
        stop_hub = ends.enter_context(ExitStack())
        hub = stop_hub.enter_context(running_hub())
        hub.repos["tiny/model"] = tiny_repo()
        hub.repos["tiny/model"].files["model.safetensors"] = WEIGHTS
        shared = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
        stack = Stack(tmp_path, **shared, STACKWEB_PEER_ADDRESS=free_address())
        ends.callback(lambda: [process.kill() for process in stack.processes()])
        stack.up()
        ends.callback(stack.down)
        home = tmp_path / "brio"
        home.mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("STACKWEB_", "HF_"))}
        own |= shared | {"HOME": str(home), "STACKWEB_MODELS_DIR": str(home / "models")}
        brio = Agent(home, own | {"STACKWEB_PEER_ADDRESS": free_address()})
        token = stack.post("join-tokens", {})["token"]
        joining = [*brio.argv(), "join", "--url", stack.url, "--name", "brio"]
        subprocess.run(joining, env=own | {"STACKWEB_JOIN_TOKEN": token}, check=True)
        ends.callback(brio.end)
        yield World(stack, hub, stop_hub, brio)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_two_agents_copy_from_each_other_without_the_hub_and_outlive_each_other(world: World) -> None:
    stack, hub = world.stack, world.hub
    atlas = next(each["name"] for each in stack.get("hosts")["items"] if each["name"] != "brio")
    imported = stack.post("models", {"source": "hub", "source_ref": "tiny/model", "host": atlas})
    stack.job_in(imported["job"]["id"], "succeeded")
    (model,) = stack.get("models", q="tiny")["items"]
    version = model["versions"][0]["id"]
    hub_asked = len(hub.requests)

    world.brio.start("-c", DIES_GIVING)
    first = world.copied(version, "brio")
    said = f"From {atlas}: 4 of 4 files. From the Hub: none."
    assert first["result"]["data"] == {"came_from": said}
    assert said in stack.log_of(first["id"])
    assert len(hub.requests) == hub_asked
    assert "gAAAA" not in str(first) + stack.log_of(first["id"]), "a ticket is told to nobody"  # how Fernet's begin

    world.deleted(atlas)
    killed = world.copied(version, atlas)
    assert killed["result"]["data"]["came_from"].startswith("From brio: "), stack.log_of(killed["id"])
    assert "brio is asked no more: model.safetensors" in stack.log_of(killed["id"])
    assert world.brio.process is not None
    assert world.brio.process.wait(10) == -9
    assert [path for _, path, _ in hub.requests if path.startswith("/cdn/")][1:] == [
        "/cdn/tiny/model/model.safetensors"
    ]
    check_files(world, model["id"], atlas)

    world.brio.start()
    world.stop_hub.close()
    world.deleted(atlas)
    wait_for(lambda: is_open(world.brio.env["STACKWEB_PEER_ADDRESS"]), 30, lambda: "brio does not serve its peers")
    last = world.copied(version, atlas)
    assert last["result"]["data"] == {"came_from": "From brio: 4 of 4 files. From the Hub: none."}
    check_files(world, model["id"], atlas)


def check_files(world: World, model: str, host: str) -> None:
    """Every file has the hash that the control plane knows."""
    artifact = world.stack.get(f"models/{model}")["versions"][0]["artifacts"][0]
    (place,) = [each for each in artifact["locations"] if each["host"] == host]
    assert not place["adopted"]
    folder = Path(place["path"])
    for file in artifact["files"]:
        assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def is_open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
