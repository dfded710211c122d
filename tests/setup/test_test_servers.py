"""The test run's own servers do not outlive it, and the ASGI fixture serves the real application."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from stackweb.embedded.ports import is_free

KILLED_RUN = """
import os
from tests.servers import ServersOfThisRun
servers = ServersOfThisRun()
servers.start()
print(servers.home, servers.postgres.port, servers.valkey.port, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_leaves_no_server_and_no_folder() -> None:
    env = {name: value for name, value in os.environ.items() if name != "STACKWEB_TEST_DATABASE_URL"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN], env=env, capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    home, *ports = killed.stdout.split()
    deadline = time.monotonic() + 20
    while Path(home).exists() or not all(is_free(int(port)) for port in ports):
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.1)


@pytest.mark.parametrize("again", [1, 2], ids=["first", "second time on the same port"])
def test_asgi_server_answers(asgi_server: str, again: int) -> None:
    with urllib.request.urlopen(f"{asgi_server}/healthz", timeout=20) as answer:
        assert answer.status == 200
