"""Shapes of the catalogue on the wire. Sizes in bytes, context in tokens."""

from __future__ import annotations

from datetime import date, datetime

from ninja import Field, Schema
from pydantic import field_validator

from apps.jobs.schemas import JobOut


class LocationOut(Schema):
    host: str
    path: str
    adopted: bool  # a folder that was there before; Stackweb never deletes it


class FileOut(Schema):
    path: str
    size_bytes: int
    sha256: str


class ArtifactOut(Schema):
    role: str  # weights | adapter
    format: str
    size_bytes: int
    manifest_sha256: str
    files: list[FileOut]
    locations: list[LocationOut]


class ParentOut(Schema):
    version: str
    model: str
    relation: str  # fine_tune | adapter | merge | quantisation | distillation
    job: str | None


class VersionOut(Schema):
    id: str
    label: str
    revision: str
    variant: str  # GGUF quantisation of the repository; empty for safetensors
    note: str
    precision: str
    parameters: int | None
    active_parameters: int | None  # that a token meets in a mixture of experts; null: all of them, or not known
    needs_remote_code: bool
    context_tokens: int | None
    size_bytes: int
    hosts: list[str]
    created_at: datetime


class CardScoreOut(Schema):
    """A score that the publisher's card reports; nobody measured it here."""

    benchmark: str
    metric: str
    value: float  # as the card gives it
    setting: str  # empty: the card does not say
    reporter: str  # whom the card names, such as a leaderboard
    reporter_url: str
    evaluated_on: date | None  # null: not said
    source: str  # repository@commit
    imported_at: datetime


class VersionDetailOut(VersionOut):
    architecture: str  # empty: not known
    tokenizer: str  # its class; empty: not known
    has_chat_template: bool | None
    reads: list[str]  # text, image, audio
    artifacts: list[ArtifactOut]
    parents: list[ParentOut]
    children: list[ParentOut]
    reported_scores: list[CardScoreOut]


class BaseModelOut(Schema):
    name: str
    relation: str  # fine_tune | adapter | merge | quantisation | distillation


class ModelOut(Schema):
    id: str
    name: str
    team: str
    publisher: str
    source: str  # hub | ollama | package | path | fine_tune
    source_ref: str
    license: str
    license_class: str  # permissive | copyleft | community | non_commercial | unknown
    summary: str
    task: str  # as the Hub names it, e.g. text-generation
    languages: list[str]  # codes of its card
    monthly_downloads: int | None  # when it was imported
    is_gated: bool
    base_models: list[BaseModelOut]  # as its card says
    created_at: datetime
    versions: list[VersionOut]  # newest first
    url: str


class ModelDetailOut(ModelOut):
    card: str
    versions: list[VersionDetailOut]  # type: ignore[assignment]


class ModelPage(Schema):
    items: list[ModelOut]
    next: str | None


class ModelsIn(Schema):
    """Facets of the Models page: one of the values of each facet must hold; an empty one asks nothing."""

    runs: list[str] = Field([], description="any: one device here runs it; or a device class of this fleet")
    parameters: list[str] = Field([], description="in billions: 4 (under 4), 4-15, 15-35, 35-130, 130 (over 130)")
    licence: list[str] = Field([], description="as the model states it, in either case")
    format: list[str] = Field([], description="of the files: safetensors, gguf, LoRA adapter")
    precision: list[str] = Field([], description="of the stored weights, e.g. bf16")
    context: list[str] = Field([], description="32k, 128k or 256k tokens, or more")
    language: list[str] = Field([], description="a code of the model's card, e.g. en")
    task: list[str] = Field([], description="as the Hub names it, e.g. text-generation")
    modality: list[str] = Field([], description="what it reads: text, image or audio")
    engine: list[str] = Field([], description="that can serve it here: vLLM, llama.cpp")

    @field_validator("licence")
    @classmethod
    def in_lower_case(cls, value: list[str]) -> list[str]:
        return [each.lower() for each in value]


class ImportIn(Schema, extra="forbid"):
    source: str = Field(description="hub, ollama, package or path")
    source_ref: str = Field(
        description="owner/name, name:tag, a package with a model, or an absolute folder or .gguf file on a host"
    )
    revision: str = Field("", description="Hub branch, tag or commit; empty for main")
    variant: str = Field("", description="of a repository of GGUF files: the quantisation, such as Q4_K_M")
    name: str = Field("", description="empty: named after the source")
    host: str = Field("", description="empty: any host; needed for a folder when there are several hosts")
    team: str = Field("", description="slug; empty: your first team")


class CopiesIn(Schema, extra="forbid"):
    hosts: list[str] = Field(min_length=1, max_length=200)


class OfferedFormatOut(Schema):
    format: str  # safetensors | gguf | pytorch | onnx | tensorrt | mlmodel
    size_bytes: int
    why_not: str  # why nothing here serves it; empty where something does


class ChoiceFitOut(Schema):
    device: str
    count: int
    verdict: str | None  # fits | tight | too_big; null: not estimated
    reason: str
    used_bytes: int  # on each device


class ChoiceOut(Schema):
    variant: str
    size_bytes: int
    fits: list[ChoiceFitOut]


class OfferedWeightsOut(Schema):
    """Safetensors as the headers of their files say, read by range; no weights are fetched."""

    parameters: int  # of the files that were read; packed quantised weights count as stored
    bytes_by_dtype: dict[str, int]  # BF16, F8_E4M3 ... as the format names them
    file_bytes: int  # of all of them
    not_read_files: int  # whose headers took too long, or too many bytes
    not_read_bytes: int  # the size of those
    precision: str
    fits: list[ChoiceFitOut]


class OfferOut(Schema):
    commit: str
    weights: OfferedWeightsOut | None  # null: no safetensors
    formats: list[OfferedFormatOut]
    choices: list[ChoiceOut]  # GGUF quantisations, smallest first


class HubFindOut(Schema):
    """A repository of the Hub as its list shows it; null: the Hub does not say."""

    source_ref: str  # what an import takes
    license: str  # empty: the Hub does not say
    license_class: str  # permissive | copyleft | community | non_commercial | unknown
    task: str
    downloads: int | None  # of the last month
    likes: int | None
    modified_at: datetime | None
    is_gated: bool
    is_private: bool
    model: str | None  # imported from it before


class HubFindPage(Schema):
    items: list[HubFindOut]
    next: str | None


class ImportOut(Schema):
    id: str
    name: str
    source: str
    source_ref: str
    revision: str
    variant: str
    version: str | None  # null until every file is whole
    model: str | None
    job: JobOut
