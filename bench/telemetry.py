"""Telemetry of 100 hosts x 8 GPUs: writing it, reading it as charts, and what that costs the database.

    .venv/bin/python bench/telemetry.py [--hours 24]

A Postgres of its own with Postgres's default durability. Ratios are of medians of interleaved rounds in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stackweb.embedded.postgres import Postgres  # noqa: E402
from tests.servers import ServersOfThisRun  # noqa: E402

HOSTS, GPUS, TICKS = 100, 8, 60
GIB = 1024**3
TARGETS: list[dict[str, object]] = []


def note(key: str, what: str, value: float, unit: str, target: str, ok: bool) -> None:
    TARGETS.append({"id": key, "what": what, "value": round(value, 4), "unit": unit, "target": target, "ok": ok})
    print(f"{key:<4}{what:<58}{value:>12.3f} {unit:<10}{target:<14}{'ok' if ok else 'MISSED'}", flush=True)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=int, default=24, help="of samples in a day's table")
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
        measure(asked.hours, next(process.pid for server, process in servers._processes if server is servers.postgres))
    finally:
        servers.stop()
    out = ROOT / "build" / "bench" / "telemetry.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(TARGETS, indent=1) + "\n")
    print(f"load average {' '.join(f'{each:.1f}' for each in os.getloadavg())}; written to {out.relative_to(ROOT)}")
    return 0 if all(row["ok"] for row in TARGETS) else 1


def measure(hours: int, postmaster: int) -> None:
    fleet = Fleet(postmaster)
    print(f"filling: {hours} h of samples, 2 d of minutes, 30 d of hours", flush=True)
    fleet.fill(hours)
    fleet.write()
    fleet.read()
    fleet.ingest()
    fleet.catch_up()


class Fleet:
    def __init__(self, postmaster: int) -> None:
        from apps.fleet.models import Device, Host
        from apps.fleet.services import enrol_host

        self.postmaster = postmaster
        self.tokens: dict[str, str] = {}
        for number in range(HOSTS):
            host, token = enrol_host(name=f"h{number:03}")
            self.tokens[host.name] = token
            devices = [Device(host=host, kind="cpu", uuid="cpu", name="CPU", memory_bytes=512 * GIB)]
            devices += [
                Device(host=host, kind="gpu", index=n, uuid=f"GPU-{number}-{n}", name="H100", memory_bytes=80 * GIB)
                for n in range(GPUS)
            ]
            Device.objects.bulk_create(devices)
        self.gpus = list(Device.objects.filter(kind="gpu").values_list("pk", flat=True))
        self.hosts = list(Host.objects.order_by("name"))
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        self.start = now - timedelta(minutes=20)  # of what is ingested
        self.midnight = self.start.replace(hour=0, minute=0)  # before it lies what is filled in: a whole day's table

    def fill(self, hours: int) -> None:
        from django.db import connection

        from apps.fleet.models import HostLoad
        from apps.fleet.partitions import MINUTES, SAMPLES, day_of, make_days

        days = {day_of(self.start + timedelta(days=n)) for n in range(-7, 2)}
        for table in (SAMPLES, MINUTES):
            make_days(table, days)
        load = "50 + 40 * sin(extract(epoch FROM t) / 300 + d.id)"
        sources = (  # samples last, as they are written all the time
            ("fleet_devicehour", ", seconds, util_max", f", 3600, {load} + 5", "30 days", "1 hour"),
            (MINUTES, ", seconds, util_max", f", 60, {load} + 5", "2 days", "1 minute"),
            (SAMPLES, "", "", f"{hours} hours", "5 seconds"),
        )
        with connection.cursor() as cursor:
            for table, names, more, span, step in sources:
                text = f"""
                    INSERT INTO {table} (device_id, at, util_percent, memory_bytes, temperature_c, power_w{names})
                    SELECT d.id, t, {load}, {40 * GIB}, 60, 300 {more}
                    FROM generate_series(%s::timestamptz - interval '{span}',
                        %s::timestamptz - interval '1 second', interval '{step}') t, fleet_device d"""  # noqa: S608
                cursor.execute(text, [self.midnight, self.midnight])
                print(f"  {cursor.rowcount:,} rows in {table}", flush=True)
            cursor.execute("VACUUM ANALYZE fleet_devicesample, fleet_deviceminute, fleet_devicehour")
        HostLoad.objects.bulk_create(
            HostLoad(
                host=host, at=self.start - timedelta(seconds=5), cpu_percent=1, ram_used_bytes=1, roll_from=self.start
            )
            for host in self.hosts
        )

    def write(self) -> None:
        """D4: one tick of all GPUs by COPY, against a commit for each row."""
        from django.db import connection, transaction

        from apps.fleet.ingest import Row, copy_rows
        from apps.fleet.models import DeviceSample

        def rows(at: datetime) -> list[Row]:
            return [Row(gpu, at, 50.0, 40 * GIB, 60.0, 300.0) for gpu in self.gpus]

        def by_copy(batch: list[Row]) -> None:
            with transaction.atomic():
                copy_rows(batch)

        def row_by_row(batch: list[Row]) -> None:
            with connection.cursor() as cursor:
                for row in batch:
                    cursor.execute(
                        "INSERT INTO fleet_devicesample (device_id, at, util_percent, memory_bytes, temperature_c, "
                        "power_w) VALUES (%s, %s, %s, %s, %s, %s)",
                        row,
                    )

        copied, single = [], []
        for n in range(5):
            at = self.start + timedelta(minutes=15, seconds=2 * n)
            copied.append(seconds_of(lambda at=at: by_copy(rows(at))))
            single.append(seconds_of(lambda at=at: row_by_row(rows(at + timedelta(seconds=1)))))
        tick, per_row = statistics.median(copied), statistics.median(single)
        note(
            "D4", "800 GPUs: one COPY against a commit for each row", per_row / tick, "x", ">= 20", per_row >= 20 * tick
        )
        print(
            f"    COPY {1000 * tick:.1f} ms, {len(self.gpus) / tick:,.0f} rows/s; "
            f"row by row {1000 * per_row:.0f} ms, {len(self.gpus) / per_row:,.0f} rows/s"
        )
        DeviceSample.objects.filter(at__gte=self.start).delete()

    def read(self) -> None:
        """D5: charts of one GPU, against a scan of an hour of everything."""
        from django.db import connection, transaction

        from apps.fleet.history import device_history
        from apps.fleet.models import FLEET_ID

        end = self.midnight

        def hour(*off: str) -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                for plan in off:
                    cursor.execute(f"SET LOCAL enable_{plan} = off")
                cursor.execute(
                    "SELECT date_bin('30 seconds', at, 'epoch'), avg(util_percent), sum(memory_bytes), "
                    "max(temperature_c), sum(power_w) FROM fleet_devicesample WHERE at >= %s AND at < %s GROUP BY 1",
                    [end - timedelta(hours=1), end],
                )
                cursor.fetchall()

        spans = {
            "1 h": timedelta(hours=1),
            "24 h": timedelta(hours=24),
            "7 d": timedelta(days=7),
            "30 d": timedelta(days=30),
        }
        taken: dict[str, list[float]] = {name: [] for name in (*spans, "scan", "skip scan", "fleet 7 d")}
        for n in range(15):
            gpu = self.gpus[(n * 97) % len(self.gpus)]
            taken["scan"].append(seconds_of(lambda: hour("indexscan", "bitmapscan")))
            taken["skip scan"].append(seconds_of(hour))  # what Postgres 18 makes of the key; 15 could not
            for name, span in spans.items():
                found = {}
                taken[name].append(
                    seconds_of(
                        lambda gpu=gpu, span=span, found=found: found.update(
                            h=device_history(gpu, end - span, end, now=end)
                        )
                    )
                )
                measured = [value for value in found["h"].values["util_percent"] if value is not None]
                assert len(measured) > 150, (name, len(measured))
            taken["fleet 7 d"].append(seconds_of(lambda: device_history(FLEET_ID, end - spans["7 d"], end, now=end)))
        median = {name: statistics.median(each) for name, each in taken.items()}
        for name, bar in (("1 h", 100), ("7 d", 50)):
            ratio = median["scan"] / median[name]
            note(
                "D5",
                f"{name} chart of one GPU against a scan for 1 h of all GPUs",
                ratio,
                "x",
                f">= {bar}",
                ratio >= bar,
            )
            print(f"    {name} chart against Postgres 18's skip scan: {median['skip scan'] / median[name]:.0f} x")
        week = 1000 * median["7 d"]
        note("T2", "7 d chart of one GPU", week, "ms", "< 50", week < 50)
        print("    " + ", ".join(f"{name} {1000 * each:.1f} ms" for name, each in median.items()))

    def cpu_seconds(self) -> float:
        """Of every process of Postgres, also those that ended."""
        import psutil

        top = psutil.Process(self.postmaster)
        total = 0.0
        for process in (top, *top.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def ingest(self) -> None:
        """Five minutes as the hosts send them, over the worker API, with the chore that rolls up each minute."""
        from django.test import Client

        from apps.fleet.rollups import roll_up

        client = Client(SERVER_NAME="127.0.0.1")
        before, own, rolling = self.cpu_seconds(), time.process_time(), []
        for tick in range(TICKS):
            at = self.start + timedelta(seconds=5 * tick)
            for number, host in enumerate(self.hosts):
                body = {"samples": [sample(number, at)]}
                headers = {"Authorization": f"Bearer {self.tokens[host.name]}", "Stackweb-Protocol": "1"}
                answer = client.post("/api/worker/v1/telemetry", body, "application/json", headers=headers)
                assert answer.json() == {"kept": GPUS + 1}, answer.content
            if tick % 12 == 11:
                rolling.append(seconds_of(lambda at=at: roll_up(now=at + timedelta(seconds=5))))
        database, web = self.cpu_seconds() - before, time.process_time() - own
        share = 100 * database / (TICKS * 5)
        note("T1", "database time of 100 hosts x 8 GPUs every 5 s", share, "% of core", "< 15", share < 15)
        print(
            f"    {1000 * database / TICKS / HOSTS:.2f} ms of database CPU a call; the web side takes "
            f"{100 * web / (TICKS * 5):.1f} % of a core; rolling up a minute {1000 * statistics.median(rolling):.0f} ms"
        )

    def catch_up(self) -> None:
        """Ten hosts come back after two hours; what a hundred would cost."""
        from apps.fleet.ingest import record_telemetry
        from apps.fleet.models import HostLoad
        from apps.fleet.rollups import roll_up
        from apps.fleet.schemas import SampleIn

        now = self.start + timedelta(days=1)  # a day without samples yet
        back = now - timedelta(hours=2)
        HostLoad.objects.update(roll_from=now)
        before = self.cpu_seconds()
        taken = 0.0
        for number, host in enumerate(self.hosts[:10]):
            for batch in range(12):
                samples = [
                    SampleIn.model_validate(sample(number, back + timedelta(minutes=10 * batch, seconds=5 * n)))
                    for n in range(120)
                ]
                taken += seconds_of(lambda h=host, s=samples: record_telemetry(host=h, samples=s, now=now))
        rolling = seconds_of(lambda: roll_up(now=now + timedelta(minutes=1)))
        database = (self.cpu_seconds() - before) * HOSTS / 10
        note("T3", "database time of 2 h of backlog of 100 hosts (from 10)", database, "s", "< 72", database < 72)
        print(f"    {1000 * taken / 120:.0f} ms a batch of 120 samples; rolling up {rolling:.2f} s")


def sample(number: int, at: datetime) -> dict[str, object]:
    gpus = [
        {
            "uuid": f"GPU-{number}-{n}",
            "util_percent": 50 + n,
            "memory_used_bytes": 40 * GIB,
            "temperature_c": 60,
            "power_w": 300.5,
            "sm_clock_mhz": 1980,
            "memory_clock_mhz": 2619,
            "throttle": [],
            "processes": [{"pid": 1000 + n, "memory_bytes": 39 * GIB}],
        }
        for n in range(GPUS)
    ]
    load = {"cpu_percent": 20, "ram_used_bytes": 100 * GIB, "disk_free_bytes": 1000 * GIB, "gpus": gpus}
    return {"at": at.isoformat(), **load}


if __name__ == "__main__":
    sys.exit(main())
