"""The Hub token of a download: the one that let its import in, and no other."""

from __future__ import annotations

from apps.accounts.hub_tokens import credentials_for
from apps.catalog.models import ModelImport, ModelVersion
from apps.jobs.models import Job


def hub_secrets(job: Job) -> dict[str, str]:
    """For the host that claims the download and for nobody else; empty where that token is there no more."""
    row = ModelImport.objects.filter(job=job).select_related("created_by", "team", "version").first()
    if row is None:
        return {}
    let_in = _first_let_in(row.version) if row.version and not row.created_by else row  # a copy has no creator
    if let_in is None or let_in.credential != row.credential:
        return {}
    tokens = {each.key: each.token for each in credentials_for(let_in.created_by, let_in.team)}
    return {"HF_TOKEN": tokens[row.credential]} if row.credential in tokens else {}


def credential_of(version: ModelVersion) -> str:
    """Whose token let its import in; a copy goes on with it."""
    first = _first_let_in(version)
    return first.credential if first else ""


def _first_let_in(version: ModelVersion) -> ModelImport | None:
    """The first import of the version that took a token."""
    rows = ModelImport.objects.filter(version=version).exclude(credential="").select_related("created_by", "team")
    first: ModelImport | None = rows.order_by("pk").first()
    return first
