"""The last look when everything stops: engines that no agent was there to end.

The agent ends its engines itself. One that was in back-off, or had to be killed, could not; the shims
it left take a TERM, end their engine and write down how it ended, for the next agent to report.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

from stackweb.supervisor.home import Home

GRACE_SECONDS = 60.0
HURRIED_SECONDS = 5.0


def shims_of(home: Home) -> list[psutil.Process]:
    """The shims of this home's own host, by their command line."""
    folder = str(home.worker_config.parent) + "/"
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            argv = process.cmdline()
            if "workers.shim" in argv and argv[-1].startswith(folder):
                found.append(process)
    return found


def end_engines(home: Home, is_hurried: Callable[[], bool]) -> None:
    """Asks every shim to end its engine, then kills shim and engine; returns when all are gone."""
    shims = shims_of(home)
    for shim in shims:
        with contextlib.suppress(psutil.NoSuchProcess):
            shim.terminate()
    since = time.monotonic()
    while any(_is_alive(shim) for shim in shims):
        if time.monotonic() - since > (HURRIED_SECONDS if is_hurried() else GRACE_SECONDS):
            for shim in shims:
                _kill_tree(shim)
            return
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill_tree(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
