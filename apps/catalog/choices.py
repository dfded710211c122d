"""What a Hub repository offers before anything is fetched: its formats, and each GGUF quantisation with its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from apps.accounts.hub_tokens import HubCredential
from apps.catalog.fit import DeviceClass, Fit, best_fit, device_classes
from apps.catalog.hub import read_choices
from apps.catalog.models import Model, ModelVersion
from apps.catalog.registration import stored_precision
from apps.catalog.remote_safetensors import StoredWeights
from apps.catalog.source_checks import checked_source
from apps.engines.repository_files import REFUSED, Format, GgufChoice


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
class OfferedWeights:
    """Safetensors, by the headers of their files; of those that were not read, by their sizes alone."""

    stored: StoredWeights
    precision: str
    fits: list[Fit]


@dataclass(frozen=True)
class Offer:
    repo: str
    commit: str
    formats: list[OfferedFormat]
    choices: list[OfferedChoice]
    weights: OfferedWeights | None


def offer_of(repository: str, revision: str = "", *, credentials: Sequence[HubCredential] = ()) -> Offer:
    """Raises Problem as `checked_source` and `read_choices`."""
    asked = checked_source(Model.Source.HUB, repository, revision)
    found, devices = read_choices(asked.name, asked.revision, credentials=credentials), device_classes()
    return Offer(
        repo=asked.name,
        commit=found.commit,
        formats=[OfferedFormat(kind, size, REFUSED.get(kind, "")) for kind, size in found.formats.items()],
        choices=[_offered(choice, found.config, devices) for choice in found.gguf],
        weights=_offered_weights(found.stored, found.config, devices) if found.stored else None,
    )


def _offered(choice: GgufChoice, config: dict[str, Any], devices: Sequence[DeviceClass]) -> OfferedChoice:
    facts = {"format": "gguf", "weights_bytes": choice.size_bytes, "config": config}
    version = ModelVersion(precision=choice.label[:20], facts=facts)
    return OfferedChoice(choice.label, choice.size_bytes, [best_fit(version, device) for device in devices])


def _offered_weights(stored: StoredWeights, config: dict[str, Any], devices: Sequence[DeviceClass]) -> OfferedWeights:
    quantization = config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    dtype = stored.main_dtype or config.get("dtype") or config.get("torch_dtype")
    precision = stored_precision({"dtype": dtype, "quantisation": method or "none", "config": config})
    facts = {"format": "safetensors", "weights_bytes": stored.file_bytes, "config": config}
    version = ModelVersion(precision=precision, parameter_count=stored.parameters, facts=facts)
    return OfferedWeights(stored, precision, [best_fit(version, device) for device in devices])
