"""The keeper of one attempt: `python -m workers.shim ATTEMPT_DIR`.

A small process of its own that starts the engine, keeps its output in a capped log, writes down what
happens, and at the end sees to it that not one process of the attempt is left. The agent may die,
restart or be upgraded meanwhile. As subreaper the shim inherits every orphan below it, so "no children"
means "nothing left". It imports the standard library only, to start fast and to stay small.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from workers import cgroups, journal, processes
from workers.logfile import CappedLog, Lines

LAUNCH = "launch.json"
STOP = "stop"  # a file of this name asks for the end, like TERM does
LOCK = "shim.lock"
READ_BYTES = 256 * 1024
LEFTOVER_SECONDS = 2.0  # what children get to end by themselves after the engine has
SPAWN_FAILED = 127  # the exit code shells use for a command that cannot start
PR_SET_CHILD_SUBREAPER = 36


class Shim:
    """States: starting -> running -> stopping -> exited; `exited` is written when nothing is alive."""

    def __init__(self, folder: Path) -> None:
        launch = journal.read_json(folder / LAUNCH)
        if launch is None:
            raise SystemExit(f"{folder / LAUNCH} is missing or not whole.")
        self.folder = folder
        self.launch = launch
        self.log = CappedLog(folder, launch["log_head_bytes"], launch["log_tail_bytes"])
        self.lines = Lines()
        self.pipe = -1
        self.engine = 0
        self.engine_code: int | None = None
        self.is_asked_to_stop = False
        self.kill_at: float | None = None
        self.wake_read, self.wake_write = os.pipe()
        self.journal = journal.Journal(
            boot_id=processes.boot_id(),
            epoch=launch["epoch"],
            shim_pid=os.getpid(),
            shim_ticks=processes.start_ticks(os.getpid()),
            port=launch["port"],
        )
        self.group = cgroups.make(cgroups.name_of(launch["uuid"])) if launch.get("cgroup") else None
        self.journal.cgroup = str(self.group or "")

    def run(self) -> None:
        self.note()
        self.listen()
        if self.start():
            while not self.turn():
                pass
        self.finish()

    def listen(self) -> None:
        """Handlers, not SIG_IGN: an engine must not inherit ignored signals."""
        os.set_blocking(self.wake_write, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.on_term)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def on_term(self, number: int, frame: FrameType | None) -> None:
        self.is_asked_to_stop = True

    def start(self) -> bool:
        """Starts the engine in its own session and group; False when it cannot be started."""
        self.pipe, output = os.pipe()
        try:
            process = self.spawn(output)
        except (OSError, ValueError) as error:
            self.journal.error = f"{self.launch['argv'][0]} could not be started: {error}."
            self.journal.exit_code = SPAWN_FAILED
            return False
        finally:
            os.close(output)
            (self.folder / LAUNCH).unlink()  # its env may hold secrets
        process.returncode = 0  # reaped here, by waitpid on everything
        self.engine = process.pid
        self.journal.engine_pid = process.pid
        self.journal.engine_ticks = processes.start_ticks(process.pid)
        self.journal.started_at = processes.boot_clock()
        self.note("running")
        return True

    def spawn(self, output: int) -> subprocess.Popen[bytes]:
        def popen() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                self.launch["argv"],
                env=self.launch["env"],
                cwd=self.launch["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Safe, because the shim has one thread; and the engine runs no line outside its group.
                preexec_fn=self.enter_group,  # noqa: PLW1509
            )

        try:
            return popen()
        except subprocess.SubprocessError:  # it may not enter the group: then it goes without
            self.leave_group()
            return popen()

    def enter_group(self) -> None:
        if self.group is not None:
            cgroups.join(self.group)

    def leave_group(self) -> None:
        if self.group is not None:
            cgroups.remove(self.group)
        self.group, self.journal.cgroup = None, ""

    def turn(self) -> bool:
        """One round of reading, reaping and, when it is time, ending; True when nothing is left."""
        hurry = self.kill_at is not None and time.monotonic() >= self.kill_at
        sources = [self.wake_read] + ([self.pipe] if self.pipe >= 0 else [])
        ready, _, _ = select.select(sources, [], [], 0.02 if hurry else 0.5)
        if self.wake_read in ready:
            os.read(self.wake_read, 4096)
        self.read_output(self.pipe in ready)
        if self.reap() and not self.is_group_populated():
            return True
        self.end_what_must_end()
        return False

    def is_group_populated(self) -> bool:
        return self.group is not None and cgroups.is_populated(self.group)

    def read_output(self, is_ready: bool) -> None:
        now = time.monotonic()
        if not is_ready:
            self.log.write(self.lines.idle(now))
            return
        data = os.read(self.pipe, READ_BYTES)
        if data:
            self.log.write(self.lines.feed(data, now))
        else:
            os.close(self.pipe)
            self.pipe = -1

    def reap(self) -> bool:
        """Collects every ended child; True when there is none left at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.engine:
                self.engine_code = os.waitstatus_to_exitcode(status)

    def end_what_must_end(self) -> None:
        now = time.monotonic()
        if self.kill_at is None and (self.engine_code is not None or self.is_stop_wanted()):
            self.note("stopping")
            self.terminate()
            grace = float(self.launch["grace_seconds"])
            self.kill_at = now + (grace if self.engine_code is None else min(grace, LEFTOVER_SECONDS))
        elif self.kill_at is not None and self.engine_code is not None:
            self.kill_at = min(self.kill_at, now + LEFTOVER_SECONDS)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill()

    def kill(self) -> None:
        if not self.journal.killing_at:
            self.journal.killing_at = processes.boot_clock()
            self.note()
        if self.group is not None:
            cgroups.kill(self.group)
        for pid in processes.descendants(os.getpid()):
            processes.send(pid, signal.SIGKILL)

    def is_stop_wanted(self) -> bool:
        """Asked; or the attempt's folder is gone, and with it whoever could ask."""
        return self.was_asked() or not (self.folder / journal.NAME).exists()

    def was_asked(self) -> bool:
        return self.is_asked_to_stop or (self.folder / STOP).exists()

    def terminate(self) -> None:
        if self.engine_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.engine, signal.SIGTERM)
            return
        for pid in processes.descendants(os.getpid()):
            processes.send(pid, signal.SIGTERM)

    def finish(self) -> None:
        """Reads what is left in the pipe, then writes the end down: only now, when nothing is alive."""
        while self.pipe >= 0 and select.select([self.pipe], [], [], 0)[0]:
            self.read_output(True)
        self.log.write(self.lines.end())
        self.log.close()
        self.journal.was_asked = self.was_asked()
        if self.journal.exit_code is None:
            self.journal.exit_code = self.engine_code
        self.journal.memory_kills = cgroups.memory_kills(self.group)
        if self.group is not None:
            cgroups.remove(self.group)
        self.note("exited")

    def note(self, state: journal.State | None = None) -> None:
        """Writes the journal. Only the end is worth waiting for a disk that has no room."""
        self.journal.state = state or self.journal.state
        self.journal.disk_full = self.log.disk_full
        while True:
            try:
                journal.write(self.folder, self.journal)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno not in journal.FULL or self.journal.state == "starting":
                    raise
                if self.journal.state == "exited":
                    time.sleep(1.0)
                    continue
            return

    def end_everything(self) -> None:
        """The last resort when the shim itself breaks: it never leaves an engine without a keeper."""
        while not self.reap() or self.is_group_populated():
            if self.group is not None:
                cgroups.kill(self.group)
            for pid in processes.descendants(os.getpid()):
                processes.send(pid, signal.SIGKILL)
            time.sleep(0.02)


def main() -> None:
    folder = Path(sys.argv[1])
    lock = os.open(folder / LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"{folder} already has its shim.") from None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SystemExit(f"This kernel refuses a subreaper: {os.strerror(ctypes.get_errno())}.")
    shim = Shim(folder)
    try:
        shim.run()
    finally:
        shim.end_everything()


if __name__ == "__main__":
    main()
