"""Cleans up after a rig that was killed itself: `python -m tests.faults.guard FOLDER`, its stdin held by the rig."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.host import with_environment
from workers import processes


def left_below(folder: str) -> set[int]:
    """By environment, and by working folder: the rig's own servers carry no environment of it."""
    found = with_environment(f"{folder}/".encode())
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd").startswith(f"{folder}/"):
                found.add(int(entry))
        except OSError:
            continue
    return found - {os.getpid()}


def main() -> None:
    folder = sys.argv[1]
    sys.stdin.read()  # until the rig is gone
    deadline = time.monotonic() + 30
    while (left := left_below(folder)) and time.monotonic() < deadline:
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        time.sleep(0.2)
    for state in Path(folder).glob("*/state"):
        if os.path.ismount(state):
            subprocess.run(["umount", "--lazy", str(state)], check=False)


if __name__ == "__main__":
    main()
