"""The suites that come with Stackweb: folders of apps/evals/suites, each with suite.yaml and its tasks' files.

A task `t` is `t.yaml` (lm-eval's form) and, with its own items, `t.jsonl`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field

from apps.evals.models import Suite
from apps.jobs.blobs import put_blob

FOLDER = Path(__file__).parent / "suites"
BYTES_PER_TOKEN = 4  # English text; the true count is known only to the tokenizer
DEFAULT_OUTPUT_TOKENS = 256  # lm-eval's own limit where a task names none


class SuiteChanged(Exception):
    """A shipped suite has other content under a version that already has scores to compare with."""


class TaskText(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    title: str = ""
    metric: str
    filter: str = "none"
    num_fewshot: int = 0


class SuiteText(BaseModel):
    """suite.yaml."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: str
    title: str = ""
    description: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    tasks: list[TaskText] = Field(min_length=1)


@transaction.atomic
def sync_suites(folder: Path = FOLDER) -> list[Suite]:
    """Makes a row for each shipped suite and stores its files. Safe to repeat.

    Raises SuiteChanged when files changed but the version did not: old and new scores would look comparable.
    """
    return [_sync(path.parent) for path in sorted(folder.glob("*/suite.yaml"))]


def _sync(folder: Path) -> Suite:
    text = SuiteText.model_validate(yaml.safe_load((folder / "suite.yaml").read_text()))
    tasks = [_task(folder, task) for task in text.tasks]
    existing = Suite.objects.filter(name=text.name, version=text.version).first()
    if existing and _content(existing.tasks, existing.options) != _content(tasks, text.options):
        raise SuiteChanged(
            f"The files of suite “{text.name}” changed, but its version is still {text.version}. "
            f"Raise `version` in {folder.name}/suite.yaml."
        )
    Suite.objects.filter(name=text.name).exclude(version=text.version).update(is_current=False)
    facts = {
        "title": text.title or text.name,
        "description": text.description,
        "tasks": tasks,
        "options": text.options,
        "is_current": True,
    }
    return Suite.objects.update_or_create(name=text.name, version=text.version, defaults=facts)[0]


def _content(tasks: list[dict[str, Any]], options: dict[str, Any]) -> object:
    """What scores depend on; titles and estimates may change under one version."""
    names = ("name", "metric", "filter", "num_fewshot")
    files = [sorted((file["name"], file["sha256"]) for file in task["files"]) for task in tasks]
    return [[task[name] for name in names] for task in tasks], files, options


def _task(folder: Path, task: TaskText) -> dict[str, Any]:
    files = [folder / f"{task.name}.yaml", folder / f"{task.name}.jsonl"]
    stored = [{"name": path.name} | put_blob(path.read_bytes())._asdict() for path in files if path.exists()]
    if not stored:
        raise FileNotFoundError(f"{folder.name}/suite.yaml names the task {task.name}, but {files[0].name} is missing")
    facts = task.model_dump() | {"title": task.title or task.name.replace("_", " ").capitalize()}
    return facts | _size(*files) | {"files": stored}


def _size(definition: Path, items: Path) -> dict[str, int]:
    """How many items, and roughly how many tokens each one costs."""
    rows = [json.loads(line) for line in items.read_text().splitlines() if line.strip()] if items.exists() else []
    spec = yaml.safe_load(definition.read_text())
    tokens = items.stat().st_size // BYTES_PER_TOKEN // len(rows) if rows else 0
    if spec.get("output_type") == "multiple_choice":
        choices = max((len(row.get("choices", [])) for row in rows), default=1)
        return {"item_count": len(rows), "prompt_tokens": tokens * max(1, choices), "output_tokens": 0}
    limit = spec.get("generation_kwargs", {}).get("max_gen_toks", DEFAULT_OUTPUT_TOKENS)
    return {"item_count": len(rows), "prompt_tokens": tokens, "output_tokens": limit}
