"""The sequence of `stackweb up`, from an empty folder to a login page and back to nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from stackweb.embedded.postgres import Postgres
from stackweb.embedded.running import READY_SECONDS, Server
from stackweb.embedded.valkey import Valkey
from stackweb.supervisor.address import Address
from stackweb.supervisor.child import Child, Program
from stackweb.supervisor.engines import end_engines
from stackweb.supervisor.home import Home, UpError
from stackweb.supervisor.journal import Journal
from stackweb.supervisor.programs import environment, own_programs, server_program
from stackweb.supervisor.terminal import Terminal
from stackweb.supervisor.web_side import manage, web_answers

LOOK_SECONDS = 0.2
# Two signals so close together are one wish: a terminal's HUP and make's TERM arrive as a pair.
SAME_WISH_SECONDS = 1.0


class StopRequested(Exception):
    """A signal arrived while starting."""


class Supervisor:
    """One run of Stackweb on one home."""

    def __init__(self, home: Home, address: Address, terminal: Terminal) -> None:
        self.home = home
        self.address = address
        self.terminal = terminal
        self.journal = Journal(home.run)
        self.children: list[Child] = []
        self._stop_wished = threading.Event()
        self._stop_wished_at = 0.0
        self._is_hurried = False

    def run(self) -> None:
        """Blocks until stopped by a signal.

        Raises UpError or EmbeddedError when it cannot start or a part keeps ending; then, too,
        everything is stopped first.
        """
        self._install_handlers()
        self.home.make()
        self.home.lock()
        try:
            self._stop_left_over()
            self.address.check_free()
            self._start()
            self._watch()
        except StopRequested:
            pass
        finally:
            self._stop()
            self.home.unlock()

    # Signals

    def _install_handlers(self) -> None:
        """Also where a signal was inherited as ignored or blocked, as under nohup."""
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in wanted:
            signal.signal(number, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._stop_wished.is_set():
            self._stop_wished_at = now
            self._stop_wished.set()
        elif now - self._stop_wished_at > SAME_WISH_SECONDS:
            self._is_hurried = True

    def _pause(self, seconds: float) -> None:
        """Raises StopRequested as soon as a signal came."""
        if self._stop_wished.wait(seconds):
            raise StopRequested

    # Starting

    def _stop_left_over(self) -> None:
        """Ends what a killed supervisor left. The worker's agent is killed, not asked: asked, it would
        stop the engines, which go on and are taken over by the new agent."""
        self.journal.end_remains()
        found = {entry.name: entry for entry in self.journal.left_over()}
        if not found:
            return
        with self.terminal.step(f"Ending {', '.join(found)} of an earlier start"):
            for name in ("worker", "control", "web", "valkey", "postgres"):
                if entry := found.get(name):
                    how = {"worker": signal.SIGKILL, "postgres": Postgres.stop_signal}.get(name, signal.SIGTERM)
                    entry.stop(how, seconds=10)
                    self.journal.forget(name)

    def _start(self) -> None:
        database_url = os.environ.get("DATABASE_URL", "")
        valkey = None
        if not database_url:
            port, password = self.home.port("postgres"), self.home.password("postgres")
            postgres = Postgres(self.home.path / "postgres", port, password)
            database_url = postgres.url
            self._start_server("postgres", "Postgres", postgres)
        if not os.environ.get("REDIS_URL"):
            port, password = self.home.port("valkey"), self.home.password("valkey")
            valkey = Valkey(self.home.path / "valkey", port, password, self.address.bind)
            self._start_server("valkey", "Valkey", valkey)
        env = environment(self.home, self.address, database_url, valkey)
        self.home.write_services(
            database_url=database_url,
            redis_url=env["REDIS_URL"],
            web_url=self.address.url,
            pids=self._pids(),
        )
        with self.terminal.step("Database tables"):
            self._manage(env, "migrate", "--noinput")
        with self.terminal.step("This installation"):
            self._manage(env, "prepare_install")
        self._start_own(env)
        claim_url = self._manage(env, "claim_url").strip()
        self._greet(claim_url)

    def _start_server(self, name: str, title: str, server: Server) -> None:
        with self.terminal.step(title):
            child = self._start_child(server_program(name, server, self.home))
            self._await(child, server.is_ready)

    def _start_own(self, env: dict[str, str]) -> None:
        for program in own_programs(self.home, self.address, env):
            titles = {"web": "Web and gateway", "control": "Control worker", "worker": "GPU worker"}
            with self.terminal.step(titles[program.name]):
                child = self._start_child(program)
                if program.name == "web":
                    self._await(child, lambda: web_answers(self.address))
        self._note_pids()

    def _start_child(self, program: Program) -> Child:
        child = Child(program, self.journal, self.home.logs, self.terminal)
        self.children.append(child)
        child.start()
        return child

    def _await(self, child: Child, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            if not child.is_running():
                raise UpError(f"{child.name} did not start, {child.cause}. Its log is {child.log}")
            if time.monotonic() > deadline:
                why = f": {child.trouble}" if child.trouble else ""
                raise UpError(f"{child.name} does not answer after {READY_SECONDS} s{why}. Its log is {child.log}")
            self._pause(0.05)

    def _manage(self, env: dict[str, str], *command: str) -> str:
        output = manage(self.home, env, *command)
        self._pause(0)
        return output

    def _pids(self) -> dict[str, int]:
        return {child.name: child.pid for child in self.children if child.pid}

    def _note_pids(self) -> None:
        self.home.write_services(**{**self.home.read_services(), "pids": self._pids()})

    def _greet(self, claim_url: str) -> None:
        self.terminal.line()
        self.terminal.line(f"Stackweb runs at {self.address.url}")
        if claim_url:
            self.terminal.line(f"Make the first admin here (works once, for 24 hours): {claim_url}")
        self.terminal.line(f"Logs are in {self.home.logs}. Ctrl-C stops everything; all state is kept.")
        self.terminal.line()

    # Running and stopping

    def _watch(self) -> None:
        pids = self._pids()
        while not self._stop_wished.wait(LOOK_SECONDS):
            for child in self.children:
                if not child.look():
                    raise UpError(f"{child.name} keeps ending, {child.cause}. Its log is {child.log}")
            if pids != (pids := self._pids()):
                self._note_pids()

    def _stop(self) -> None:
        """A start that never came to run anything stops nothing, not even an earlier start's engines."""
        if not self.children:
            return
        with self.terminal.step("Stopping; Ctrl-C again hastens"):
            worker = [child for child in self.children if child.name == "worker"]
            for child in worker:
                child.stop(lambda: self._is_hurried)
            if worker or self._stop_wished.is_set():
                end_engines(self.home, lambda: self._is_hurried)
            for child in reversed(self.children):
                child.stop(lambda: self._is_hurried)
        self.home.services.unlink(missing_ok=True)
