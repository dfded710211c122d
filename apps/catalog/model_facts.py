"""What the Model page shows of one version: fit, files, places and lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.catalog.copies import hosts_without
from apps.catalog.fit import Fit, device_classes, every_fit
from apps.catalog.licenses import TITLES, license_class
from apps.catalog.models import Artifact, LineageEdge, Model, ModelVersion
from apps.catalog.policies import pickled_files, rule_against
from apps.planning.modalities import inputs_of

TREE_DEPTH = 8
TREE_ROWS = 60


@dataclass(frozen=True)
class TreeRow:
    """A version in the lineage tree; `relation` says how it came from `above`, the row it hangs from.

    `others`: what it was made from beside that, as of a merge; a tree has one line to each row.
    """

    version: ModelVersion
    depth: int
    relation: str
    is_here: bool
    above: ModelVersion | None = None
    others: Sequence[LineageEdge] = ()


def chosen_version(model: Model, label: str) -> ModelVersion | None:
    """The version of that label, or the newest one."""
    versions = model.versions.order_by("-pk")
    return versions.filter(label=label).first() or versions.first()


def model_facts(user: User, model: Model, label: str) -> dict[str, Any]:
    """The catalogue's part of the Model page's context."""
    version = chosen_version(model, label)
    facts: dict[str, Any] = {"model": model, "versions": list(model.versions.order_by("-pk")), "version": version}
    if version is None:
        return facts
    artifacts = list(version.artifacts.prefetch_related("locations__host"))
    fits = [fit for device in device_classes() for fit in every_fit(version, device)]
    return facts | {
        "artifacts": artifacts,
        "hosts_without": hosts_without(version) if has_role(user, Role.MEMBER, version.team) else [],
        "fits": fits,
        "best": _best(fits),
        "lede": _lede(version, fits, artifacts),
        "tree": lineage_tree(user, version),
        "facts": version_facts(version),
        "rule": rule_against(version, model.team),
        "pickled": pickled_files(version),
        "license_title": TITLES[license_class(model.license)][0].lower(),
    }


def version_facts(version: ModelVersion) -> list[tuple[str, str]]:
    """Label and value of what is known of the version; unknown ones are left out."""
    facts = version.facts
    both = facts.get("attention_heads"), facts.get("kv_heads")
    heads = "/".join(map(str, both)) if all(both) else ""
    layers = f"{facts['layers']} layers" if facts.get("layers") else ""
    rows = [
        ("Architecture", version.architecture),
        ("Shape", ", ".join(part for part in (layers, f"heads {heads}" if heads else "") if part)),
        ("Reads", ", ".join(inputs_of(facts.get("config") or {}))),
        ("Tokenizer", facts.get("tokenizer", "")),
        ("Vocabulary", f"{facts['vocab_size']:,}" if facts.get("vocab_size") else ""),
        ("Chat template", {True: "yes", False: "none"}.get(facts.get("chat_template"), "")),
        ("Active parameters", f"{version.active_parameter_count:,}" if version.active_parameter_count else ""),
        ("Remote code", "needed: its configs name Python of the repository" if version.needs_remote_code else ""),
        ("Base model", ", ".join(_base(each) for each in version.model.base_models)),
        ("Task", version.model.task.replace("-", " ")),
        ("Languages", ", ".join(version.model.languages)),
        ("Downloads a month", _count(version.model.monthly_downloads)),
        ("Gated", "yes: its terms are accepted on the Hub" if version.model.is_gated else ""),
        ("Note", version.note),
    ]
    return [(label, value) for label, value in rows if value]


def _base(base: dict[str, str]) -> str:
    return f"{base['name']} ({LineageEdge.Relation(base['relation']).label.lower()})"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,} when it was imported"


def _best(fits: list[Fit]) -> Fit | None:
    """The row to recommend: fits well on the fewest, smallest devices."""
    good = [fit for fit in fits if fit.estimate is not None and fit.estimate.verdict == "fits"]
    return min(good, key=lambda fit: (fit.count, fit.device.memory_bytes), default=None)


def _lede(version: ModelVersion, fits: list[Fit], artifacts: list[Artifact]) -> str:
    hosts = sorted({place.host.name for artifact in artifacts for place in artifact.locations.all()})
    places = f"Its files are on {', '.join(hosts)}." if hosts else "Its files are on no host yet."
    best = _best(fits) or next((fit for fit in fits if fit.fits), None)
    if best is None:
        judged = any(fit.estimate is not None for fit in fits)
        return f"Nothing here runs it. {places}" if judged else places
    number = f"{best.count} × " if best.count > 1 else "one "
    where = "the CPU" if best.device.kind == "cpu" else f"{number}{best.device.title}"
    return f"Runs at {best.precision.upper()} on {where}. {places}"


def lineage_tree(user: User, version: ModelVersion) -> list[TreeRow]:
    """From the oldest ancestor down, as far as `user` may see, at most 60 versions."""
    root = version
    for _ in range(TREE_DEPTH):
        edge = root.parent_edges.select_related("parent__model").first()
        if edge is None or not ModelVersion.objects.visible_to(user).filter(pk=edge.parent_id).exists():
            break
        root = edge.parent
    rows = [TreeRow(root, 0, root.model.get_source_display(), root == version)]
    _add_children(user, root, 1, version, rows)
    return _with_other_parents(user, rows)


def _with_other_parents(user: User, rows: list[TreeRow]) -> list[TreeRow]:
    found: dict[int, list[LineageEdge]] = defaultdict(list)
    children, seen = [row.version for row in rows], ModelVersion.objects.visible_to(user)
    edges = LineageEdge.objects.filter(child__in=children, parent__in=seen).select_related("parent__model")
    for edge in edges.order_by("pk"):
        found[edge.child_id].append(edge)
    return [replace(row, others=[edge for edge in found[row.version.pk] if edge.parent != row.above]) for row in rows]


def _add_children(user: User, parent: ModelVersion, depth: int, here: ModelVersion, rows: list[TreeRow]) -> None:
    edges = LineageEdge.objects.filter(parent=parent, child__in=ModelVersion.objects.visible_to(user))
    for edge in edges.select_related("child__model").order_by("pk"):
        if len(rows) >= TREE_ROWS:
            return
        rows.append(TreeRow(edge.child, depth, edge.get_relation_display(), edge.child == here, parent))
        if depth < TREE_DEPTH:
            _add_children(user, edge.child, depth + 1, here, rows)
