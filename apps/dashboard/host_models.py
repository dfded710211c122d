"""What lies on a host: every model there, what uses it, and what deleting it would cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from apps.accounts.models import User
from apps.catalog.copies import copies_on, why_kept
from apps.catalog.models import Location, ModelVersion
from apps.fleet.models import Host
from apps.jobs.models import Attempt
from apps.serving.models import Endpoint

SORTS = {"size": "by size", "used": "longest unused first"}


@dataclass(frozen=True)
class CopyRow:
    """`kept`: why it may not be deleted; empty where it may."""

    copy: Location
    last_used_at: datetime | None
    kept: str
    others: list[str]  # hosts that hold it too
    endpoints: list[Endpoint]

    @property
    def version(self) -> ModelVersion:
        version: ModelVersion = self.copy.artifact.version
        return version

    @property
    def consequence(self) -> str:
        """Who would be hurt by a deletion."""
        parts = [f"{self.copy.artifact.size_bytes / 1e9:.1f} GB are freed on {self.copy.host}."]
        if self.endpoints:
            names = ", ".join(each.name for each in self.endpoints[:5])
            parts.append(f"{names} would fetch it again at the next start.")
        place = (
            f"It stays on {', '.join(self.others)}." if self.others else "It is the only copy; it can be fetched again."
        )
        return " ".join([*parts, place])


def host_models(user: User, host: Host, sort: str = "size") -> dict[str, Any]:
    """The template's context."""
    copies = copies_on(host, user)
    rows = [_row(copy, last) for copy, last in zip(copies, _last_uses(host, copies), strict=True)]
    if sort == "used":
        rows.sort(key=lambda row: row.last_used_at.timestamp() if row.last_used_at else 0.0)
    ours = sum(row.copy.artifact.size_bytes for row in rows if not row.copy.is_adopted)
    return {
        "host": host,
        "rows": rows,
        "sort": sort if sort in SORTS else "size",
        "sorts": SORTS.items(),
        "held_bytes": ours,
        "headline": f"{len(rows)} model{'' if len(rows) == 1 else 's'} on {host}",
    }


def _row(copy: Location, last_used_at: datetime | None) -> CopyRow:
    version = copy.artifact.version
    others = copy.artifact.locations.exclude(pk=copy.pk).order_by("host__name").values_list("host__name", flat=True)
    endpoints = Endpoint.objects.filter(version=version).order_by("name")
    return CopyRow(copy, last_used_at, why_kept(copy), list(others), list(endpoints))


def _last_uses(host: Host, copies: list[Location]) -> list[datetime | None]:
    """When a job last ran there with each one's version."""
    ids = [copy.artifact.version.public_id for copy in copies]
    ran = Attempt.objects.filter(host=host, job__spec__model__version_id__in=ids).order_by()
    newest = dict(ran.values_list("job__spec__model__version_id").annotate(newest=Max("created_at")))
    return [newest.get(each) for each in ids]
