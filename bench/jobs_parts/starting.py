"""How soon a job starts on a free host: the whole way from submit to claim, beside a Celery no-op.

Submit commits and rings; the control worker places the job and rings the host; the host asks what it should
run and claims it over HTTP. The host here only claims and ends; web server, control worker and broker are real.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import redis
from kombu import Connection

from bench.jobs_parts.figures import note
from stackweb.supervisor.programs import CONTROL, PYTHON, WEB
from tests.servers import ServersOfThisRun

ROOT = Path(__file__).resolve().parents[2]
ROUND = 10
SWEEP_SECONDS = 3.0  # a worker's own, while nobody rings


class Programs:
    """Web, control worker and the no-op's worker, as `with`."""

    def __init__(self, servers: ServersOfThisRun) -> None:
        self.url = f"http://127.0.0.1:{servers.web_port}"
        env = os.environ | {"STACKWEB_URL": self.url, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        noop = ["celery", "-A", "bench.jobs_parts.noop", "worker", "-Q", "noop", "-c", "2", "--loglevel=ERROR"]
        self.argv = {
            "web": [*PYTHON, *WEB, "--port", str(servers.web_port)],
            "control": [*PYTHON, *CONTROL, "--schedule", str(servers.home / "beat")],
            "noop": [*PYTHON, *noop],
        }
        self.env, self.home = env, servers.home
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Programs:
        for name, argv in self.argv.items():
            with (self.home / f"{name}.log").open("ab") as log:
                self.running.append(
                    subprocess.Popen(argv, env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
        for _ in range(600):
            try:
                httpx.get(f"{self.url}/healthz")
                return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError((self.home / "web.log").read_text())

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(30)


class ClaimingHost(threading.Thread):
    """Woken by its own queue, or by itself every SWEEP_SECONDS; claims what it is given and ends it at once."""

    def __init__(self, host: Any, token: str, url: str) -> None:
        super().__init__(daemon=True)
        self.host, self.must_stop, self.claimed = host, threading.Event(), threading.Event()
        headers = {"Authorization": f"Bearer {token}", "Stackweb-Protocol": "1"}
        self.api = httpx.Client(base_url=f"{url}/api/worker/v1/", headers=headers, timeout=30)

    def run(self) -> None:
        options = {"global_keyprefix": self.host.broker_prefix}
        with Connection(os.environ["REDIS_URL"], transport_options=options) as broker:
            queue = broker.SimpleQueue(self.host.queue, no_ack=True)
            while not self.must_stop.is_set():
                self.sweep()
                try:
                    queue.get(timeout=SWEEP_SECONDS)
                except queue.Empty:
                    continue
                except (ConnectionError, redis.RedisError, OSError):
                    self.alone()

    def alone(self) -> None:
        """The broker is gone: nobody rings any more."""
        while not self.must_stop.wait(SWEEP_SECONDS):
            self.sweep()

    def sweep(self) -> None:
        for row in self.api.get("assignments").json()["attempts"]:
            if row["claimed"]:
                continue
            lease = self.api.post(f"attempts/{row['uuid']}/claim", json={"epoch": row["epoch"]}).json()
            self.claimed.set()
            end = {"epoch": row["epoch"], "lease_token": lease["lease_token"], "exit_code": 0, "result": {"ok": True}}
            self.api.post(f"attempts/{row['uuid']}/finish", json=end).raise_for_status()


def measure_starts(servers: ServersOfThisRun, count: int) -> None:
    from apps.accounts.models import Team
    from apps.fleet.models import Device
    from apps.fleet.services import enrol_host

    team = Team.objects.create(name="Starts", slug="starts")
    host, token = enrol_host(name="claimer")
    Device.objects.create(host=host, kind="cpu", uuid="cpu", name="CPU", memory_bytes=64 * 1024**3)
    with Programs(servers) as programs:
        claimer = ClaimingHost(host, token, programs.url)
        claimer.start()
        time_a_job(team, claimer)  # the first of each warms up
        time_a_noop()
        ours, celery, ratios = [], [], []
        for _ in range(max(3, count // ROUND)):
            jobs, noops = [], []
            for _ in range(ROUND):
                jobs.append(time_a_job(team, claimer))
                noops.append(time_a_noop())
            ours += jobs
            celery += noops
            ratios.append(statistics.median(jobs) / statistics.median(noops))
        middle, ratio = statistics.median(ours), statistics.median(ratios)
        note("Q0", f"submit to claim on a free host, {len(ours)} jobs: p50", middle, "s", "<= 1 s", middle <= 1)
        note("Q0", "a Celery no-op from call to begin, same rounds: p50", statistics.median(celery), "s", "", True)
        note("Q1", "submit to claim (two rings, three calls) / Celery no-op", ratio, "x", "<= 0.6x", ratio <= 0.6)
        note_parts(team)
        without_broker(servers, team, claimer)
        claimer.must_stop.set()
        claimer.join(10)


def note_parts(team: Any) -> None:
    """Where the time goes; the rest of it is the submit itself, up to its commit."""
    from apps.jobs.models import Attempt

    rows = Attempt.objects.filter(job__team=team).values_list("job__created_at", "created_at", "claimed_at")
    placed = statistics.median((row[1] - row[0]).total_seconds() for row in rows)
    claimed = statistics.median((row[2] - row[1]).total_seconds() for row in rows)
    note("Q0", "of which from the job's row to its attempt's: p50", placed, "s", "", True)
    note("Q0", "of which from the attempt's row to its claim: p50", claimed, "s", "", True)


def without_broker(servers: ServersOfThisRun, team: Any, claimer: ClaimingHost) -> None:
    """One that is not there refuses at once. The host's own sweep makes the scheduler look."""
    for server, process in servers._processes:
        if server is servers.valkey:
            process.kill()
            process.wait()
    slowest = max(time_a_job(team, claimer) for _ in range(5))
    most = SWEEP_SECONDS + 1  # the next sweep, and the calls of submit and claim
    note(
        "Q0", "submit to claim while the broker is gone: slowest of 5", slowest, "s", f"<= {most:g} s", slowest <= most
    )


def time_a_job(team: Any, claimer: ClaimingHost) -> float:
    from apps.engines.base import RunSpec
    from apps.jobs.models import Attempt
    from apps.jobs.services import submit_job

    claimer.claimed.clear()
    spec = RunSpec(kind="train", engine="fake-train")
    began = time.time()
    job = submit_job(team=team, user=None, kind="train", name="start", spec=spec)
    if not claimer.claimed.wait(60):
        raise RuntimeError(f"{job.public_id} was not claimed within 60 s")
    time.sleep(0.2)  # its end is told and looked at before the next begins
    claimed = Attempt.objects.get(job=job).claimed_at
    assert claimed is not None
    return float(claimed.timestamp() - began)


def time_a_noop() -> float:
    from bench.jobs_parts.noop import BEGAN, noop

    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    began = time.time()
    noop.delay()
    told = broker.blpop([BEGAN], timeout=60)
    if told is None:
        sys.exit("The no-op's worker did not answer within 60 s.")
    return float(told[1]) - began
