"""Pages over a million finished jobs, lists while hosts report, and logs as files: what they cost the server.

    .venv/bin/python bench/pages.py [--jobs 1000000] [--hosts 40]

A Postgres of its own with Postgres's default durability. Ratios are of medians of interleaved rounds in one run;
page times are server times in this process, beside those of a page that does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.pages_parts.million_jobs import fill  # noqa: E402
from bench.pages_parts.reporting import GPUS, Reporting  # noqa: E402
from stackweb.embedded.postgres import Postgres  # noqa: E402
from tests.servers import ServersOfThisRun  # noqa: E402

ROUNDS = 12
FIGURES: list[dict[str, object]] = []


def note(key: str, what: str, value: float, unit: str, target: str, ok: bool) -> None:
    FIGURES.append({"id": key, "what": what, "value": round(value, 4), "unit": unit, "target": target, "ok": ok})
    print(f"{key:<4}{what:<66}{value:>10.2f} {unit:<4}{target:<10}{'ok' if ok else 'MISSED'}", flush=True)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1_000_000, help="finished ones in the table")
    parser.add_argument("--hosts", type=int, default=40, help="that report while lists are read")
    asked = parser.parse_args()
    servers = ServersOfThisRun()
    old = servers.postgres
    servers.postgres = Postgres(old.folder, old.port, old.password)  # as a real installation runs it
    os.environ.update(servers.environment())
    os.environ["DJANGO_SETTINGS_MODULE"] = "stackweb.settings"
    began = os.getloadavg()[0]
    try:
        servers.start()
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        installation = Installation(asked.jobs, asked.hosts)
        installation.keysets()
        installation.pages()
        installation.logs()
        installation.lists_while_hosts_report(servers)
    finally:
        servers.stop()
    out = ROOT / "build" / "bench" / "pages.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(FIGURES, indent=1) + "\n")
    print(f"load average {began:.1f} before, {os.getloadavg()[0]:.1f} after; written to {out.relative_to(ROOT)}")
    return 0 if all(row["ok"] for row in FIGURES) else 1


class Installation:
    """Three teams, twenty people, `hosts` hosts, `count` jobs of the past, and some hundred that run or wait."""

    def __init__(self, count: int, hosts: int) -> None:
        from apps.accounts.models import User
        from apps.fleet.models import Device, Host
        from apps.fleet.partitions import SAMPLES, day_of, make_days
        from apps.fleet.services import enrol_host
        from tests.factories import make_team, make_user

        self.count = count
        teams = [make_team(name) for name in ("Large", "Small", "Rare")]
        people = [make_user(f"user{number:02}", team=teams[0]) for number in range(20)]
        self.admin = make_user("admin", team=teams[0], is_superuser=True)
        self.member = people[0]
        self.tokens = {name: enrol_host(name=name)[1] for name in (f"h{number:02}" for number in range(hosts))}
        Host.objects.update(last_seen_at=datetime.now(UTC), cpu_count=64)
        Device.objects.bulk_create(
            Device(host=host, kind="gpu", index=n, uuid=f"{host.name}-{n}", name="H100", memory_bytes=80 << 30)
            for host in Host.objects.all()
            for n in range(GPUS)
        )
        make_days(SAMPLES, {day_of(datetime.now(UTC))})
        taken = seconds_of(lambda: fill(count))
        print(f"filled {count:,} jobs in {taken:.0f} s", flush=True)
        assert User.objects.count() > len(people)

    def keysets(self) -> None:
        """D3: a page deep in the list against the first one, and against OFFSET."""
        from apps.jobs.models import Job

        rows = Job.objects.order_by("-pk")
        depth = self.count // 2
        deep = rows.values_list("pk", flat=True)[depth]
        shapes: dict[str, Callable[[], object]] = {
            "first": lambda: list(rows.for_display()[:51]),
            "keyset": lambda: list(rows.filter(pk__lt=deep).for_display()[:51]),
            "query first": lambda: list(rows.values_list("pk", "name")[:51]),
            "query keyset": lambda: list(rows.filter(pk__lt=deep).values_list("pk", "name")[:51]),
            "query offset": lambda: list(rows.values_list("pk", "name")[depth : depth + 51]),
        }
        median = interleaved(shapes)
        page = median["keyset"] / median["first"]
        note("D3", f"page of 51 at depth {depth:,} by keyset against the first", page, "x", "<= 3", page <= 3)
        ratio = median["query offset"] / median["query keyset"]
        note("D3", f"OFFSET against keyset at depth {depth:,}, the query alone", ratio, "x", ">= 50", ratio >= 50)
        print("    " + ", ".join(f"{name} {1000 * each:.2f} ms" for name, each in median.items()))

    def pages(self) -> None:
        """The Jobs page as asked for, of every filter, beside a page that does nothing."""
        from django.test import Client

        from stackweb.settled_memory import settle_memory

        settle_memory()  # as the server does when it starts
        middle = self.count // 2
        queries = {
            "first page": "",
            "deep": f"?cursor={middle}",
            "newer": f"?newer={middle}",
            "running": "?show=active",
            "needs attention": "?show=attention",
            "done": "?show=done",
            "cancelled": "?show=cancelled",
            "kind": "?kind=train",
            "engine": "?engine=lm-eval",
            "owner": "?owner=user07",
            "rare team": "?team=rare",
            "host": "?host=h07",
            "owner, host and state": "?owner=user03&host=h05&show=attention",
            "servers done: none": "?kind=serve&show=done",
            "rare team, failed, kind": "?team=rare&show=attention&kind=train",
            "search": "?q=llama-77",
            "search, none found": "?q=zebra",
            "search, many found": "?q=llama",
            "id": f"?q=job-{middle}",
        }
        times: dict[str, list[float]] = {name: [] for name in (*queries, "no-op")}
        work: list[float] = []  # of this process alone, which other programs on the machine slow down less
        for person in (self.admin, self.member):
            client = Client(SERVER_NAME="127.0.0.1")
            client.force_login(person)
            for number in range(ROUNDS + 1):
                for name, query in {**queries, "no-op": None}.items():
                    address = "/healthz" if query is None else f"/jobs{query}"
                    before = time.process_time()
                    taken = seconds_of(partial(self._get, client, address))
                    if number:  # the first round warms templates and caches
                        times[name].append(taken)
                        work += [time.process_time() - before] if query is not None else []
        nothing = 1000 * statistics.median(times.pop("no-op"))
        all_times = [each for name in queries for each in times[name]]
        value = 1000 * p95(all_times)
        what = f"Jobs page at {self.count:,} jobs, p95 of {len(queries)} ways to ask"
        note("P1", what, value, "ms", "<= 200", value <= 200)
        print(
            f"    median {1000 * statistics.median(all_times):.1f} ms, of it CPU of the web process "
            f"{1000 * statistics.median(work):.1f} ms; a page that does nothing {nothing:.1f} ms"
        )
        slowest = sorted(queries, key=lambda name: -p95(times[name]))
        print("    p95: " + ", ".join(f"{name} {1000 * p95(times[name]):.0f}" for name in slowest))

    @staticmethod
    def _get(client: Any, address: str) -> None:
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.status_code)

    def logs(self) -> None:
        """D6: 4 kB appended to a file as the log upload does, against a row for each piece."""
        import tempfile

        from django.db import connection

        from apps.jobs import attempt_logs

        piece, count = b"x" * 4095 + b"\n", 400
        with connection.cursor() as cursor, tempfile.TemporaryDirectory() as folder:
            cursor.execute("CREATE TABLE pieces (id bigserial PRIMARY KEY, job bigint, data bytea)")
            path = Path(folder) / "a.log"

            def to_file() -> None:
                for number in range(count):
                    attempt_logs._write_at(path, number * len(piece), piece)

            def to_rows() -> None:
                for _ in range(count):
                    cursor.execute("INSERT INTO pieces (job, data) VALUES (1, %s)", [piece])

            median = interleaved({"file": to_file, "rows": to_rows}, rounds=5)
        ratio = median["rows"] / median["file"]
        note("D6", "4 kB of log to its file against a row in Postgres", ratio, "x", ">= 20", ratio >= 20)
        print(f"    file {count / median['file']:,.0f}/s, rows {count / median['rows']:,.0f}/s")

    def lists_while_hosts_report(self, servers: ServersOfThisRun) -> None:
        """A1: GET /jobs and /hosts of a real server, quiet and while every host beats and sends telemetry."""
        import httpx

        from tests.browser.server import Server
        from tests.factories import api_headers

        headers = api_headers(self.admin)
        server = Server(servers.web_port, servers.home / "web.log")
        server.start()
        quiet: dict[str, list[float]] = {"jobs": [], "hosts": []}
        busy: dict[str, list[float]] = {"jobs": [], "hosts": []}
        try:
            with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
                for number in range(5):
                    self._time_lists(client, quiet if number else {"jobs": [], "hosts": []})
                    with Reporting(server.url, self.tokens) as reporting:
                        self._time_lists(client, busy if number else {"jobs": [], "hosts": []})
                        reporting.check()
        finally:
            server.stop()
        for name, times in quiet.items():
            before, during = statistics.median(times), statistics.median(busy[name])
            what = f"GET /{name} with {len(self.tokens)} hosts reporting against none"
            note("A1", what, during / before, "x", "<= 1.5", during <= 1.5 * before)
            print(f"    {1000 * before:.1f} ms quiet, {1000 * during:.1f} ms while {reporting.sent} calls came in")

    @staticmethod
    def _time_lists(client: Any, into: dict[str, list[float]]) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for name, times in into.items():
                start = time.perf_counter()
                client.get(f"/api/v1/{name}").raise_for_status()
                times.append(time.perf_counter() - start)
            time.sleep(0.05)


def interleaved(shapes: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Medians of seconds; every shape has its turn in every round, and one turn before that does not count."""
    times: dict[str, list[float]] = {name: [] for name in shapes}
    for number in range(rounds + 1):
        for name, work in shapes.items():
            taken = seconds_of(work)
            if number:
                times[name].append(taken)
    return {name: statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    sys.exit(main())
