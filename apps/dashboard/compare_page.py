"""The page that puts up to four model versions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.accounts.models import User
from apps.accounts.problems import not_found
from apps.accounts.rest import signed_in
from apps.catalog.model_list import models_with
from apps.catalog.models import Model, ModelVersion
from apps.dashboard.side_by_side import Group, side_by_side

COLUMNS = 4
CHOICES = 8  # models offered for a name that several have in part


@dataclass
class Picked:
    """Versions in the order asked for; `notes` say what is not shown, and why."""

    versions: list[ModelVersion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    user, wanted = signed_in(request), request.GET.get("add", "").strip()[:200]
    picked = _pick(user, request.GET.getlist("m"))
    choices = _versions_named(user, wanted, picked.versions) if wanted else []
    if len(choices) == 1 and len(picked.versions) < COLUMNS:
        return redirect(_address([*picked.versions, *choices]))
    if wanted and not choices:
        picked.notes.append(f"No other model is called “{wanted}”.")
    groups = side_by_side(user, picked.versions)
    only_differences = request.GET.get("only") == "differences"
    context = _columns(picked, choices) | {
        "groups": _differing(groups) if only_differences else groups,
        "only_differences": only_differences,
        "headline": _headline(picked.versions),
        "lede": _lede(groups, len(picked.versions)),
        "add": wanted,
    }
    return render(request, "catalog/compare.html", context)


def _pick(user: User, asked: Sequence[str]) -> Picked:
    """The first four that exist and that the person may see; each other one is said so."""
    visible = ModelVersion.objects.visible_to(user).select_related("model").prefetch_related("artifacts")
    picked, left_out = Picked(), []
    for public_id in list(dict.fromkeys(asked))[:20]:
        version = visible.with_public_id(public_id).first()
        if version is None:
            picked.notes.append(not_found("model version", public_id[:40]).detail)
        elif len(picked.versions) == COLUMNS:
            left_out.append(str(version))
        else:
            picked.versions.append(version)
    if left_out:
        picked.notes.append(f"Four stand side by side at most; not shown: {', '.join(left_out)}.")
    return picked


def _versions_named(user: User, text: str, shown: Sequence[ModelVersion]) -> list[ModelVersion]:
    """The newest versions of models that the text names, but those shown: one alone where the name is exact."""
    exact = Model.objects.visible_to(user).exclude(versions=None).filter(name__iexact=text)
    found = exact if exact.exists() else models_with(user, text).exclude(versions=None).order_by("name")
    ids = list(found.exclude(versions__in=shown).distinct().values_list("pk", flat=True)[:CHOICES])
    newest = ModelVersion.objects.filter(model__in=ids).order_by("model", "-pk").distinct("model")
    return sorted(newest.select_related("model"), key=lambda version: version.model.name)


def _columns(picked: Picked, choices: Sequence[ModelVersion]) -> dict[str, Any]:
    versions = picked.versions
    return {
        "versions": versions,
        "notes": picked.notes,
        "columns": [(each, _address([other for other in versions if other != each])) for each in versions],
        "choices": [(each, _address([*versions, each])) for each in choices],
        "span": len(versions) + 1,
        "has_room": len(versions) < COLUMNS,
        "all_address": _address(versions),
    }


def _address(versions: Sequence[ModelVersion]) -> str:
    return f"{reverse('models_compare')}?{urlencode([('m', version.public_id) for version in versions])}"


def _differing(groups: Sequence[Group]) -> list[Group]:
    left = [Group(group.title, group.origin, [row for row in group.rows if not row.is_same]) for group in groups]
    return [group for group in left if group.rows]


def _headline(versions: Sequence[ModelVersion]) -> str:
    names = [version.model.name for version in versions]
    if len(names) < 2:
        return f"{names[0]}, beside which model?" if names else "Compare models"
    if len(names) == 2:
        names = names if names[0] != names[1] else [str(version) for version in versions]
        return f"{names[0]} beside {names[1]}"
    return f"{len(names)} models side by side"


def _lede(groups: Sequence[Group], count: int) -> str:
    """What sets the versions apart among their facts."""
    if count < 2:
        return "Up to four stand side by side, and rows in which they are equal are dimmed."
    facts = [row for group in groups if not group.origin for row in group.rows if row.kind != "endpoints"]
    *others, last = [row.title[0].lower() + row.title[1:] for row in facts if not row.is_same] or ["nothing"]
    return f"They differ in {', '.join(others)} and {last}." if others else f"They differ in {last}."
