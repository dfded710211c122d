"""The palette: pages, actions, models, endpoints and jobs that a person may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.urls import reverse

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.catalog.models import Model
from apps.jobs.kinds import handler_of
from apps.jobs.models import Job
from apps.jobs.presentation import state_word
from apps.serving.models import Endpoint

ROWS = 6
LONGEST = 100

# name of the URL, title, icon, key
ACTIONS = (
    ("endpoint_new", "Serve a model", "rocket", ""),
    ("fine_tune_new", "Start a fine-tune", "activity", ""),
    ("eval_run_new", "Start an evaluation", "list-checks", ""),
    ("model_import", "Add a model", "download", ""),
)
PAGES = (
    ("overview", "Overview", "layout-dashboard", "g o"),
    ("endpoints", "Endpoints", "radio", "g e"),
    ("fine_tunes", "Fine-tunes", "activity", "g f"),
    ("eval_runs", "Evaluations", "list-checks", "g v"),
    ("jobs", "Jobs", "list-todo", "g j"),
    ("models", "Models", "boxes", "g m"),
    ("leaderboard", "Leaderboard", "trophy", "g l"),
    ("arena", "Arena", "swords", "g a"),
    ("hardware", "Hardware", "cpu", "g h"),
    ("datasets", "Datasets", "database", "g d"),
    ("engines", "Engines", "circle-gauge", "g n"),
    ("settings", "Settings", "settings", "g s"),
    ("settings_tokens", "Tokens and keys", "key-round", ""),
    ("settings_policy", "Model policy", "settings", ""),
    ("calibration", "Calibration", "circle-gauge", ""),
    ("api_docs", "API docs", "book-open", ""),
)


@dataclass(frozen=True)
class Hit:
    title: str
    url: str
    icon: str
    note: str = ""
    key: str = ""


def find(user: User, asked: str) -> list[tuple[str, list[Hit]]]:
    """Groups of hits in the order of the palette; groups without a hit are left out."""
    words = asked.strip()[:LONGEST]
    groups = [
        ("Actions", _static(ACTIONS, words) if has_role(user, Role.MEMBER) else []),
        ("Endpoints", _endpoints(user, words)),
        ("Models", _models(user, words)),
        ("Jobs", _jobs(user, words)),
        ("Pages", _static(PAGES, words)),
    ]
    return [(title, hits) for title, hits in groups if hits]


def _static(rows: tuple[tuple[str, str, str, str], ...], words: str) -> list[Hit]:
    return [
        Hit(title, reverse(name), icon, key=key) for name, title, icon, key in rows if words.lower() in title.lower()
    ]


def _endpoints(user: User, words: str) -> list[Hit]:
    rows = Endpoint.objects.visible_to(user).filter(name__icontains=words).select_related("version__model")
    return [
        Hit(row.name, reverse("endpoint", args=[row.public_id]), "radio", str(row.version.model))
        for row in rows.order_by("-pk")[:ROWS]
    ]


def _models(user: User, words: str) -> list[Hit]:
    rows = Model.objects.visible_to(user).filter(Q(name__icontains=words) | Q(publisher__icontains=words))
    return [
        Hit(row.name, reverse("model", args=[row.public_id]), "boxes", row.publisher)
        for row in rows.order_by("-pk")[:ROWS]
    ]


def _jobs(user: User, words: str) -> list[Hit]:
    visible: Any = Job.objects.visible_to(user)
    by_id = Q(pk__in=visible.with_public_id(words).values("pk"))
    rows = visible.filter(Q(name__icontains=words) | by_id).for_display().order_by("-pk")[:ROWS]
    return [
        Hit(row.name, handler_of(row).detail_url(row), "list-todo", f"{row.public_id} · {state_word(row)}")
        for row in rows
    ]
