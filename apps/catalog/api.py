"""REST: models with their versions, files and places; imports and copies."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import Query, Router, Status

from apps.accounts.access import team_for, visible_or_404
from apps.accounts.hub_tokens import credentials_for
from apps.accounts.problems import invalid
from apps.accounts.rest import create_once, page_of, signed_in
from apps.catalog.choices import OfferedWeights, offer_of
from apps.catalog.copies import bring_copies
from apps.catalog.fit import Fit
from apps.catalog.hub_finds import Find, find_on_hub
from apps.catalog.hub_search import SHOWN
from apps.catalog.licenses import license_class
from apps.catalog.lookups import host_named, version_named
from apps.catalog.model_list import models_with
from apps.catalog.models import Artifact, LineageEdge, Model, ModelImport, ModelVersion
from apps.catalog.schemas import (
    CopiesIn,
    HubFindPage,
    ImportIn,
    ImportOut,
    ModelDetailOut,
    ModelPage,
    ModelsIn,
    OfferOut,
)
from apps.catalog.services import import_model
from apps.jobs.api import job_out
from apps.planning.modalities import inputs_of

router = Router(tags=["models"])


@router.get("/models", response=ModelPage)
def list_models(
    request: HttpRequest, asked: Query[ModelsIn], q: str = "", cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Models of your teams, newest first; `q` searches name, publisher, source, licence, summary and card.

    The other parameters may be repeated: a model has one of the values of each, judged by its newest version.
    """
    rows = models_with(signed_in(request), q, asked.model_dump()).select_related("team").defer("card")
    rows = rows.prefetch_related("versions__artifacts__locations__host")
    return page_of(rows, cursor=cursor, limit=limit, show=model_out)


@router.post("/models", response={201: ImportOut}, operation_id="create_model")
@router.post("/models/import", response={201: ImportOut}, operation_id="import_model")
def start_import(request: HttpRequest, payload: ImportIn) -> Status[dict[str, Any]]:
    """Starts an import; the model appears in the catalogue when its job has succeeded.

    `POST /models` and `POST /models/import` are the same call under two names.
    """
    user = signed_in(request)
    wishes = payload.model_dump(exclude={"host", "team"})

    def create() -> dict[str, Any]:
        team = team_for(user, payload.team or None)
        return import_out(import_model(team=team, user=user, host=host_named(payload.host), **wishes))

    return Status(*create_once(request, create))


@router.get("/models/choices", response=OfferOut)
def get_choices(request: HttpRequest, source_ref: str, revision: str = "") -> dict[str, Any]:
    """What a Hub repository offers: its formats, its safetensors by their headers, and each GGUF quantisation, with
    size and fit on this fleet."""
    user = signed_in(request)
    credentials = credentials_for(user, team_for(user, None))
    offer = offer_of(source_ref.strip(), revision.strip(), credentials=credentials)
    choices = [
        {"variant": each.label, "size_bytes": each.size_bytes, "fits": [_fit_out(fit) for fit in each.fits]}
        for each in offer.choices
    ]
    return {"commit": offer.commit, "formats": [vars(each) for each in offer.formats], "choices": choices} | {
        "weights": _weights_out(offer.weights) if offer.weights else None
    }


def _weights_out(weights: OfferedWeights) -> dict[str, Any]:
    return vars(weights.stored) | {"precision": weights.precision, "fits": [_fit_out(fit) for fit in weights.fits]}


@router.get("/models/hub-search", response=HubFindPage, operation_id="search_hub")
def get_hub_search(request: HttpRequest, q: str, limit: int = SHOWN) -> dict[str, Any]:
    """Models of the Hub whose name holds `q`, most downloaded first: what `POST /models` can import as `source_ref`.

    One page, of at most 50; a narrower `q` finds the rest. 503 where the Hub does not answer, or is not to be asked.
    """
    found = find_on_hub(signed_in(request), q, limit=limit)
    return {"items": [_find_out(each) for each in found], "next": None}


def _find_out(find: Find) -> dict[str, Any]:
    found = vars(find.model) | {"model": find.here.public_id if find.here else None}
    return found | {"license_class": license_class(find.model.license), "source_ref": find.model.repo}


def _fit_out(fit: Fit) -> dict[str, Any]:
    return {
        "device": fit.device.title,
        "count": fit.count,
        "verdict": fit.estimate.verdict if fit.estimate else None,
        "reason": fit.estimate.reason if fit.estimate else fit.problem,
        "used_bytes": round(fit.used_bytes),
    }


@router.get("/models/{model_id}", response=ModelDetailOut)
def get_model(request: HttpRequest, model_id: str) -> dict[str, Any]:
    model: Model = visible_or_404(Model.objects.select_related("team"), signed_in(request), model_id, noun="model")
    versions = model.versions.order_by("-pk").prefetch_related("artifacts__locations__host", "card_scores")
    return model_out(model) | {"card": model.card, "versions": [version_detail(each) for each in versions]}


@router.post("/models/versions/{version_id}/copies", response={201: list[ImportOut]})
def post_copies(request: HttpRequest, version_id: str, payload: CopiesIn) -> Status[list[dict[str, Any]]]:
    """Brings a version to hosts before it is needed there; one that is on its way already is returned."""
    user = signed_in(request)
    hosts = [host_named(name, field="hosts") for name in payload.hosts]
    if None in hosts:
        raise invalid("hosts", "Every host needs a name.", value="")
    version = version_named(user, version_id)
    brought = bring_copies(version=version, hosts=[host for host in hosts if host], user=user)
    return Status(201, [import_out(row) for row in brought])


def import_out(row: ModelImport) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "source": row.source,
        "source_ref": row.source_ref,
        "revision": row.revision,
        "variant": row.variant,
        "version": row.version.public_id if row.version else None,
        "model": row.version.model.public_id if row.version else None,
        "job": job_out(row.job),
    }


def model_out(model: Model) -> dict[str, Any]:
    versions = sorted(model.versions.all(), key=lambda version: -version.pk)
    return {
        "id": model.public_id,
        "name": model.name,
        "team": model.team.slug,
        "publisher": model.publisher,
        "source": model.source,
        "source_ref": model.source_ref,
        "license": model.license,
        "license_class": license_class(model.license),
        "summary": model.summary,
        "task": model.task,
        "languages": model.languages,
        "monthly_downloads": model.monthly_downloads,
        "is_gated": model.is_gated,
        "base_models": model.base_models,
        "created_at": model.created_at,
        "versions": [version_out(version) for version in versions],
        "url": reverse("model", args=[model.public_id]),
    }


def version_out(version: ModelVersion) -> dict[str, Any]:
    artifacts = list(version.artifacts.all())
    return {
        "id": version.public_id,
        "label": version.label,
        "revision": version.revision,
        "variant": version.variant,
        "note": version.note,
        "precision": version.precision,
        "parameters": version.parameter_count,
        "active_parameters": version.active_parameter_count,
        "needs_remote_code": version.needs_remote_code,
        "context_tokens": version.context_length,
        "size_bytes": sum(artifact.size_bytes for artifact in artifacts),
        "hosts": sorted({place.host.name for artifact in artifacts for place in artifact.locations.all()}),
        "created_at": version.created_at,
    }


def version_detail(version: ModelVersion) -> dict[str, Any]:
    parents = version.parent_edges.select_related("parent__model", "job")
    children = version.child_edges.select_related("child__model", "job")
    facts = version.facts
    return version_out(version) | {
        "architecture": version.architecture,
        "tokenizer": facts.get("tokenizer") or "",
        "has_chat_template": facts.get("chat_template"),
        "reads": inputs_of(facts.get("config") or {}),
        "artifacts": [_artifact_out(artifact) for artifact in version.artifacts.all()],
        "parents": [_edge_out(edge, edge.parent) for edge in parents],
        "children": [_edge_out(edge, edge.child) for edge in children],
        "reported_scores": list(version.card_scores.all()),
    }


def _artifact_out(artifact: Artifact) -> dict[str, Any]:
    places = sorted(artifact.locations.all(), key=lambda place: place.host.name)
    return {
        "role": artifact.role,
        "format": artifact.format,
        "size_bytes": artifact.size_bytes,
        "manifest_sha256": artifact.manifest_sha256,
        "files": artifact.files,
        "locations": [{"host": p.host.name, "path": p.path, "adopted": p.is_adopted} for p in places],
    }


def _edge_out(edge: LineageEdge, other: ModelVersion) -> dict[str, Any]:
    return {
        "version": other.public_id,
        "model": other.model.name,
        "relation": edge.relation,
        "job": edge.job.public_id if edge.job else None,
    }
