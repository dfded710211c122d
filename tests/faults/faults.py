"""The faults, each by its id in the trust plan. A fault happens, is watched, and leaves things for `Rig.heal`.

A function takes the run, does one fault and returns what was found; what must not be is told by `run.miss`.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stackweb.supervisor.programs import PYTHON
from tests.faults.host import FakeHost, of_attempt
from tests.faults.messages import send_duplicates
from tests.faults.run import Run
from tests.faults.site import wait_for
from tests.faults.timing import LEASE_SECONDS
from workers import processes

Happen = Callable[[Run], str]
PAST_LEASE_SECONDS = LEASE_SECONDS + 2.0
ADOPT_SECONDS, EMPTY_SECONDS, NORMAL_SECONDS, END_SECONDS = 15.0, 10.0, 60.0, 45.0
RACE_SECONDS = 600.0  # half a minute alone; several rigs on two cores take minutes


@dataclass(frozen=True)
class Fault:
    id: str
    name: str
    weight: int
    happen: Happen


FAULTS: list[Fault] = []


def fault(id: str, name: str, weight: int) -> Callable[[Happen], Happen]:
    def known(happen: Happen) -> Happen:
        FAULTS.append(Fault(id, name, weight, happen))
        return happen

    return known


@fault("R1", "kill -9 the agent", 22)
def kill_agent(run: Run) -> str:
    host = run.any_host()
    before = host.journals()
    host.kill_agent()
    time.sleep(run.random.uniform(0, 1.5))
    dead = [uuid for uuid, left in before.items() if not run.lives_or_ended_well(host, uuid, left)]
    where = host.log.stat().st_size
    host.start()
    seconds = run.watch(lambda: says_adopted(host, where, before), ADOPT_SECONDS, "R1", f"{host.name} adopts")
    for uuid, left in before.items():
        run.adoptions += 1
        if uuid in dead or not run.lives_or_ended_well(host, uuid, left):
            run.miss("R1", f"{uuid} on {host.name} did not survive its agent")
        else:
            run.adopted += 1
    return f"{host.name}: {len(before)} engines kept, adopted in {seconds:.1f} s"


def says_adopted(host: FakeHost, where: int, before: dict[str, Any]) -> bool:
    """Whether the new agent took each one over, or had nothing left to take over."""
    with host.log.open("rb") as log:
        log.seek(where)
        said = log.read().decode(errors="replace")
    known = host.records()
    return "works for" in said and all(f"Attempt {uuid} " in said or uuid not in known for uuid in before)


@fault("R2", "kill -9 a shim", 7)
def kill_shim(run: Run) -> str:
    host, uuid, left = run.any_attempt()
    processes.send(left.shim_pid, signal.SIGKILL)
    return gone_in(run, host, uuid, "R2")


@fault("R2", "kill -9 an engine's api, core or daemon", 5)
def kill_engine(run: Run) -> str:
    host, uuid, left = run.any_attempt()
    part = run.random.choice(["api", "core", "daemon"])
    pid = host.pids(uuid).get(part, left.engine_pid)
    processes.send(pid, signal.SIGKILL)
    if part == "daemon":
        return f"{host.name}: the daemon alone"
    return f"{part}; {gone_in(run, host, uuid, 'R2')}"


def gone_in(run: Run, host: FakeHost, uuid: str, id: str) -> str:
    seconds = run.watch(lambda: not of_attempt(uuid), EMPTY_SECONDS, id, f"nothing of {uuid} lives on {host.name}")
    return f"{host.name}: nothing left after {seconds:.1f} s"


@fault("R3", "SIGSTOP the agent past its lease", 6)
def stop_agent(run: Run) -> str:
    host = run.any_host()
    before = host.journals()
    host.signal_agent(signal.SIGSTOP)
    time.sleep(PAST_LEASE_SECONDS)
    is_known = host.name in run.rig.silent()
    if not is_known:
        run.miss("R3", f"{host.name} is not shown as silent after {PAST_LEASE_SECONDS:g} s")
    host.signal_agent(signal.SIGCONT)
    return f"{host.name}: {len(before)} attempts out of sight for {PAST_LEASE_SECONDS:g} s"


@fault("R3", "SIGSTOP a shim past its lease", 3)
def stop_shim(run: Run) -> str:
    host, _uuid, left = run.any_attempt()
    processes.send(left.shim_pid, signal.SIGSTOP)
    time.sleep(PAST_LEASE_SECONDS)
    processes.send(left.shim_pid, signal.SIGCONT)
    return f"{host.name}: for {PAST_LEASE_SECONDS:g} s"


@fault("R4", "cancel at a random edge", 8)
def cancel(run: Run) -> str:
    jobs = [row for row in run.open_jobs() if row["status"] != "cancelling"]
    if not jobs:
        return "no open job"
    row = run.random.choice(jobs)
    answer = run.site.api.post(f"jobs/{row['id']}/cancel")
    if answer.status_code == 409:
        return f"{row['id']} was over"
    if answer.status_code != 200:
        run.miss("R4", f"cancel of {row['id']}: {answer.status_code} {answer.text[:100]}")
        return "refused"
    run.cancelled.add(row["id"])
    ended = lambda: run.rig.job(row["id"])["finished_at"]  # noqa: E731
    seconds = run.watch(ended, END_SECONDS, "R4", f"{row['id']} ends after its cancel")
    for attempt in run.rig.job(row["id"])["attempts"]:  # type: ignore[attr-defined]
        if of_attempt(attempt["uuid"]):
            run.miss("R4", f"{row['id']} is over, but {attempt['uuid']} still lives")
    return f"{row['id']} was {row['status']}, over in {seconds:.1f} s"


@fault("R5", "kill -9 Redis, then FLUSHALL", 4)
def lose_redis(run: Run) -> str:
    run.site.end("valkey")
    time.sleep(run.random.uniform(0, 3))
    run.site.begin("valkey")
    with run.site.broker() as broker:
        broker.flushall()
    return f"flow again after {run.flow_again('R5'):.1f} s"


@fault("R6", "every Celery message three times, out of order, and late", 5)
def duplicate_messages(run: Run) -> str:
    return send_duplicates(run.site, run.rig.hosts, run.random)


@fault("R7", "stop Postgres at once", 6)
def lose_postgres(run: Run) -> str:
    run.site.end("postgres", signal.SIGQUIT)
    time.sleep(run.random.uniform(0, 3))
    run.site.begin("postgres")
    return f"flow again after {run.flow_again('R7'):.1f} s"


@fault("R24", "kill -9 web", 5)
def lose_web(run: Run) -> str:
    run.site.end("web")
    time.sleep(run.random.uniform(0, 2))
    run.site.begin("web")
    return f"flow again after {run.flow_again('R24'):.1f} s"


@fault("R24", "kill -9 the control worker", 4)
def lose_control(run: Run) -> str:
    run.site.end("control")
    time.sleep(run.random.uniform(0, 3))
    run.site.begin("control")
    return f"flow again after {run.flow_again('R24'):.1f} s"


@fault("R9", "partition in both directions", 4)
def partition(run: Run) -> str:
    host = run.any_host()
    count = len(host.journals())
    host.signal_proxy(signal.SIGSTOP)
    time.sleep(PAST_LEASE_SECONDS)
    host.signal_proxy(signal.SIGCONT)
    return f"{host.name} with {count} engines for {PAST_LEASE_SECONDS:g} s"


@fault("R9", "one-way partition: answers are lost", 4)
def one_way(run: Run) -> str:
    host = run.any_host()
    count = len(host.journals())
    host.signal_proxy(signal.SIGUSR1)
    time.sleep(PAST_LEASE_SECONDS)
    host.signal_proxy(signal.SIGUSR2)
    return f"{host.name} with {count} engines for {PAST_LEASE_SECONDS:g} s"


@fault("R10", "half of the hosts silent at once", 2)
def freeze_half(run: Run) -> str:
    half = run.random.sample(run.rig.hosts, len(run.rig.hosts) // 2)
    for host in half:
        host.signal_agent(signal.SIGSTOP)
    time.sleep(PAST_LEASE_SECONDS)
    for host in half:
        host.signal_agent(signal.SIGCONT)
    return ", ".join(host.name for host in half)


@fault("R11", "reboot a host", 6)
def reboot(run: Run) -> str:
    host = run.any_host()
    before = set(host.journals())
    count = host.reboot()
    run.watch(lambda: not set(host.records()) & before, ADOPT_SECONDS + 5, "R11", f"{host.name} reports the lost")
    return f"{host.name}: {count} processes gone, {len(before)} attempts lost"


@fault("R13", "the disk is full", 4)
def fill_disk(run: Run) -> str:
    host = run.rig.small_disk
    if host is None:
        return "not tried: only root may mount the small disk"
    filler = host.folder / "state" / "filler"
    try:
        with filler.open("wb") as file:
            while True:
                file.write(b"x" * 65536)
                file.flush()
    except OSError:
        pass
    time.sleep(run.random.uniform(2, 5))
    is_alive = host.agent is not None and host.agent.poll() is None
    filler.unlink()
    if not is_alive:
        run.miss("R13", f"the agent of {host.name} died of a full disk")
    return f"{host.name}: agent {'lives' if is_alive else 'died'}"


@fault("R17", "two hundred schedulers at once", 1)
def race(run: Run) -> str:
    """Four processes with ten threads of five rounds each, beside the control worker's own."""
    argv = [*PYTHON, "tests.faults.schedulers", "10", "5"]
    racers = [subprocess.Popen(argv, env=run.site.env, cwd=run.site.folder) for _ in range(4)]
    try:
        wait_for(lambda: all(racer.poll() is not None for racer in racers), RACE_SECONDS, "the race is over")
    finally:
        for racer in racers:
            racer.kill()
    if any(racer.wait() for racer in racers):
        run.miss("R17", f"schedulers ended with {[racer.returncode for racer in racers]}")
    return "4 × 10 × 5 rounds"
