"""Faults while jobs run, judged by a witness: lost, run twice, left behind, adopted again, seen dead.

    .venv/bin/python bench/faults.py [--faults 100] [--kills 10] [--deaths 12] [--seed 1] [--beside 1] [--gpus 2]

Without arguments a sample of about a quarter of an hour. A row is `ok` only after the whole: 1,000 faults and 200
kills of an agent; a sample that missed nothing says "sample" and ends well. `--beside 2` shares faults and kills
between two rigs at once; with `--gpus 1` half as many jobs run for each fault, and two rigs fit on two cores. An
agent's death among the faults counts as a kill. Rigs run at a shortened pace, but dead engines are timed at the
product's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.bug import free_at_expiry, provoke  # noqa: E402
from tests.faults.faults import FAULTS, Fault  # noqa: E402
from tests.faults.judge import Bar  # noqa: E402
from tests.faults.rehearsal import rehearse, say  # noqa: E402
from tests.faults.rig import running_rig  # noqa: E402
from tests.faults.run import Run  # noqa: E402
from tests.faults.site import wait_for  # noqa: E402
from workers import processes  # noqa: E402

WHOLE_FAULTS, WHOLE_KILLS = 1000, 200
AGENT_KILL = [each for each in FAULTS if each.id == "R1"]
DEAD_SECONDS, LONGEST_SECONDS = 10.0, 60.0
PARTS = ("api", "core", "shim")


@dataclass
class Told:
    """What one or several rigs found."""

    faults: int = 0
    promised: int = 0
    done: int = 0
    adoptions: int = 0
    adopted: int = 0
    kills: int = 0  # of agents
    late: int = 0  # adoptions over 15 s
    bars: dict[str, Bar] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def add(self, other: Told) -> None:
        for name in ("faults", "promised", "done", "adoptions", "adopted", "kills", "late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bars |= other.bars
        self.counts += other.counts
        self.found += other.found


@dataclass(frozen=True)
class Row:
    id: str
    what: str
    value: float
    unit: str
    target: str
    is_held: bool
    is_whole: bool = True

    def written(self) -> dict[str, object]:
        facts = {name: getattr(self, name) for name in ("id", "what", "value", "unit", "target")}
        return facts | {"ok": self.is_held and self.is_whole}

    def printed(self) -> str:
        word = "MISSED" if not self.is_held else "ok" if self.is_whole else "sample"
        return f"{self.id:<15}{self.what:<92}{self.value:>8g} {self.unit:<7}{self.target:<9}{word}"


def main() -> int:
    asked = arguments().parse_args()
    told = rehearsed(asked, asked.seed, asked.faults, FAULTS)
    rows = shown(fault_rows(told))
    if (missing := asked.kills - told.kills) > 0:
        told.add(rehearsed(asked, asked.seed + 100, missing, AGENT_KILL))
    rows += shown(kill_rows(told))
    rows += shown([bug_row(asked.seed)])
    rows += shown([death_row(asked.seed, asked.deaths)])
    out = ROOT / "build" / "bench" / "faults.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([row.written() for row in rows], indent=1) + "\n")
    if not all(row.is_whole for row in rows):
        say(f"A sample. The whole: bench/faults.py --faults {WHOLE_FAULTS} --kills {WHOLE_KILLS}")
    return 0 if all(row.is_held for row in rows) else 1


def shown(rows: list[Row]) -> list[Row]:
    """At once: two hours of faults are not lost to trouble in a later row."""
    for row in rows:
        say(row.printed())
    return rows


def rehearsed(asked: argparse.Namespace, seed: int, count: int, among: list[Fault]) -> Told:
    """`count` faults, shared between so many rigs at once, each of a seed of its own."""
    beside = asked.beside
    shares = [count // beside + (number < count % beside) for number in range(beside)]
    whole = Told()
    with ThreadPoolExecutor(beside) as pool:
        rigs = [pool.submit(one_rig, seed + number, shares[number], among, asked.gpus) for number in range(beside)]
    for number, rig in enumerate(rigs):
        if (error := rig.exception()) is None:
            whole.add(rig.result())
        else:  # what the others found is not lost with it
            whole.add(Told(counts=Counter(misses=1), found=[f"seed {seed + number}: {error!r}"]))
    for found in whole.found:
        say(found)
    return whole


def one_rig(seed: int, count: int, among: list[Fault], gpus: int) -> Told:
    try:
        with running_rig(seed, gpus=gpus) as rig:
            run = Run(rig, rig.random)
            jobs, _acted, bars = rehearse(run, count, among)
    except Exception as error:
        say(f"seed {seed}: the rig ended with {error!r}")  # at once: the other rigs go on for hours
        raise
    counts = Counter({bar.id: int(bar.value) for bar in bars if bar.unit == "count"})
    found = [f"seed {seed}: {bar.what}: {bar.found}" for bar in bars if not bar.ok]
    return Told(
        faults=len(run.happened),
        promised=len(rig.crowd.promises),
        done=sum(job["status"] == "succeeded" for job in jobs),
        adoptions=run.adoptions,
        adopted=run.adopted,
        kills=sum(each.id == "R1" for each in run.happened),
        late=sum(id == "R1" for id, _what in run.misses),
        bars={bar.id: bar for bar in bars},
        counts=counts,
        found=found,
    )


def fault_rows(told: Told) -> list[Row]:
    is_whole = told.faults >= WHOLE_FAULTS
    over = f"over {told.faults:,} faults" if is_whole else f"over a sample of {told.faults:,} faults"
    rows = [
        Row(id, f"{bar.what}, {over}", told.counts[id], "count", "0", told.counts[id] == 0, is_whole)
        for id, bar in told.bars.items() if bar.unit == "count"
    ]  # fmt: skip
    share = told.done / max(1, told.promised)
    what = f"jobs that ran to their end, {over}: {told.done} of {told.promised}"
    return [*rows, Row("jobs_done", what, round(share, 3), "share", ">= 0.9", share >= 0.9, is_whole)]


def kill_rows(told: Told) -> list[Row]:
    is_whole = told.kills >= WHOLE_KILLS
    share = told.adopted / max(1, told.adoptions)
    over = f"{told.kills} agent kills" if is_whole else f"a sample of {told.kills} agent kills"
    what = f"engines adopted again, over {over}: {told.adopted} of {told.adoptions}"
    slow = f"adoptions that were missed or took over 15 s, over {over}"
    return [
        Row("readopted", what, share, "share", "1", told.adoptions > 0 and share == 1, is_whole),
        Row("readopted_late", slow, told.late, "count", "0", not told.late, is_whole),
    ]


def bug_row(seed: int) -> Row:
    """Silent taken for dead must be seen, or the zeros above mean nothing."""
    with running_rig(seed, hosts=1, gpus=1) as rig, free_at_expiry(rig):
        seen = provoke(Run(rig, rig.random))
    what = "a planted bug, GPUs freed when a lease ends, is caught as a double use"
    return Row("bug_caught", what, len(seen), "count", ">= 1", bool(seen))


def death_row(seed: int, deaths: int) -> Row:
    """From the SIGKILL to the attempt's end in the API."""
    with running_rig(seed, hosts=2, gpus=1, is_hastened=False) as rig:
        run = Run(rig, rig.random)
        slowest = max(seconds_until_dead(run, number) for number in range(deaths))
    what = f"a dead engine is seen, the slowest of {deaths} deaths of {', '.join(PARTS)} in turn"
    return Row("dead_engine", what, round(slowest, 2), "s", f"<= {DEAD_SECONDS:g}", slowest <= DEAD_SECONDS)


def seconds_until_dead(run: Run, number: int) -> float:
    promise = run.rig.crowd.ask(f"death-{number}", seconds=600.0)
    wait_for(lambda: run.rig.job(promise.job)["status"] == "running", LONGEST_SECONDS, "it runs")
    host, uuid = run.where(promise.job)
    pids = host.pids(uuid) | {"shim": host.journals()[uuid].shim_pid}
    processes.send(pids[PARTS[number % len(PARTS)]], 9)
    since = time.monotonic()
    wait_for(lambda: has_ended(run.rig.job(promise.job), uuid), LONGEST_SECONDS, "its death is seen")
    took = time.monotonic() - since
    run.site.api.post(f"jobs/{promise.job}/cancel")  # a lost one would run again
    return took


def has_ended(job: dict[str, Any], attempt: str) -> bool:
    """A lost job may run again at once, in another attempt."""
    return any(each["uuid"] == attempt and each["ended_at"] for each in job["attempts"])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10, help="of agents; what the faults lack of them")
    parser.add_argument("--deaths", type=int, default=12, help="of engines, at the product's own pace")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", type=int, default=1, help="rigs at once that share them")
    parser.add_argument("--gpus", type=int, default=2, help="of each of a rig's four hosts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
