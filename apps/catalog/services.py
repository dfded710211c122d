"""Brings models in: checks the wish, asks the source what it holds, and starts the download."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from django.db import transaction

from apps.accounts.access import require_role
from apps.accounts.audit import audit
from apps.accounts.hub_tokens import HubCredential, credentials_for
from apps.accounts.models import Role, Team, User
from apps.accounts.problems import conflict, invalid
from apps.accounts.services import lock_team
from apps.calibration.services import NewEstimate, record_estimates
from apps.catalog.deletions import open_deletions
from apps.catalog.hub import read_hub
from apps.catalog.hub_secrets import credential_of
from apps.catalog.models import Location, Model, ModelImport, ModelVersion
from apps.catalog.ollama import read_ollama
from apps.catalog.packages import PACKAGED_MODELS
from apps.catalog.policies import broken_rule, policy_of, refusal
from apps.catalog.room import check_room
from apps.catalog.source_checks import checked_source
from apps.engines.base import RunSpec
from apps.engines.sources import FETCHED, Source, parse_source
from apps.fleet.models import Host
from apps.jobs.models import JobKind
from apps.jobs.services import submit_job
from apps.jobs.states import JobStatus
from apps.planning.loading import FORMULA_VERSION, download_duration

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def import_model(
    *,
    team: Team,
    user: User,
    source: str,
    source_ref: str,
    revision: str = "",
    variant: str = "",
    name: str = "",
    host: Host | None = None,
) -> ModelImport:
    """Starts bringing a model in; the version exists once its files are whole on a host.

    `variant` names one GGUF quantisation of a Hub repository, as `owner/name:Q4_K_M` does. The same import asked
    again returns the earlier one. Raises Problem 403 for a role below member and for what a team rule forbids, 422
    naming the field (`host`: no room on its disk), 409 for a name that another model has, 503 when the Hub does not
    answer.
    """
    require_role(user, Role.MEMBER, team)
    asked = checked_source(source, source_ref.strip(), revision.strip(), variant.strip())
    if asked.kind == "path":
        host = host or _only_host()
    wanted, facts, credential = _described(asked, credentials_for(user, team))
    _check_policy(team, wanted, facts)
    name = _checked_name(name.strip() or str(facts.pop("name")))
    with transaction.atomic():
        lock_team(team)
        if earlier := _earlier_import(team, wanted, name, host):
            return earlier
        if host is not None and wanted.kind in FETCHED:
            content = (wanted.kind, wanted.name, wanted.revision, wanted.variant)
            check_room(content, facts.get("size_bytes") or 0, host, user, field="host")
        return _start_import(
            team=team, user=user, source=wanted, name=name, host=host, facts=facts, credential=credential
        )


def _check_policy(team: Team, source: Source, facts: dict[str, Any]) -> None:
    """Of a folder only the format is known before it is read; the rest is asked when it is used. Raises Problem 403."""
    is_gguf = bool(source.variant) or source.name.endswith(".gguf")
    license = None if source.kind == "path" else str(facts.get("license", ""))
    rule = broken_rule(
        policy_of(team),
        name=str(facts["name"]),
        license=license,
        is_gguf=is_gguf,
        needs_remote_code=bool(facts.get("needs_remote_code")),
    )
    if rule:
        raise refusal(rule, "source_ref")


def copy_version(*, version: ModelVersion, host: Host, user: User | None = None) -> ModelImport:
    """Starts bringing a known version to one more host, or returns the import that does so already.

    `user` None: a job needs it there, and when none does any more it is not brought.
    """
    source = _source_of(version)
    with transaction.atomic():
        ModelVersion.objects.select_for_update(no_key=True).get(pk=version.pk)  # else two would start one each
        copies = ModelImport.objects.filter(version=version, job__pinned_host=host, job__finished_at=None)
        under_way: ModelImport | None = copies.select_related("job").first()
        if under_way is not None:
            return under_way
        row = _start_import(
            team=version.team,
            user=user,
            source=source,
            name=version.model.name,
            host=host,
            version=version,
            credential=credential_of(version),
        )
        # The copy that such a job deletes left the books before, else nobody would ask for a new one.
        row.job.after.add(*open_deletions(host))
        return row


def _source_of(version: ModelVersion) -> Source:
    """What brings the same files again."""
    model = version.model
    if model.source == Model.Source.PATH:
        return Source("path", model.source_ref)
    separator = "==" if model.source == Model.Source.PACKAGE else "@"
    chosen = f":{version.variant}" if version.variant else ""
    return parse_source(f"{model.source}:{model.source_ref}{chosen}{separator}{version.revision}")


class _Description(NamedTuple):
    source: Source  # pinned to what it holds now
    facts: dict[str, Any]  # what it says about itself; `name` among it
    credential: str = ""  # whose Hub token its download takes


def _described(source: Source, credentials: Sequence[HubCredential]) -> _Description:
    """What the source says of itself. Raises Problem as `read_hub` and `read_ollama`."""
    if source.kind == "package":
        known = PACKAGED_MODELS[source.name]
        shown = ("name", "publisher", "license", "summary", "note", "size_bytes")
        return _Description(source, {field: getattr(known, field) for field in shown})
    last_part = source.name.rstrip("/").rpartition("/")[2]
    if source.kind == "path":
        return _Description(source, {"name": re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", last_part)})
    if source.kind == "ollama":
        return _described_by_ollama(source, last_part)
    hub = read_hub(source.name, source.revision, source.variant, credentials=credentials)
    facts = {
        "name": last_part,
        "publisher": hub.publisher,
        "license": hub.license,
        "summary": hub.summary,
        "card": hub.card,
        "size_bytes": hub.size_bytes,
        "task": hub.task,
        "languages": hub.languages,
        "monthly_downloads": hub.monthly_downloads,
        "is_gated": hub.is_gated,
        "needs_remote_code": hub.needs_remote_code,
        "base_models": hub.base_models,
        "scores": [asdict(score) for score in hub.scores],
    }
    return _Description(Source("hub", source.name, hub.commit, hub.variant), facts, hub.credential)


def _described_by_ollama(source: Source, name: str) -> _Description:
    found = read_ollama(source.name, source.variant)
    publisher = source.name.partition("/")[0]
    facts = {
        "name": name,
        "publisher": "" if publisher == "library" else publisher,
        "license": found.license,
        "size_bytes": found.size_bytes,
        "note": f"{source.name.removeprefix('library/')}:{source.variant} of an Ollama registry",
    }
    return _Description(replace(source, revision=found.digest), facts)


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise invalid(
            "name",
            "A name has letters, digits, dots, hyphens and underscores, starts with a letter or digit, "
            "and is at most 120 long.",
            value=name,
        )
    return name


def _only_host() -> Host:
    """The host of a folder when there is no choice; else Problem 422."""
    hosts = list(Host.objects.order_by("name")[:2])
    if len(hosts) != 1:
        known = "there are several" if hosts else "none is connected yet"
        raise invalid("host", f"Say on which host the folder lies; {known}.")
    return hosts[0]


def _earlier_import(team: Team, source: Source, name: str, host: Host | None) -> ModelImport | None:
    """The same import, done or under way. Raises Problem 409 when the name belongs to something else."""
    same_name = ModelImport.objects.filter(team=team, name=name).select_related("job", "version__model")
    under_way: list[ModelImport] = list(same_name.filter(job__finished_at=None))
    model = Model.objects.filter(team=team, name=name).first()
    if model is not None and (model.source, model.source_ref) != (source.kind, source.name):
        raise conflict(f"{name} is already the name of another model. Give this one another name.", id=model.public_id)
    for each in under_way:
        if (each.source, each.source_ref) != (source.kind, source.name):
            raise conflict(f"{name} is being imported from elsewhere ({each.source_ref}).", id=each.public_id)
    done: list[ModelImport] = list(same_name.filter(job__status=JobStatus.SUCCEEDED).exclude(version=None))
    for each in [*under_way, *done]:
        if (each.revision, each.variant) == (source.revision, source.variant) and _serves_host(each, host):
            return each
    return None


def _serves_host(earlier: ModelImport, host: Host | None) -> bool:
    """True when the earlier import puts, or has put, the files where they are wanted."""
    if host is None or earlier.job.pinned_host_id == host.pk:
        return True
    return Location.objects.filter(artifact__version=earlier.version, host=host).exists()


def _start_import(
    *,
    team: Team,
    user: User | None,
    source: Source,
    name: str,
    host: Host | None,
    credential: str,
    facts: dict[str, Any] | None = None,
    version: ModelVersion | None = None,
) -> ModelImport:
    # A copy has the files of the first one. An import of such a model was refused unless its code is granted.
    with_code = version.has_code if version else bool((facts or {}).get("needs_remote_code"))
    payload = {"source": str(source)} | ({"trusts_code": True} if with_code else {})
    job = submit_job(
        team=team,
        user=user,
        kind=JobKind.DOWNLOAD,
        name=f"Import {name}" if version is None else f"Copy {name} to {host}",
        spec=RunSpec(kind="download", engine="download", payload=payload),
        pinned_host=host,
    )
    if source.kind in ("hub", "ollama"):
        record_estimates(job=job, estimates=_estimates((facts or {}).get("size_bytes") or _stored_bytes(version), host))
    row: ModelImport = ModelImport.objects.create(
        team=team,
        created_by=user,
        source=source.kind,
        source_ref=source.name,
        revision=source.revision,
        variant=source.variant,
        name=name,
        credential=credential,
        facts=facts or {},
        job=job,
        version=version,
    )
    audit(user, "model.import_started", object_id=row.public_id, object_name=name, team=team)
    return row


def _stored_bytes(version: ModelVersion | None) -> int:
    return sum(version.artifacts.values_list("size_bytes", flat=True)) if version else 0


def _estimates(size: int, host: Host | None) -> list[NewEstimate]:
    """The ledger's row; a network is a host's, so the host stands for the device."""
    if not size:
        return []
    time = download_duration(size)
    seconds = (time.seconds, time.seconds_low, time.seconds_high)
    context = {"engine": "download", "device": host.name if host else ""}
    return [NewEstimate("download_seconds", "seconds", *seconds, "low", FORMULA_VERSION, context)]
