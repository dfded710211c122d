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
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stackweb.embedded.postgres import Postgres  # noqa: E402
from tests.servers import ServersOfThisRun  # noqa: E402

ROUNDS = 12
GPUS = 8
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
        from django.db import connection

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
        taken = seconds_of(lambda: self._fill(connection))
        print(f"filled {count:,} jobs in {taken:.0f} s", flush=True)
        assert User.objects.count() > len(people)

    def _fill(self, connection: Any) -> None:
        from apps.accounts.models import Team, User
        from apps.fleet.models import Host

        teams = list(Team.objects.order_by("pk").values_list("pk", flat=True))
        people = list(User.objects.filter(username__startswith="user").order_by("pk").values_list("pk", flat=True))
        hosts = list(Host.objects.order_by("pk").values_list("pk", flat=True))
        with connection.cursor() as cursor:
            cursor.execute(JOBS, [teams, people, *[self.count] * 4])
            cursor.execute(OPEN, [teams[0], people])
            cursor.execute(ATTEMPTS, [hosts])
            cursor.execute(OPEN_ATTEMPTS, [hosts])
            cursor.execute("VACUUM ANALYZE jobs_job, jobs_attempt, accounts_user, accounts_team, fleet_host")

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


class Reporting:
    """Every host as its worker talks: each 5 s a heartbeat of all its attempts and a sample of its GPUs."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        from apps.jobs.models import Attempt

        self.url, self.tokens = url, tokens
        self.beats: dict[str, list[dict[str, Any]]] = {name: [] for name in tokens}
        for uuid, epoch, name in Attempt.objects.open().values_list("uuid", "epoch", "host__name"):
            beat = {"uuid": str(uuid), "epoch": epoch, "lease_token": "token", "phase": "running"}
            self.beats[name].append(beat)
        self.sent, self.failed = 0, ""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in enumerate(tokens)]

    def __enter__(self) -> Reporting:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def check(self) -> None:
        assert self.sent, "no host said anything"
        assert not self.failed, self.failed

    def _talk(self, host: tuple[int, str]) -> None:
        import httpx

        number, name = host
        headers = {"Authorization": f"Bearer {self.tokens[name]}", "Stackweb-Protocol": "1"}
        with httpx.Client(base_url=f"{self.url}/api/worker/v1", headers=headers, timeout=30) as client:
            self._stop.wait(5 * number / len(self.tokens))
            while not self._stop.is_set():
                now = datetime.now(UTC) - timedelta(seconds=1)
                step = {"progress_done": now.timestamp() % 1000, "progress_total": 1000, "progress_unit": "steps"}
                self._say(client, "heartbeat", {"attempts": [beat | step for beat in self.beats[name]]})
                gpus = [gpu_load(f"{name}-{n}") for n in range(GPUS)]
                load = {"cpu_percent": 20, "ram_used_bytes": 1 << 30, "disk_free_bytes": 1 << 40, "gpus": gpus}
                self._say(client, "telemetry", {"samples": [{"at": now.isoformat(), **load}]})
                self._stop.wait(5)

    def _say(self, client: Any, path: str, body: dict[str, Any]) -> None:
        answer = client.post(path, json=body)
        self.sent += 1
        if answer.status_code >= 300:
            self.failed = f"{path}: {answer.status_code} {answer.text[:200]}"


def gpu_load(uuid: str) -> dict[str, Any]:
    load = {"util_percent": 50, "memory_used_bytes": 40 << 30, "temperature_c": 60, "power_w": 300.5}
    return {"uuid": uuid} | load


def interleaved(shapes: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Medians of seconds; every shape has its turn in every round, and one turn before that does not count."""
    times: dict[str, list[float]] = {name: [] for name in shapes}
    for number in range(rounds + 1):
        for name, work in shapes.items():
            taken = seconds_of(work)
            if number:
                times[name].append(taken)
    return {name: statistics.median(each) for name, each in times.items()}


# Jobs of three years: 5 % failed, 3 % cancelled, servers always so, the others done; one team has nearly all, and
# one only old ones.
JOBS = """
WITH facts AS (SELECT %s::bigint[] AS teams, %s::bigint[] AS people)
INSERT INTO jobs_job (team_id, created_by_id, created_at, kind, name, engine, spec, preview, priority, variant,
    gpus_needed, vram_bytes_needed, gpu_share_needed, spread, ram_bytes_needed, status, phase, reason, cause,
    wait_reason, wait_hint, infrastructure_losses, "references", progress_unit, result, started_at, finished_at)
SELECT teams[CASE WHEN n %% 5000 = 0 AND n < %s / 10 THEN 3 WHEN n %% 20 = 0 THEN 2 ELSE 1 END],
    people[1 + abs(hashint8(n * 3)) %% 20], now() - (%s - n) * interval '90 seconds',
    (ARRAY['evaluate', 'train', 'serve', 'download'])[1 + n %% 4],
    'Evaluate llama-' || n %% 1000 || ' on suite ' || n %% 37,
    (ARRAY['lm-eval', 'axolotl', 'vllm', 'download'])[1 + n %% 4],
    '{}', '{}', 0, 'cuda', 1, 0, 0, false, 0,
    CASE WHEN chance < 5 THEN 'failed' WHEN chance < 8 OR n %% 4 = 2 THEN 'cancelled' ELSE 'succeeded' END, '',
    CASE WHEN chance < 5 THEN 'engine_exited' WHEN chance < 8 OR n %% 4 = 2 THEN 'cancelled_by_user' ELSE '' END,
    '', '', '', 0, '{}', '', '{}', now() - interval '2 hours', now() - interval '1 hour'
        - (%s - n) * interval '90 seconds'
FROM generate_series(1, %s::bigint) n, facts, LATERAL (SELECT abs(hashint8(n)) %% 100 AS chance) luck
"""
OPEN = """
WITH facts AS (SELECT %s::bigint AS team, %s::bigint[] AS people)
INSERT INTO jobs_job (team_id, created_by_id, created_at, kind, name, engine, spec, preview, priority, variant,
    gpus_needed, vram_bytes_needed, gpu_share_needed, spread, ram_bytes_needed, status, phase, reason, cause,
    wait_reason, wait_hint, infrastructure_losses, "references", progress_unit, result, started_at)
SELECT team, people[1 + n %% 20], now(), 'train', 'Fine-tune qwen-' || n, 'axolotl', '{}', '{}', 0, 'cuda', 1, 0, 0,
    false, 0, CASE WHEN n <= 100 THEN 'running' ELSE 'queued' END, '', '', '', 'Every GPU is busy.', '', 0, '{}', '',
    '{}', CASE WHEN n <= 100 THEN now() END
FROM generate_series(1, 400) n, facts
"""
ATTEMPTS = """
WITH facts AS (SELECT %s::bigint[] AS hosts)
INSERT INTO jobs_attempt (uuid, job_id, epoch, host_id, lease_token, device_indexes, phase, ran, measurements,
    log_size_bytes, boot_id, stop_reason, reason, cause, created_at, claimed_at, ended_at, exit_code)
SELECT gen_random_uuid(), id, 1, hosts[1 + abs(hashint8(id * 7)) %% array_length(hosts, 1)], 'token', '[0]', '',
    '{}', '{}', 0, '', '', reason, '', started_at, started_at, finished_at, 0
FROM jobs_job, facts WHERE finished_at IS NOT NULL
"""
OPEN_ATTEMPTS = """
WITH facts AS (SELECT %s::bigint[] AS hosts)
INSERT INTO jobs_attempt (uuid, job_id, epoch, host_id, lease_token, lease_expires_at, device_indexes, phase, ran,
    measurements, log_size_bytes, boot_id, stop_reason, reason, cause, created_at, claimed_at)
SELECT gen_random_uuid(), id, 1, hosts[1 + id %% array_length(hosts, 1)], 'token', now() + interval '1 hour',
    '[0]', 'running', '{}', '{}', 0, '', '', '',
    '', now(), now()
FROM jobs_job, facts WHERE status = 'running'
"""


if __name__ == "__main__":
    sys.exit(main())
