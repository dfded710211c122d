"""What a Hub repository offers before anything is fetched: its formats, and each GGUF quantisation with its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.accounts.hub_tokens import HubCredential
from apps.catalog.fit import Fit, best_fit, device_classes
from apps.catalog.hub import HubChoices, read_choices
from apps.catalog.models import ModelVersion
from apps.engines.repository_files import REFUSED, Format, GgufChoice
from apps.engines.sources import parse_source


@dataclass(frozen=True)
class OfferedFormat:
    format: Format
    size_bytes: int
    why_not: str  # nothing here serves it; empty where something does


@dataclass(frozen=True)
class OfferedChoice:
    """`fits`: one for each class of devices of this fleet, on as few of them as it takes."""

    label: str
    size_bytes: int
    fits: list[Fit]


@dataclass(frozen=True)
class Offer:
    commit: str
    formats: list[OfferedFormat]
    choices: list[OfferedChoice]


def offer_of(repository: str, revision: str = "", *, credentials: Sequence[HubCredential] = ()) -> Offer:
    """Raises Problem naming the field, and ValueError for a text that names no repository."""
    found = read_choices(parse_source(f"hub:{repository}").name, revision, credentials=credentials)
    return Offer(
        commit=found.commit,
        formats=[OfferedFormat(kind, size, REFUSED.get(kind, "")) for kind, size in found.formats.items()],
        choices=[_offered(choice, found) for choice in found.gguf],
    )


def _offered(choice: GgufChoice, found: HubChoices) -> OfferedChoice:
    facts = {"format": "gguf", "weights_bytes": choice.size_bytes, "config": found.config}
    version = ModelVersion(precision=choice.label[:20], facts=facts)
    return OfferedChoice(choice.label, choice.size_bytes, [best_fit(version, device) for device in device_classes()])
