"""Where the engines' environments stand: installed, outdated, installing, failed or not there, host by host."""

from __future__ import annotations

from collections import defaultdict

from apps.engines.locks import lock_sha256
from apps.fleet.models import EngineEnvironment, Host
from apps.jobs.models import Job
from apps.jobs.states import JobStatus

NEWEST = 2000  # install jobs that are read
NAMED = 3  # hosts, before the rest is a number
_WORDS = {"installed": "on", "outdated": "outdated on", "installing": "installing on", "failed": "failed on"}
_JOBS: dict[str, str] = {
    JobStatus.QUEUED: "installing", JobStatus.STARTING: "installing", JobStatus.RUNNING: "installing",
    JobStatus.FAILED: "failed", JobStatus.HELD: "failed",
}  # fmt: skip
Place = tuple[str, str, str]  # environment, host, variant


def environments_by_engine() -> dict[str, str]:
    """Environment -> one line: on atlas (cuda), installing on brio (cpu), not on cora. Nothing is said of an
    environment that no host has or tried."""
    hosts = list(Host.objects.order_by("name").values_list("name", flat=True))
    places: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    seen: dict[str, set[str]] = defaultdict(set)
    for (engine, host, variant), state in sorted(_states().items()):
        if host in hosts:
            places[engine][state].append(f"{host} ({variant})")
            seen[engine].add(host)
    return {engine: _line(found, [each for each in hosts if each not in seen[engine]])
            for engine, found in places.items()}  # fmt: skip


def _states() -> dict[Place, str]:
    """What of today's lock lies on a host speaks before the newest job that was to bring it there."""
    found = _installs()
    rows = EngineEnvironment.objects.order_by().values_list("engine", "host__name", "variant", "lock_sha256")
    for engine, host, variant, lock in sorted(rows, key=lambda row: row[3] in _current(row[0], row[2])):
        place = (engine, host, variant)
        if lock in _current(engine, variant):
            found[place] = "installed"
        else:
            found.setdefault(place, "outdated")
    return found


def _current(engine: str, variant: str) -> tuple[str, str]:
    """Today's lock, and none: a path that the host's operator configured."""
    return "", lock_sha256(engine, variant)


def _installs() -> dict[Place, str]:
    """A newest job that succeeded or was cancelled says nothing: its environment is listed, or not there."""
    jobs = Job.objects.filter(kind="install", pinned_host__isnull=False).order_by("-pk")
    columns = ("spec__payload__engine", "pinned_host__name", "spec__payload__variant", "status")
    newest: dict[Place, str] = {}
    for engine, host, variant, status in jobs.values_list(*columns)[:NEWEST]:
        newest.setdefault((engine, host, variant), status)
    return {place: _JOBS[status] for place, status in newest.items() if status in _JOBS}


def _line(found: dict[str, list[str]], missing: list[str]) -> str:
    parts = [f"{words} {_names(found[state])}" for state, words in _WORDS.items() if found.get(state)]
    return ", ".join([*parts, *([f"not on {_names(missing)}"] if missing else [])])


def _names(hosts: list[str]) -> str:
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return ", ".join(hosts[:NAMED]) + more
