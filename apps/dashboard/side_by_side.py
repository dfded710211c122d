"""The rows of the comparison of models: facts, fit on this fleet, scores and what serves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apps.accounts.models import User
from apps.catalog.fit import device_classes
from apps.catalog.models import CardScore, ModelVersion
from apps.catalog.verdicts import kept_fits
from apps.evals.comparison import headline_scores, mean_of_tasks
from apps.evals.models import EvalRun, Suite
from apps.evals.wording import score_cells
from apps.leaderboard.comparison import conditions
from apps.leaderboard.suites import key_of
from apps.planning.reported_scores import reported_scores
from apps.serving.models import Endpoint

RUNS = 200  # newest runs of all the versions that are looked at
Kind = Literal["text", "params", "ctx", "bytes", "fit", "score", "reported", "card", "endpoints"]


@dataclass(frozen=True)
class Row:
    """`values`: one for each version, None where nothing is known; `kind` says how the page prints them."""

    title: str
    kind: Kind
    values: list[Any]
    note: str = ""
    is_same: bool = False
    pair: str = ""  # the query of the paired test of two measured versions


@dataclass(frozen=True)
class Group:
    title: str
    origin: Literal["", "estimated", "measured", "reported"]
    rows: list[Row]


def side_by_side(user: User, versions: Sequence[ModelVersion]) -> list[Group]:
    """Groups with something in them, in a fixed number of queries."""
    groups = [
        Group("What each one is", "", list(_facts(versions))),
        Group("Runs here", "estimated", list(_fits(versions))),
        Group("Scores measured here", "measured", list(_measured(user, versions))),
        Group("Scores that others report", "reported", list(_reported(versions))),
        Group("Scores of their own cards", "reported", list(_of_cards(versions))),
        Group("Serving now", "", list(_serving(user, versions))),
    ]
    return [group for group in groups if group.rows]


def _row(
    title: str, kind: Kind, values: list[Any], *, key: Callable[[Any], Hashable] = json.dumps, **more: Any
) -> Iterator[Row]:
    """The row, unless nothing is known for any version. Those with equal keys are the same."""
    if any(value not in (None, "", []) for value in values):
        keys = {key(value) for value in values}
        yield Row(title, kind, values, is_same=len(values) > 1 and len(keys) == 1, **more)


def _facts(versions: Sequence[ModelVersion]) -> Iterator[Row]:
    def row(title: str, kind: Kind, value: Callable[[ModelVersion], Any]) -> Iterator[Row]:
        return _row(title, kind, [value(version) for version in versions])

    yield from row("Publisher", "text", lambda version: version.model.publisher)
    yield from row("Parameters", "params", lambda version: version.parameter_count)
    yield from row("Active parameters", "params", lambda version: version.active_parameter_count)
    yield from row("Architecture", "text", _architecture)
    yield from row("Context", "ctx", lambda version: version.context_length)
    yield from row("Stored as", "text", lambda version: version.precision.upper())
    yield from row("Size on disk", "bytes", _size)
    yield from row("Licence", "text", lambda version: version.model.license)
    yield from row("Languages", "text", lambda version: ", ".join(map(str, version.model.languages)))
    yield from row("Task", "text", lambda version: version.model.task.replace("-", " "))
    yield from row("Gated", "text", lambda version: "yes" if version.model.is_gated else "no")
    yield from row("Remote code", "text", lambda version: "needed" if version.needs_remote_code else "not needed")


def _architecture(version: ModelVersion) -> str:
    if named := version.facts.get("architecture"):
        return str(named)
    config = version.facts.get("config")
    listed = config.get("architectures") if isinstance(config, dict) else None
    return str(listed[0]) if isinstance(listed, list) and listed else ""


def _size(version: ModelVersion) -> int | None:
    return sum(artifact.size_bytes for artifact in version.artifacts.all()) or None


def _fits(versions: Sequence[ModelVersion]) -> Iterator[Row]:
    devices = device_classes()
    fits = kept_fits([version.pk for version in versions], devices)
    for at, device in enumerate(devices):
        cells = [fits[version.pk][at] for version in versions]
        yield from _row(device.title, "fit", cells, key=lambda fit: fit.cell)


def _measured(user: User, versions: Sequence[ModelVersion]) -> Iterator[Row]:
    """A row for each suite; where there is a choice, runs under the conditions of the first version's newest."""
    runs: dict[Suite, dict[int, list[EvalRun]]] = {}
    done = EvalRun.objects.visible_to(user).done().filter(version__in=versions)
    for run in done.with_scores().order_by("-pk")[:RUNS]:
        if headline_scores(run):
            runs.setdefault(run.suite, {}).setdefault(run.version_id, []).append(run)
    for suite, of_versions in sorted(runs.items(), key=lambda item: str(item[0])):
        base = next(of_versions[version.pk][0] for version in versions if version.pk in of_versions)
        cells = [_score_cell(base, of_versions.get(version.pk, [])) for version in versions]
        ids = [version.public_id for version in versions if version.pk in of_versions]
        pair = f"suite={key_of(suite)}&a={ids[0]}&" + "&".join(f"b={each}" for each in ids[1:])
        yield from _row(
            str(suite), "score", cells, key=lambda cell: cell and cell["value"], pair=pair if len(ids) > 1 else ""
        )


def _score_cell(base: EvalRun, runs: list[EvalRun]) -> dict[str, Any] | None:
    if not runs:
        return None
    wanted = conditions(base)
    run = next((each for each in runs if conditions(each) == wanted), runs[0])
    cells = score_cells(mean_of_tasks(headline_scores(run)))
    return cells and cells | {"run": run, "is_alike": conditions(run) == wanted}


def _reported(versions: Sequence[ModelVersion]) -> Iterator[Row]:
    """A row for each benchmark; every score with the setting and the source that its reporter names."""
    scores = [reported_scores().get(version.model.source_ref, ()) for version in versions]
    for benchmark in sorted({each.benchmark for found in scores for each in found}):
        cells = [[each for each in found if each.benchmark == benchmark] for found in scores]
        yield from _row(benchmark, "reported", cells, key=lambda found: tuple(each.score for each in found))


def _of_cards(versions: Sequence[ModelVersion]) -> Iterator[Row]:
    """A row for each benchmark and metric that a version's own card reports."""
    known: dict[int, list[CardScore]] = {}
    for each in CardScore.objects.filter(version__in=versions):
        known.setdefault(each.version_id, []).append(each)
    scores = [known.get(version.pk, []) for version in versions]
    for benchmark, metric in sorted({(each.benchmark, each.metric) for found in scores for each in found}):
        cells = [[each for each in found if (each.benchmark, each.metric) == (benchmark, metric)] for found in scores]
        title = f"{benchmark}, {metric}"
        yield from _row(title, "card", cells, key=lambda found: tuple(each.value for each in found))


def _serving(user: User, versions: Sequence[ModelVersion]) -> Iterator[Row]:
    running = Endpoint.objects.visible_to(user).filter(version__in=versions, wish=Endpoint.Wish.RUNNING)
    found: dict[int, list[Endpoint]] = {}
    for endpoint in running.order_by("name"):
        found.setdefault(endpoint.version_id, []).append(endpoint)
    cells = [found.get(version.pk, []) for version in versions]
    yield from _row("Endpoints", "endpoints", cells, key=lambda endpoints: tuple(each.pk for each in endpoints))
