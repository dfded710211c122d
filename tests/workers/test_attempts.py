"""Attempts from claim to finish, with a real worker, real shims and real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.conftest import Worker, is_alive, script
from tests.workers.protocol_server import Held, ProtocolServer
from workers import journal

TRAIN = """
import json, os, pathlib
print("home", os.environ["HOME"] == os.getcwd(), "host", os.environ.get("SECRET_OF_HOST"), "up to now")
print(pathlib.Path("inputs/data.txt").read_text(), pathlib.Path("conf/run.yaml").read_text())
for step in range(1, 4):
    print(json.dumps({"step": step, "metrics": {"loss": 3.0 / step}, "progress_done": step,
                      "progress_total": 3, "progress_unit": "steps", "measurements": {"speed": 2.5}}))
pathlib.Path("out.bin").write_bytes(bytes(1000))
"""

# One child in a session of its own, one double-forked daemon; all of them ignore TERM.
TREE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
child = subprocess.Popen(sleeper, start_new_session=True)
daemon_code = "import subprocess,sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=2).pid)"
daemon = subprocess.run([sys.executable, "-c", daemon_code, *sleeper], stdout=subprocess.PIPE).stdout
print("tree", os.getpid(), child.pid, int(daemon), flush=True)
print('{"phase": "running"}', flush=True)
%s
"""


def tree_pids(held: Held) -> list[int]:
    line = next(line for line in held.log.decode().splitlines() if line.startswith("tree"))
    return [int(word) for word in line.split()[1:]]


def test_a_run_succeeds_and_everything_arrives(worker: Worker, server: ProtocolServer) -> None:
    files = {"conf/run.yaml": "key: s3cret-value"}
    data = server.add_input("data.txt", b"the input")
    spec = script(TRAIN, inputs=[data], outputs=["out.bin"], files=files, token="s3cret-value")
    server.answers_to_lose = {"claim": 1, "logs": 1, "started": 1, "finish": 1}
    held = server.add(spec)

    server.wait(lambda: held.finish)

    assert held.finish["exit_code"] == 0
    assert held.finish["reason"] is None
    assert held.finish["result"]["data"] == {"left": "well"}
    assert held.outputs == {"out.bin": bytes(1000)}
    assert held.metrics == {("loss", 1): 3.0, ("loss", 2): 1.5, ("loss", 3): 1.0}
    assert held.log.startswith(b"home True host None up to now\nthe input key: s3cret-value\n")
    assert held.log.count(b'"step": 3') == 1  # the answer to the first upload was lost
    assert held.started["env"]["TOKEN"] == "********"
    assert held.started["files"] == {"conf/run.yaml": "key: ********"}
    assert held.started["pid"] > 0
    server.wait(lambda: not worker.attempt(held.uuid).exists())
    assert server.inventories[0]["cpu"]["cores"] > 0
    assert server.samples[0]["ram_used_bytes"] > 0


def test_a_secret_of_the_claim_reaches_the_engine_and_no_report(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script("import os; print(len(os.environ['HF_TOKEN']))"), secrets={"HF_TOKEN": "hf_let_in"})
    server.wait(lambda: held.finish)
    assert held.log == b"9\n"
    assert "hf_let_in" not in f"{held.started}{held.finish}{held.beat}"
    server.wait(lambda: not worker.attempt(held.uuid).exists())


def test_a_failure_says_why(worker: Worker, server: ProtocolServer) -> None:
    crash = server.add(script("print('well');\nraise ValueError('the rope is wet')"))
    told = server.add(script('print(\'{"cause": "No memory left.", "reason": "out_of_memory"}\'); 1 / 0'))
    odd_option = server.add(script("", color="red"))
    no_model = server.add(script(""), model_path="/does/not/exist")
    outside = server.add(script("", files={"../over.txt": ""}))
    no_output = server.add(script("", outputs=["scores.json"]))
    unknown = server.add({"kind": "train", "engine": "vlm"})
    held = [crash, told, odd_option, no_model, outside, no_output, unknown]

    server.wait(lambda: all(attempt.finish for attempt in held))

    ends = [attempt.finish["reason"] for attempt in held]
    assert ends == [
        "engine_exited", "out_of_memory", "bad_config", "model_not_found", "bad_config", "engine_exited",
        "bad_config",
    ]  # fmt: skip
    causes = [attempt.finish["cause"] for attempt in held]
    assert causes[:2] == ["ValueError: the rope is wet", "No memory left."]
    for cause, part in zip(causes[2:], ["color", "/does/not", "../over.txt", "scores.json", "'vlm'"], strict=True):
        assert part in cause


@pytest.mark.parametrize(("unknown", "reason"), [(set(), "result_refused"), ({"result_refused"}, "server_error")])
def test_a_refused_result_is_told_as_such_or_in_the_words_of_an_older_server(
    worker: Worker, server: ProtocolServer, unknown: set[str], reason: str
) -> None:
    server.max_output_bytes, server.unknown_reasons = 999, unknown
    large_file = server.add(script("open('rows.bin', 'wb').write(bytes(1000))", outputs=["rows.bin"]))
    large_result = server.add(script("", leaves="x" * 1024 * 1024))
    server.wait(lambda: large_file.finish and large_result.finish)
    for held in (large_file, large_result):
        assert (held.finish["reason"], held.finish["result"]["ok"]) == (reason, False)
        assert "refused: too large" in held.finish["cause"]


def test_cancel_leaves_no_process(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.3)
    server.wait(lambda: b"tree" in held.log)
    alive_at_finish: list[bool] = []
    server.on_finish = lambda held: alive_at_finish.extend(map(is_alive, tree_pids(held)))
    assert all(map(is_alive, tree_pids(held)))

    held.cancel = True
    server.wait(lambda: held.finish)

    assert (held.finish["reason"], held.finish["exit_code"]) == ("cancelled_by_user", -signal.SIGKILL)
    assert alive_at_finish == [False, False, False]


def test_what_an_engine_leaves_behind_ends_with_it(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script(TREE % "sys.exit(3)"))
    alive_at_finish: list[bool] = []
    server.on_finish = lambda held: alive_at_finish.extend(map(is_alive, tree_pids(held)))
    server.wait(lambda: held.finish)
    assert held.finish["exit_code"] == 3
    assert alive_at_finish == [False, False, False]


def test_a_lost_lease_kills_the_engine(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    held.is_open = False  # heartbeats now answer "gone", everything else 409
    server.wait(lambda: not worker.attempt(held.uuid).exists())
    assert not any(map(is_alive, tree_pids(held)))
    assert not held.finish


def test_an_upload_that_meets_409_kills_the_engine(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    worker = make_worker()
    worker.start()
    talk = "import os, time\nprint('tree', os.getpid())\nwhile True: print('more'); time.sleep(0.05)"
    held = server.add(script(talk))
    server.wait(lambda: b"more" in held.log)
    held.token = "another worker's"
    server.wait(lambda: not worker.attempt(held.uuid).exists())
    assert not any(map(is_alive, tree_pids(held)))


def test_too_slow_a_start_and_no_progress(worker: Worker, server: ProtocolServer) -> None:
    quiet = server.add(script("import time; time.sleep(600)"), start_timeout_seconds=0.3)
    step = "import time\nwhile True: print('{\"progress_done\": 1}'); time.sleep(0.05)"
    stuck = server.add(script(step), stall_seconds=0.5)
    idle = server.add(script(SERVE, kind="serve"), stall_seconds=0.5, port=0)
    server.wait(lambda: quiet.finish and stuck.finish)
    assert (quiet.finish["reason"], quiet.finish["exit_code"]) == ("timed_out", -15)
    assert stuck.finish["reason"] == "stalled"
    assert "0.5 s" in stuck.finish["cause"]
    assert not idle.finish


SERVE = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_an_endpoint_becomes_ready_on_another_port_when_its_own_is_taken(
    worker: Worker, server: ProtocolServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        leased = taken.getsockname()[1]
        held = server.add(script(SERVE, kind="serve"), port=leased)
        server.wait(lambda: held.beat.get("phase") == "ready")
    assert held.beat["port"] not in (0, leased)
    with socket.create_connection(("127.0.0.1", held.beat["port"])):
        held.cancel = True
    server.wait(lambda: held.finish)


def test_a_killed_worker_finds_its_engine_again(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    worker = make_worker()
    worker.start()
    code = "import os, time, pathlib\nprint('tree', os.getpid())\nprint('{\"phase\": \"running\"}')\n"
    held = server.add(script(code + "while not pathlib.Path('go').exists(): time.sleep(0.05)\nprint('bye')"))
    server.wait(lambda: b"tree" in held.log)
    (engine,) = tree_pids(held)

    worker.end(signal.SIGKILL)
    assert is_alive(engine)
    worker.start()
    held.beat = {}
    server.wait(lambda: held.beat.get("phase") == "running")
    assert is_alive(engine)
    worker.end(signal.SIGKILL)
    (worker.attempt(held.uuid) / "work/go").touch()
    deadline = time.monotonic() + 10
    while (found := journal.read(worker.attempt(held.uuid))) and found.state != "exited":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    worker.start()  # it ended while nobody looked

    server.wait(lambda: held.finish)
    assert (held.finish["exit_code"], held.finish["reason"]) == (0, None)
    assert held.claims == 1
    assert held.log.decode() == f"tree {engine}\n" + '{"phase": "running"}\nbye\n'


def test_a_killed_shim_takes_its_whole_tree_along(worker: Worker, server: ProtocolServer) -> None:
    held = server.add(script(TREE % "time.sleep(600)"))
    server.wait(lambda: b"tree" in held.log)
    found = journal.read(worker.attempt(held.uuid))
    assert found is not None
    os.kill(found.shim_pid, signal.SIGKILL)
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "worker_lost"
    assert not any(map(is_alive, tree_pids(held)))


def test_a_shim_that_is_killed_before_it_begins_is_no_fault_of_the_environment(
    make_worker: Callable[..., Worker], server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILL_SHIMS", "1")
    held = server.add(script("print('never')"))
    make_worker().start()
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "worker_lost"
    assert held.finish["cause"] == "The process to watch it was killed at once."


def test_after_a_reboot_a_reused_pid_is_left_alone(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    worker = make_worker()
    worker.start()
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    worker.end(signal.SIGKILL)
    folder = worker.attempt(held.uuid)
    found = journal.read(folder)
    assert found is not None
    shim = found.shim_pid
    (folder / journal.NAME).rename(folder / "kept")
    # Its own shim ends when the journal is gone; then the record looks as after a reboot.
    while is_alive(shim):
        time.sleep(0.02)
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        found.boot_id, found.shim_pid, found.engine_pid = "another", bystander.pid, bystander.pid
        journal.write(folder, found)
        worker.start()
        server.wait(lambda: held.finish)
        assert held.finish["reason"] == "worker_lost"
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_ctrl_c_interrupts_and_leaves_nothing(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    worker = make_worker()
    worker.start("--end-on-exit")
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    assert worker.end(signal.SIGINT) == 0
    assert held.finish["reason"] == "interrupted"
    assert not any(map(is_alive, tree_pids(held)))


def test_an_end_that_could_not_be_told_is_told_at_the_next_start(
    make_worker: Callable[..., Worker], server: ProtocolServer
) -> None:
    worker = make_worker()
    worker.start("--end-on-exit")
    held = server.add(script(TREE % "time.sleep(600)"), grace_seconds=0.2)
    server.wait(lambda: b"tree" in held.log)
    server.is_down = True
    assert worker.end() == 0
    assert not any(map(is_alive, tree_pids(held)))
    assert not held.finish
    server.is_down = False
    worker.start()
    server.wait(lambda: held.finish)
    assert held.finish["reason"] == "interrupted"


def test_a_flood_of_output_keeps_both_ends(worker: Worker, server: ProtocolServer) -> None:
    flood = "for n in range(60000): print(f'line {n:06}' + ' ' * 20)\n"
    held = server.add(script(flood + 'print(\'{"step": 1, "metrics": {"loss": 1}}\')'))
    server.wait(lambda: held.finish)
    lines = held.log.decode().splitlines()
    assert len(held.log) < 221_000
    assert lines[0].startswith("line 000000")
    assert lines[-2].startswith("line 059999")
    assert any("bytes left out here" in line for line in lines)
    assert held.metrics == {("loss", 1): 1.0}  # read from the tail


def test_a_full_disk_is_named(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    worker = make_worker()
    data = server.add_input("data.txt", b"the input")
    no_input = server.add(script("", inputs=[data]))
    no_log = server.add(script("print('tree'); raise SystemExit(1)"))
    for held, name in ((no_input, "work/inputs/data.txt.part"), (no_log, "log")):
        path = worker.attempt(held.uuid) / name
        path.parent.mkdir(parents=True)
        (worker.attempt(held.uuid) / "work").mkdir(exist_ok=True)
        path.symlink_to("/dev/full")
    worker.start()
    server.wait(lambda: no_input.finish and no_log.finish)
    assert (no_input.finish["reason"], no_log.finish["reason"]) == ("disk_full", "disk_full")


def test_a_log_that_the_server_lost_is_sent_again(worker: Worker, server: ProtocolServer) -> None:
    code = "import pathlib, time\nprint('one')\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\nprint('two')"
    held = server.add(script(code))
    server.wait(lambda: held.log == b"one\n")
    held.log = b"o"  # its database went back in time
    (worker.attempt(held.uuid) / "work/go").touch()
    server.wait(lambda: held.finish)
    assert held.log == b"one\ntwo\n"


def test_a_damaged_input_starts_nothing(worker: Worker, server: ProtocolServer) -> None:
    data = server.add_input("data.txt", b"the input")
    server.blobs[data["sha256"]] = b"the imput"
    held = server.add(script("print('ran')", inputs=[data]))
    server.wait(lambda: held.finish)
    assert "data.txt arrived damaged" in held.finish["cause"]
    assert held.log == b""


def test_without_a_broker_the_worker_sweeps(make_worker: Callable[..., Worker], server: ProtocolServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    worker = make_worker(broker_url=f"redis://127.0.0.1:{port}/0")
    worker.start()
    held = server.add(script("print('done')"))
    server.wait(lambda: held.finish)
    started = time.monotonic()
    assert worker.end() == 0
    assert time.monotonic() - started < 5


def test_a_second_worker_on_the_same_state_refuses(worker: Worker, server: ProtocolServer, tmp_path: Path) -> None:
    server.wait(lambda: server.samples)
    second = Worker(tmp_path, server.url)
    second.start()
    assert second.process is not None
    assert second.process.wait(20) == 1
