"""R21: this worker and a server one version older or newer, which also changes while an engine runs. What a neighbour
does not say has its default, what it says beside is ignored, and the engine does not notice."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import ProtocolServer
from tests.workers.test_attempts import tree_pids

pytestmark = pytest.mark.slow
# Fields of answers that the first servers of this protocol did not send.
NEW = {"kept", "job", "secrets", "resume_from", "adapter_path", "cpu_count", "ram_bytes", "stall_seconds"}
NAMED_BY_OTHERS = {"spec", "secrets"}  # what stands in them is not the protocol's
WAITS = """
import os, pathlib, time
print("tree", os.getpid())
while not pathlib.Path("go").exists(): time.sleep(0.05)
"""


class Neighbour(ProtocolServer):
    """A server of another version: `speech` is "older", "now" or "newer"."""

    speech = "now"

    def answer(self, *call: Any) -> Any:
        return self.said(super().answer(*call))

    def said(self, answer: Any) -> Any:
        if isinstance(answer, list):
            return [self.said(each) for each in answer]
        if not isinstance(answer, dict) or self.speech == "now":
            return answer
        if self.speech == "older":
            return {name: self.said(value) for name, value in answer.items() if name not in NEW}
        answered = {name: value if name in NAMED_BY_OTHERS else self.said(value) for name, value in answer.items()}
        return answered | {"from_the_future": {"a": [1]}}


@pytest.fixture
def server() -> Iterator[Neighbour]:
    server = Neighbour()
    yield server
    server.close()
    assert server.wrong_calls == []


@pytest.mark.parametrize("speech", ["older", "newer"])
def test_r21_a_run_from_claim_to_finish_under_a_neighbour(
    speech: str, make_worker: Callable[..., Worker], server: Neighbour
) -> None:
    server.speech = speech
    worker = make_worker()
    worker.start()
    held = server.add(script("print('ran')"))
    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"], held.claims, held.log) == (0, None, 1, b"ran\n")
    server.wait(lambda: not worker.attempt(held.uuid).exists())


def test_r21_upgrades_and_rollbacks_amid_a_run_end_no_engine(
    make_worker: Callable[..., Worker], server: Neighbour
) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script(WAITS))
    server.wait(lambda: b"tree" in held.log)
    (engine,) = tree_pids(held)
    for speech in ("newer", "older", "now", "older", "newer"):
        worker.end(signal.SIGKILL)
        server.speech, held.beat = speech, {}
        worker.start()
        server.wait(lambda: held.beat, 15)
        assert is_alive(engine)
    (worker.attempt(held.uuid) / "work/go").touch()
    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"], held.claims) == (0, None, 1)
    assert not is_alive(engine)
