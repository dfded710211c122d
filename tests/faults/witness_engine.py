"""The fake engine with what makes real ones hard to end: a core in a session of its own and a daemon that
has left its parents. All three hold the witness's locks of their GPUs.

    python -m tests.faults.witness_engine train|serve --work-dir DIR ...   (the options of fake_run)
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from apps.engines.lines import failed_line
from apps.engines.programs import fake_run
from tests.faults import witness

SLEEP = ["sleep", "86400"]


def main() -> int:
    folder, host = Path(os.environ["FAULTS_WITNESS"]), os.environ["FAULTS_HOST"]
    attempt = os.environ["STACKWEB_ATTEMPT"]
    devices = [int(index) for index in os.environ["FAULTS_DEVICES"].split(",") if index]
    locks = [witness.hold_gpu(folder, host, index, attempt) for index in devices]
    core = subprocess.Popen(SLEEP, start_new_session=True, pass_fds=locks)
    daemon = start_daemon(locks)
    witness.append(folder / "starts", f"{attempt} {host} {os.getpid()}")
    witness.write_pids(folder, attempt, api=os.getpid(), core=core.pid, daemon=daemon)
    threading.Thread(target=end_with_core, args=(core,), daemon=True).start()
    if os.environ.get("FAULTS_FLOOD"):
        flood()
    code = fake_run.main()
    if code == 0:
        witness.append(folder / "effects", attempt)
    return code  # core and daemon are left to the shim


def flood() -> None:
    """As fast as it is read: a line of 10 MB, NUL bytes, terminal codes, then 150 MB of short lines."""
    with os.fdopen(os.dup(1), "wb") as out:
        out.write(b"x" * 10_000_000 + b"\n" + b"\0" * 100_000 + b"\n" + b"\x1b[31mred\x1b[0m\x1b[2J\n" * 10_000)
        block = b"a line of a flood that nobody will read\n" * 2500
        for _ in range(1500):
            out.write(block)


def start_daemon(locks: list[int]) -> int:
    """Forked twice, so that its parent is gone. Returns its pid."""
    told = subprocess.run(
        ["sh", "-c", "setsid sleep 86400 </dev/null >/dev/null 2>&1 & echo $!"],
        pass_fds=locks, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return int(told.stdout)


def end_with_core(core: subprocess.Popen[bytes]) -> None:
    """An API process without its core is of no use: it says so and ends."""
    core.wait()
    sys.stdout.write(failed_line("engine_exited", "The engine's core was killed") + "\n")
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
