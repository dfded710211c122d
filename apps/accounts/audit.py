"""One line per change of anything: every service that writes calls `audit` inside its transaction."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import AuditEvent, Team, User


def audit(
    actor: User | None,
    action: str,
    *,
    object_id: str,
    object_name: str = "",
    team: Team | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Records `action` (a past-tense verb phrase such as "endpoint.created"). No secrets in `detail`."""
    AuditEvent.objects.create(
        actor=actor,
        actor_label=actor.username if actor else "Stackweb",
        team=team,
        action=action,
        object_id=object_id,
        object_name=object_name,
        detail=detail or {},
    )
