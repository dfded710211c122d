"""Which hosts can take a model, from when on, and how long until it answers there: all expected, none promised."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils import timezone

from apps.catalog.models import Artifact, Location
from apps.planning.durations import Duration
from apps.planning.loading import download_duration, load_duration
from apps.planning.placement import Need
from apps.planning.timeline import FleetTimeline


@dataclass(frozen=True)
class HostStart:
    """When a host could start it, behind the jobs that wait now; `at` None where only a person can say.

    `waits_for` are the jobs that hold its devices until then. `download` None: every file lies there.
    """

    host: str
    at: datetime | None
    waits_for: tuple[str, ...]
    download: Duration | None = None
    load: Duration | None = None

    @property
    def is_now(self) -> bool:
        return self.at is not None and not self.waits_for

    @property
    def wait_seconds(self) -> float | None:
        return None if self.at is None else max(0.0, (self.at - timezone.now()).total_seconds())

    @property
    def seconds(self) -> tuple[float, float, float]:
        """From its start until it answers: low, middle, high."""
        parts = [part for part in (self.download, self.load) if part is not None]
        return (
            sum(part.seconds_low for part in parts),
            sum(part.seconds for part in parts),
            sum(part.seconds_high for part in parts),
        )


@dataclass(frozen=True)
class Files:
    """What a version's weights weigh, all together and on each host already; in bytes."""

    size: int
    held: dict[str, int]

    def until_there(self, host: str) -> Duration | None:
        missing = self.size - self.held.get(host, 0)
        return download_duration(missing) if missing > 0 else None


def files_of(artifacts: Iterable[Artifact]) -> Files:
    wanted = list(artifacts)
    held: dict[str, int] = {}
    places = Location.objects.filter(artifact__in=wanted).values_list("host__name", "artifact__size_bytes")
    for host, size in places:
        held[host] = held.get(host, 0) + size
    return Files(sum(artifact.size_bytes for artifact in wanted), held)


def host_starts(
    timeline: FleetTimeline, need: Need, hosts: Collection[str], *, files: Files | None = None, engine: str = "vllm"
) -> list[HostStart]:
    """Soonest first; hosts that never have so much free stay out. Without `files` nothing is said of the loading."""
    able = [timeline.hosts[name] for name in hosts if name in timeline.hosts]
    starts = sorted(
        (start for host in able if (start := host.earliest(need))), key=lambda start: (start.at, start.host)
    )
    return [
        HostStart(
            start.host,
            datetime.fromtimestamp(start.at, tz=UTC) if start.is_known else None,
            start.after,
            files.until_there(start.host) if files else None,
            load_duration(files.size, engine) if files else None,
        )
        for start in starts
    ]
