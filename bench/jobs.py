"""The job engine: what a decision costs with 10,000 jobs in the queue, how soon a job starts, what a dead host costs.

    .venv/bin/python bench/jobs.py [--jobs 10000] [--starts 100]

A Postgres of its own with Postgres's default durability, a real broker, web server and control worker. Ratios are
of medians of interleaved rounds in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.jobs_parts.figures import FIGURES, note  # noqa: E402
from stackweb.embedded.postgres import Postgres  # noqa: E402
from tests.servers import ServersOfThisRun  # noqa: E402

HOSTS, GPUS = 64, 8
GIB = 1024**3


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000, help="in the queue")
    parser.add_argument("--starts", type=int, default=100, help="jobs whose start is timed")
    asked = parser.parse_args()
    servers = ServersOfThisRun()
    old = servers.postgres
    servers.postgres = Postgres(old.folder, old.port, old.password)  # as a real installation runs it
    os.environ.update(servers.environment())
    os.environ["DJANGO_SETTINGS_MODULE"] = "stackweb.settings"
    try:
        servers.start()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        from bench.jobs_parts.losing import measure_losses
        from bench.jobs_parts.starting import measure_starts

        measure_losses()
        measure_queue(asked.jobs)
        end_everything()
        measure_starts(servers, asked.starts)  # leaves no broker
    finally:
        servers.stop()
    out = ROOT / "build" / "bench" / "jobs.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(FIGURES, indent=1) + "\n")
    print(f"load average {' '.join(f'{each:.1f}' for each in os.getloadavg())}; written to {out.relative_to(ROOT)}")
    return 0 if all(row["ok"] for row in FIGURES) else 1


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def p99(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]


# A decision in a full queue


def measure_queue(jobs: int) -> None:
    from django.utils import timezone

    from apps.accounts.models import Team
    from apps.fleet.models import Host, Reservation
    from apps.jobs import scheduling
    from apps.jobs.lifecycle import end_attempt
    from apps.jobs.models import Attempt, Job

    fill_fleet()
    fill_queue(Team.objects.create(name="Bench", slug="bench"), jobs)
    decisions: list[float] = []
    Host.objects.update(last_seen_at=timezone.now())
    with timed_decisions(decisions):
        whole = seconds_of(scheduling.place_waiting_jobs)
    waiting = Job.objects.filter(status="queued").count()
    print(f"{len(decisions)} of {jobs} jobs placed in {whole:.1f} s, {waiting} wait", flush=True)
    target = "<= 100 ms"
    empty = p99([seconds_of(empty_transaction) for _ in range(300)])
    note("S0", "an empty transaction, for comparison: p99", 1e3 * empty, "ms", "", True)
    note(
        "S1",
        "decision, an empty fleet of 64 x 8 filled: p99",
        1e3 * p99(decisions),
        "ms",
        target,
        p99(decisions) <= 0.1,
    )
    looks: list[float] = []
    decisions.clear()
    draw = random.Random(2)  # noqa: S311  # the same queue each time
    with timed_decisions(decisions):
        for _ in range(100):
            Host.objects.update(last_seen_at=timezone.now())
            attempt = draw.choice(list(Attempt.objects.open().only("pk")[:200]))
            end_attempt(attempt, exit_code=0, reason="", cause="", result={})
            looks.append(seconds_of(scheduling.place_waiting_jobs))
    value = p99(decisions)
    note("S1", f"decision, one job ended, {waiting:,} wait: p99", 1e3 * value, "ms", target, value <= 0.1)
    middle = statistics.median(looks)
    note(
        "S2",
        "a whole look at all of them, reasons and hints written: p50",
        1e3 * middle,
        "ms",
        "<= 1000 ms",
        middle <= 1,
    )
    double = Reservation.objects.filter(released_at=None).count() - len(set(
        Reservation.objects.filter(released_at=None).values_list("device_id", "slot")))  # fmt: skip
    note("S3", "GPUs given twice", double, "", "0", double == 0)


def end_everything() -> None:
    """An empty queue, and none of the hosts of this measurement."""
    from django.utils import timezone

    from apps.fleet.models import Host, Reservation
    from apps.jobs.models import Attempt, Job

    now = timezone.now()
    Attempt.objects.filter(ended_at=None).update(ended_at=now)
    Reservation.objects.filter(released_at=None).update(released_at=now)
    Job.objects.filter(finished_at=None).update(status="cancelled", finished_at=now)
    Host.objects.update(last_seen_at=None)


def empty_transaction() -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def fill_fleet() -> None:
    from django.utils import timezone

    from apps.fleet.models import Device, Host

    hosts = [
        Host(name=f"h{n:02}", last_seen_at=timezone.now(), cpu_count=64, ram_bytes=512 * GIB) for n in range(HOSTS)
    ]
    devices = []
    for number, host in enumerate(Host.objects.bulk_create(hosts)):
        size, uuids = (80, 48, 24, 80)[number % 4] * GIB, [f"GPU-{number}-{n}" for n in range(GPUS)]
        devices.append(Device(host=host, kind="cpu", uuid="cpu", name="CPU", memory_bytes=512 * GIB))
        for index, uuid in enumerate(uuids):
            links = [{"uuid": other, "kind": "nvlink"} for other in uuids if other != uuid and number % 4 == 0]
            devices.append(
                Device(host=host, kind="gpu", index=index, uuid=uuid, name="GPU", memory_bytes=size, links=links)
            )
    Device.objects.bulk_create(devices)


def fill_queue(team: Any, count: int) -> None:
    from apps.jobs.models import Job

    draw = random.Random(1)  # noqa: S311  # the same queue each time
    jobs = []
    for number in range(count):
        kind = draw.choice(["train", "train", "evaluate"])
        engine = {"train": "fake-train", "evaluate": "fake-eval"}[kind]
        limit = draw.choice([None, 3600, 7200, 86400])
        jobs.append(
            Job(
                team=team, kind=kind, name=f"job {number}", engine=engine, spec={"kind": kind, "engine": engine},
                gpus_needed=draw.choice([1, 1, 1, 2, 4, 8]), vram_bytes_needed=draw.choice([0, 16, 20, 40, 70]) * GIB,
                priority=draw.choice([0, 0, 0, 5]), time_limit_seconds=limit, variant="cuda",
            )
        )  # fmt: skip
    Job.objects.bulk_create(jobs, batch_size=2000)


@contextmanager
def timed_decisions(into: list[float]) -> Iterator[None]:
    """Choosing the place and the transaction that takes it, of each job that is started."""
    from apps.jobs.sweep import Sweep

    plain = Sweep._decide

    def timed(self: Any, job: Any) -> Any:
        start = time.perf_counter()
        wait = plain(self, job)
        if wait is None:
            into.append(time.perf_counter() - start)
        return wait

    Sweep._decide = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Sweep._decide = plain  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
