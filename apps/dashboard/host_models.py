"""What lies on a host: every model there, what uses it, and what deleting it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.accounts.models import User
from apps.accounts.paging import whole_number
from apps.catalog.copies import copies_on, why_kept
from apps.catalog.copy_uses import last_uses
from apps.catalog.models import Location, ModelVersion
from apps.fleet.models import Host
from apps.serving.models import Endpoint

SORTS = {"size": "by size", "used": "longest unused first"}
PAGE_SIZE = 50


@dataclass(frozen=True)
class CopyRow:
    """`kept`: why it may not be deleted; empty where it may."""

    copy: Location
    last_used_at: datetime | None
    kept: str
    others: list[str]  # hosts that hold it too
    endpoints: list[str]  # that would fetch it again

    @property
    def version(self) -> ModelVersion:
        version: ModelVersion = self.copy.artifact.version
        return version

    @property
    def consequence(self) -> str:
        """Who would be hurt by a deletion."""
        parts = [f"{self.copy.artifact.size_bytes / 1e9:.1f} GB are freed on {self.copy.host}."]
        if self.endpoints:
            parts.append(f"{', '.join(self.endpoints[:5])} would fetch it again at the next start.")
        place = (
            f"It stays on {', '.join(self.others)}." if self.others else "It is the only copy; it can be fetched again."
        )
        return " ".join([*parts, place])


def host_models(user: User, host: Host, *, sort: str = "size", cursor: str = "") -> dict[str, Any]:
    """The template's context. An unknown sort is by size; a cursor that is not ours shows the first page."""
    copies = list(copies_on(host, user))
    used = last_uses(host, copies)
    if sort == "used":
        copies.sort(key=lambda copy: (used[copy.pk].timestamp() if copy.pk in used else 0.0, copy.pk))
    else:
        copies.sort(key=lambda copy: (-copy.artifact.size_bytes, copy.pk))
    last_shown = whole_number(cursor)
    begin = next((place for place, copy in enumerate(copies, start=1) if copy.pk == last_shown), 0)
    page = copies[begin : begin + PAGE_SIZE]
    return {
        "host": host,
        "rows": copy_rows(host, page, used),
        "next": page[-1].pk if begin + PAGE_SIZE < len(copies) else None,
        "sort": sort if sort in SORTS else "size",
        "sorts": SORTS.items(),
        "held_bytes": sum(copy.artifact.size_bytes for copy in copies if not copy.is_adopted),
        "headline": f"{len(copies)} model{'' if len(copies) == 1 else 's'} on {host}",
    }


def copy_rows(host: Host, copies: Sequence[Location], used: dict[int, datetime]) -> list[CopyRow]:
    """The copies in their order; `used` is when each was last used, by its key."""
    kept, others, endpoints = why_kept(host, copies), _other_hosts(host, copies), _endpoints(copies)
    return [
        CopyRow(
            copy,
            used.get(copy.pk),
            kept[copy.pk],
            others.get(copy.artifact_id, []),
            endpoints.get(copy.artifact.version_id, []),
        )
        for copy in copies
    ]


def _other_hosts(host: Host, copies: Sequence[Location]) -> dict[int, list[str]]:
    """Names of the other hosts that hold each artifact."""
    found: dict[int, list[str]] = {}
    places = Location.objects.filter(artifact__in=[copy.artifact_id for copy in copies]).exclude(host=host)
    for artifact, name in places.order_by("host__name").values_list("artifact", "host__name"):
        found.setdefault(artifact, []).append(name)
    return found


def _endpoints(copies: Sequence[Location]) -> dict[int, list[str]]:
    """Names of the endpoints of each version."""
    found: dict[int, list[str]] = {}
    serving = Endpoint.objects.filter(version__in=[copy.artifact.version_id for copy in copies])
    for version, name in serving.order_by("name").values_list("version", "name"):
        found.setdefault(version, []).append(name)
    return found
