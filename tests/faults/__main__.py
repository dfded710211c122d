"""`make faults`: N seeded faults while jobs run, then the judgement. Exits 1 when a bar is missed.

python -m tests.faults [--faults 100] [--seed 1] [--bug free_at_expiry]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.faults.bug import BUGS
from tests.faults.faults import FAULTS
from tests.faults.judge import Bar
from tests.faults.rehearsal import rehearse, say
from tests.faults.rig import running_rig
from tests.faults.run import Run


def main() -> int:
    given = arguments().parse_args()
    with running_rig(given.seed, given.hosts, given.gpus, given.keep) as rig:
        run = Run(rig, rig.random)
        with BUGS[given.bug](rig):
            jobs, acted, bars = rehearse(run, given.faults)
        print_table(run, bars, acted, Counter(job["status"] for job in jobs))
    return 0 if all(bar.ok for bar in bars) else 1


def print_table(run: Run, bars: list[Bar], acted: Counter[str], ends: Counter[str]) -> None:
    say("")
    say(f"{'id':5}{'fault':58}{'times':>6}{'median s':>10}{'missed':>8}")
    for one in FAULTS:
        took = sorted(each.took_seconds for each in run.happened if each.name == one.name)
        missed = sum(1 for id, _ in run.misses if id == one.id)
        middle = f"{took[len(took) // 2]:.1f}" if took else "-"
        say(f"{one.id:5}{one.name:58}{len(took):>6}{middle:>10}{missed:>8}")
    say("")
    say(f"{len(run.happened)} faults in {time.monotonic() - run.began:.0f} s, seed {run.rig.seed}.")
    say("Jobs: " + ", ".join(f"{count} {status}" for status, count in sorted(ends.items())))
    say("Run again by a person: " + (", ".join(f"{count} × {why}" for why, count in acted.items()) or "none"))
    if run.site.deaths:
        say("Server parts that ended by themselves and were started again: " + ", ".join(run.site.deaths))
    say("")
    for bar in bars:
        say(f"{'ok' if bar.ok else 'MISSED':7}{bar.what}: {bar.value:g} (must be {bar.target}) {bar.found}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="break the server on purpose")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, kept for a look afterwards")
    return parser


if __name__ == "__main__":
    sys.exit(main())
