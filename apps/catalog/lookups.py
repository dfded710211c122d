"""The model version and the host that a person asks for by name."""

from __future__ import annotations

from apps.accounts.models import User
from apps.accounts.problems import unknown_choice
from apps.catalog.models import ModelVersion
from apps.fleet.models import Host


def version_named(user: User, public_id: str, *, field: str = "version") -> ModelVersion:
    """Raises Problem 422 with the nearest id among those that the person may see."""
    versions = ModelVersion.objects.visible_to(user).select_related("model")
    version: ModelVersion | None = versions.with_public_id(public_id).first()
    if version is None:
        known = [row.public_id for row in versions.order_by("-pk")[:50]]
        raise unknown_choice(field, public_id, known, noun="model version")
    return version


def host_named(name: str, *, field: str = "host") -> Host | None:
    """The host, None for no name. Raises Problem 422 with the nearest name for an unknown one."""
    if not name:
        return None
    host = Host.objects.filter(name=name).first()
    if host is None:
        raise unknown_choice(field, name, Host.objects.values_list("name", flat=True), noun="host")
    return host
