"""The supervisor's parts: the journal, one child, the lines shown, the address, the lock on the home."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stackweb.supervisor import child as child_module
from stackweb.supervisor import engines
from stackweb.supervisor.address import EVERYWHERE, Address, read_address
from stackweb.supervisor.child import Child, Program
from stackweb.supervisor.engines import end_engines
from stackweb.supervisor.home import Home, UpError
from stackweb.supervisor.journal import Journal
from stackweb.supervisor.terminal import LineFilter, Terminal

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
Start = Callable[[str], Child]


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a small Python program as a supervised child."""
    children: list[Child] = []

    def start_child(source: str) -> Child:
        program = Program("small", lambda: [sys.executable, "-c", source], dict(os.environ), tmp_path, stop_seconds=1)
        child = Child(program, Journal(tmp_path), tmp_path, Terminal())
        children.append(child)
        child.start()
        return child

    yield start_child
    for child in children:
        child.stop(lambda: True)


def test_journal_names_the_running_process_and_not_a_later_one(start: Start, tmp_path: Path) -> None:
    child = start("import time; time.sleep(60)")
    wait_for(lambda: Journal(tmp_path).left_over())
    (entry,) = Journal(tmp_path).left_over()
    assert (entry.name, entry.pid) == ("small", child.pid)

    # The same number with another start time, or from before a reboot, is somebody else.
    file = tmp_path / "small.pid"
    pid, ticks, boot = file.read_text().split()
    for impostor in (f"{pid} {int(ticks) - 1} {boot}", f"{pid} {ticks} another-boot", ""):
        file.write_text(impostor)
        assert Journal(tmp_path).left_over() == []


def test_left_over_process_that_ignores_term_is_killed(start: Start, tmp_path: Path) -> None:
    child = start(DEAF)
    wait_for(lambda: child.log.exists() and child.log.read_bytes() == b"x\n")
    (entry,) = Journal(tmp_path).left_over()
    entry.stop(signal.SIGTERM, seconds=0.2)
    assert not entry.is_alive()


PARENT = (
    "import subprocess, sys, time; other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    " start_new_session={own}); print(other.pid, flush=True); time.sleep(60)"
)


def kill_parent(child: Child) -> psutil.Process:
    """Kills a child that has a process below it, and returns that process."""
    wait_for(lambda: child.log.exists() and child.log.read_bytes().endswith(b"\n"))
    other = psutil.Process(int(child.log.read_text()))
    assert child.pid
    psutil.Process(child.pid).kill()
    wait_for(lambda: not child.is_running())
    return other


def test_what_a_killed_child_left_behind_ends_before_it_starts_again(start: Start) -> None:
    child = start(PARENT.format(own=False))
    other = kill_parent(child)
    assert child.look()
    wait_for(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE)


def test_what_an_earlier_start_left_behind_ends(start: Start, tmp_path: Path) -> None:
    other = kill_parent(start(PARENT.format(own=False)))
    Journal(tmp_path).end_remains()
    wait_for(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE)


def test_a_process_with_a_session_of_its_own_goes_on(start: Start, tmp_path: Path) -> None:
    child = start(PARENT.format(own=True))
    other = kill_parent(child)
    try:
        assert child.look()
        Journal(tmp_path).end_remains()
        assert other.is_running()
        assert other.status() != psutil.STATUS_ZOMBIE
    finally:
        other.kill()


def test_dead_child_starts_again_and_the_terminal_says_why(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "DELAYS_SECONDS", (0, 0))
    child = start("import sys; print('ERROR disk is full'); sys.exit(7)")
    for deaths in (1, 2):
        wait_for(lambda: not child.is_running())
        assert child.look()
        assert child.failures == deaths
        assert child.look()  # starts it again
    wait_for(lambda: not child.is_running())
    assert not child.look(), "a third death in a row is one too many"
    assert child.cause == "ended with code 7: ERROR disk is full"
    shown = capsys.readouterr().out
    assert "ended with code 7: ERROR disk is full" in shown
    assert "started again" in shown


def test_stop_insists(start: Start) -> None:
    child = start(DEAF)
    wait_for(lambda: child.log.exists() and child.log.read_bytes() == b"x\n")
    child.stop(lambda: True)
    assert not child.is_running()
    assert child.look(), "a stopped child is not started again"
    assert not child.is_running()


def test_log_is_rotated(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_BYTES", 600)
    child = start("for i in range(1000, 1200): print(i)")
    wait_for(lambda: not child.is_running())
    child.stop(lambda: False)
    assert child.log.read_text().endswith("1199\n")
    assert child.log.stat().st_size <= 600
    assert child.log.with_name("small.log.1").exists()


def test_only_trouble_is_shown_and_each_trouble_once_a_minute() -> None:
    now = 0.0
    lines = LineFilter(clock=lambda: now)
    assert not lines.shows("INFO all is well")
    assert lines.shows("WARNING 12:00:01 host gpu-1 is silent")
    assert not lines.shows("WARNING 12:00:02 host gpu-1 is silent")
    now = 61.0
    assert lines.shows("WARNING 12:01:02 host gpu-1 is silent")
    assert not lines.shows("Traceback (most recent call last):")
    assert not lines.shows('  File "x.py", line 1')
    assert not lines.shows("")
    assert lines.shows("ValueError: no such model")
    assert lines.cause == "ValueError: no such model"


@pytest.mark.parametrize(
    ("bind", "port", "says"),
    [
        ("127.0.0.1", "http", "STACKWEB_PORT is 'http'; it must be a number from 1 to 65535"),
        ("127.0.0.1", "70000", "STACKWEB_PORT is '70000'"),
        ("gpu-1.lan", "8400", "--bind is 'gpu-1.lan'; it must be an IPv4 address"),
        ("192.0.2.1", "8400", "--bind is 192.0.2.1, which is not an address of this machine"),
    ],
)
def test_wrong_address_names_the_setting(bind: str, port: str, says: str) -> None:
    with pytest.raises(UpError, match=says):
        read_address(bind, port)


def test_taken_port_names_the_setting_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UpError, match=rf"Port {port} .* is taken .* STACKWEB_PORT={port + 1} make up"):
            Address("127.0.0.1", port).check_free()
    Address("127.0.0.1", port).check_free()


def test_open_address_answers_to_the_names_of_this_machine() -> None:
    assert {socket.gethostname(), "127.0.0.1"} <= set(read_address(EVERYWHERE, "8400").allowed_hosts())


def test_home_is_private_and_remembers(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    assert home.path.stat().st_mode & 0o777 == 0o700
    password, port = home.password("postgres"), home.port("postgres")
    assert (home.path / "secrets" / "postgres").stat().st_mode & 0o777 == 0o600
    home.lock()
    home.unlock()
    again = Home(tmp_path / "home")
    assert (again.password("postgres"), again.port("postgres")) == (password, port)
    again.lock()
    again.unlock()


def test_unusable_home_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UpError, match=r"STACKWEB_HOME is .*Not a directory.*Set STACKWEB_HOME"):
        Home(tmp_path / "file" / "home").make()


def test_second_up_on_the_same_home_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.lock()
    home.write_services(web_url="http://127.0.0.1:8400")
    second = subprocess.run(
        [Path(sys.executable).with_name("stackweb"), "up"],
        env={**os.environ, "STACKWEB_HOME": str(home.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"already runs on {home.path} (process {os.getpid()}, http://127.0.0.1:8400)" in second.stderr
    home.unlock()


def test_an_engine_without_its_agent_is_ended_at_the_stop(tmp_path: Path) -> None:
    home, other_home = Home(tmp_path / "home"), Home(tmp_path / "home-2")
    attempt = home.worker_config.parent / "state" / "attempts" / "one"
    # Looks like a shim that does not listen, with its engine below it.
    source = "import signal, subprocess; signal.signal(15, signal.SIG_IGN); subprocess.run(['sleep', '60'])"
    shim = subprocess.Popen([sys.executable, "-c", source, "workers.shim", str(attempt)])
    wait_for(lambda: psutil.Process(shim.pid).children())
    (engine,) = psutil.Process(shim.pid).children()
    wait_for(lambda: engine.name() == "sleep")

    end_engines(other_home, lambda: True)
    assert shim.poll() is None, "another home's engine is left alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "HURRIED_SECONDS", 0.2)
        end_engines(home, lambda: True)
    assert shim.wait(5) == -signal.SIGKILL
    wait_for(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)
