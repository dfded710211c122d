"""Where the worker may make no cgroup itself, a running systemd can give each shim a scope of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from workers.cgroups import Isolation, try_isolation

SCOPE = ("--scope", "--quiet", "--collect", "--property=Delegate=yes", "--")
PROBE_SECONDS = 10.0
# With these a process finds its user's systemd.
BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


@cache
def isolation() -> Isolation:
    """Found out by trying, once."""
    return "cgroup" if try_isolation() == "cgroup" or scope() else "process_group"


@cache
def scope() -> tuple[str, ...]:
    """What goes before a shim's argv; empty where it is not needed, or systemd does not do it."""
    if try_isolation() == "cgroup":
        return ()
    for whose in ("--user", "--system"):
        argv = ("systemd-run", whose, *SCOPE)
        try:
            found = subprocess.run(
                [*argv, sys.executable, "-m", "workers.cgroups"],
                cwd=Path(__file__).parent.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=PROBE_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            continue
        if found.stdout.strip() == "cgroup":
            return argv
    return ()


def bus() -> dict[str, str]:
    """The part of our environment that a scope needs."""
    return {name: os.environ[name] for name in BUS if name in os.environ} if scope() else {}
