"""What the list of endpoints shows: state, memory, and what the gateway metered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Q

from apps.accounts.models import User
from apps.calibration.models import Estimate
from apps.engines.registry import get_engine
from apps.fleet.models import Device
from apps.gateway.usage import Figures, figures_of
from apps.jobs.models import Job
from apps.serving.models import Endpoint
from apps.serving.states import EndpointState, endpoint_state

FILTERS = {
    "all": ("All", ()),
    "live": ("Live", ("Live",)),
    "moving": ("On the way", ("Loading", "Starting", "Queued", "Waiting", "Cancelling")),
    "trouble": ("Down", ("Down", "Held", "Unknown")),
    "stopped": ("Stopped", ("Stopped",)),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    endpoint: Endpoint
    state: EndpointState
    figures: Figures
    memory: dict[str, float]  # part -> bytes, estimated
    capacity_bytes: int
    runs_on: str
    engine_title: str


def endpoint_list(user: User, *, show: str = "all", search: str = "") -> dict[str, Any]:
    """The template's context. `show` is a key of FILTERS; `search` looks at names, models and owners."""
    show = show if show in FILTERS else "all"
    rows = _rows(user, search)
    counted = Counter(key for row in rows for key, (_, words) in FILTERS.items() if row.state.word in words)
    words = FILTERS[show][1]
    return {
        "rows": [row for row in rows if not words or row.state.word in words],
        "show": show,
        "search": search,
        "filters": [(key, title, len(rows) if key == "all" else counted[key]) for key, (title, _) in FILTERS.items()],
        "headline": headline([row.state for row in rows]),
        "lede": lede(rows),
        "is_moving": any(row.state.is_moving for row in rows),
        "total": _total(rows),
        "has_any": bool(rows) or bool(search),
    }


def _rows(user: User, search: str) -> list[Row]:
    endpoints = Endpoint.objects.visible_to(user).with_newest_job().order_by("name")
    if search:
        owner = Q(created_by__username__icontains=search) | Q(created_by__display_name__icontains=search)
        found = Q(name__icontains=search) | Q(version__model__name__icontains=search) | owner
        endpoints = endpoints.filter(found)
    chosen = list(endpoints[:500])
    figures = figures_of([endpoint.pk for endpoint in chosen])
    states = {endpoint.pk: endpoint_state(endpoint) for endpoint in chosen}
    jobs = [state.job for state in states.values() if state.job]
    memory, capacities = memory_of(jobs), capacities_of(jobs)
    return [_row(each, states[each.pk], figures[each.pk], memory, capacities) for each in chosen]


def _row(
    endpoint: Endpoint,
    state: EndpointState,
    figures: Figures,
    memory: dict[int, dict[str, float]],
    capacities: dict[int, int],
) -> Row:
    job = state.job
    engine = get_engine(endpoint.engine)
    return Row(
        endpoint=endpoint,
        state=state,
        figures=figures,
        memory=memory.get(job.pk, {}) if job else {},
        capacity_bytes=capacities[job.pk] if job else 0,
        runs_on=runs_on(state),
        engine_title=f"{engine.title} {engine.version}",
    )


def memory_of(jobs: Sequence[Job]) -> dict[int, dict[str, float]]:
    """Job -> part -> bytes, from the estimates made before it ran."""
    found: dict[int, dict[str, float]] = {}
    for row in Estimate.objects.filter(job__in=jobs):
        found.setdefault(row.job_id, {})[row.quantity] = row.value
    return {job: _parts(values) for job, values in found.items()}


def _parts(values: dict[str, float]) -> dict[str, float]:
    weights, kv = values.get("weights_bytes", 0.0), values.get("kv_cache_bytes", 0.0)
    overhead = max(0.0, values.get("peak_memory_bytes", 0.0) - weights - kv)
    return {"weights": weights, "kv": kv, "overhead": overhead}


def capacities_of(jobs: Sequence[Job]) -> dict[int, int]:
    """Job -> bytes its replica may use: its reserved RAM, or the memory of the largest GPU of its host."""
    gpus = Device.objects.filter(kind=Device.Kind.GPU).order_by().values_list("host_id")
    largest: dict[int | None, int] = dict(gpus.annotate(largest=Max("memory_bytes")))
    largest[None] = max(largest.values(), default=0)  # not placed yet
    return {job.pk: largest.get(_host_of(job), 0) if job.gpus_needed else job.ram_bytes_needed for job in jobs}


def _host_of(job: Job) -> int | None:
    attempt = next(iter(job.attempts.all()), None)
    return attempt.host_id if attempt else None


def runs_on(state: EndpointState) -> str:
    if state.job is None:
        return ""
    device = (
        f"{state.job.gpus_needed} GPU{'s' if state.job.gpus_needed > 1 else ''}" if state.job.gpus_needed else "CPU"
    )
    return f"{state.attempt.host}, {device}" if state.attempt else device


def headline(states: Sequence[EndpointState]) -> str:
    """The worst thing first; otherwise what is live."""
    words = Counter(state.word for state in states)
    down = words["Down"] + words["Held"]
    wanted = len(states) - words["Stopped"]
    if not states:
        return "No endpoint yet"
    if down:
        return f"{down} of {len(states)} endpoints {'is' if down == 1 else 'are'} down"
    if not wanted:
        return "Every endpoint is stopped"
    if words["Live"] == wanted:
        return "Every endpoint is live" if wanted > 1 else "The endpoint is live"
    return f"{words['Live']} of {wanted} endpoints live"


def lede(rows: Sequence[Row]) -> str:
    trouble = next((row for row in rows if row.state.word in ("Down", "Held")), None)
    moving = next((row for row in rows if row.state.is_moving), None)
    stopped = sum(row.state.word == "Stopped" for row in rows)
    first = trouble or moving
    # The cause stands under the row.
    parts = (
        [first.state.sentence.partition(". ")[0].rstrip(".") + "."]
        if first
        else ["Each has a stable name that apps send as the model."]
    )
    if stopped:
        parts.append(f"{stopped} {'is' if stopped == 1 else 'are'} stopped.")
    return " ".join(parts)


def _total(rows: Sequence[Row]) -> dict[str, Any]:
    requests = sum(row.figures.request_count for row in rows)
    errors = sum(row.figures.error_fraction * row.figures.request_count for row in rows)
    slowest = [row.figures.ttft_p95_ms for row in rows if row.figures.ttft_p95_ms is not None]
    return {
        "request_count": requests,
        "requests_per_second": sum(row.figures.requests_per_second for row in rows),
        "tokens_per_second": sum(row.figures.tokens_per_second for row in rows),
        "slowest_ttft_ms": max(slowest, default=None),
        "error_fraction": errors / requests if requests else 0.0,
    }
