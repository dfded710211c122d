"""What a card says its model was made from: `base_model`, and how, as the Hub's tags or the card tell it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from apps.catalog.models import LineageEdge

MOST_BASES = 10
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_TAG = re.compile(r"base_model:(\w+):(.+)")
# The Hub's word -> ours
RELATIONS = {
    "quantized": LineageEdge.Relation.QUANTISATION.value,
    "finetune": LineageEdge.Relation.FINE_TUNE.value,
    "adapter": LineageEdge.Relation.ADAPTER.value,
    "merge": LineageEdge.Relation.MERGE.value,
    "distillation": LineageEdge.Relation.DISTILLATION.value,
}


def base_models(card: Mapping[str, Any] | Any, tags: Iterable[Any] | None) -> list[dict[str, str]]:
    """`{name, relation}` of each; a relation that nobody names is a fine-tune, as the Hub takes it."""
    given = card.get("base_model") if card else None
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    told = str(card.get("base_model_relation") or "") if card else ""
    tagged = {found[2]: found[1] for tag in tags or () if isinstance(tag, str) and (found := _TAG.fullmatch(tag))}
    known = dict.fromkeys(name for name in names if isinstance(name, str) and _REPOSITORY.fullmatch(name))
    usual = RELATIONS["merge"] if len(known) > 1 else RELATIONS["finetune"]
    return [
        {"name": name, "relation": RELATIONS.get(told) or RELATIONS.get(tagged.get(name, ""), usual)}
        for name in list(known)[:MOST_BASES]
    ]
