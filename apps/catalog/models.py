"""Models, their versions, the files that hold them, and where those files lie."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from apps.accounts.models import Team, TeamOwned
from apps.catalog.querysets import ModelQuerySet
from apps.catalog.text_search import UnreadVectorField, search_vector
from apps.fleet.models import Host
from apps.jobs.models import Job


class Model(TeamOwned):
    id_prefix = "model"

    class Source(models.TextChoices):
        HUB = "hub", "Hugging Face Hub"
        OLLAMA = "ollama", "Ollama registry"
        PACKAGE = "package", "Python package"
        PATH = "path", "Folder on a host"
        FINE_TUNE = "fine_tune", "Fine-tuned here"

    name = models.CharField(max_length=120)  # e.g. smollm2-135m-instruct
    publisher = models.CharField(max_length=120, blank=True)
    source = models.CharField(max_length=10, choices=Source)
    source_ref = models.CharField(max_length=400, blank=True)  # repository, package==version, path
    license = models.CharField(max_length=80, blank=True)
    summary = models.CharField(max_length=300, blank=True)
    card = models.TextField(blank=True)  # Markdown, sanitised when shown
    # What the Hub said when the model was imported; empty for other sources.
    task = models.CharField(max_length=60, blank=True)  # e.g. text-generation
    languages = models.JSONField(default=list)  # codes of its card: ["en", "de"]
    monthly_downloads = models.PositiveBigIntegerField(null=True, blank=True)
    is_gated = models.BooleanField(default=False)
    base_models = models.JSONField(default=list)  # [{name, relation}] as its card says
    search = models.GeneratedField(expression=search_vector(), output_field=UnreadVectorField(), db_persist=True)

    objects = ModelQuerySet.as_manager()  # type: ignore[misc]  # the abstract base names a wider one

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_model_per_name")]
        indexes = [GinIndex(fields=["search"], name="model_search")]

    def __str__(self) -> str:
        return self.name


class ModelVersion(TeamOwned):
    """One pinned state of a model. A score, an endpoint or a fine-tune names a version, never a model."""

    id_prefix = "mv"

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="versions")
    label = models.CharField(max_length=80)  # short revision, package version, or v1, v2 ...
    revision = models.CharField(max_length=80, blank=True)  # whole commit or package version, to fetch it again
    variant = models.CharField(max_length=60, blank=True)  # GGUF quantisation of the repository, or Ollama tag
    note = models.CharField(max_length=200, blank=True)  # e.g. "from Q4_1 weights"
    precision = models.CharField(max_length=20, blank=True)  # of the stored weights
    parameter_count = models.BigIntegerField(null=True, blank=True)
    active_parameter_count = models.BigIntegerField(null=True, blank=True)  # of a mixture of experts: met by a token
    context_length = models.PositiveIntegerField(null=True, blank=True)  # tokens
    needs_remote_code = models.BooleanField(default=False)  # one of its configs names Python of the repository
    facts = models.JSONField(default=dict)  # architecture, layers, heads, vocab ... from config.json

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "label"], name="one_version_per_label")]

    def __str__(self) -> str:
        return f"{self.model.name}@{self.label}"

    @property
    def is_gguf(self) -> bool:
        return bool(self.facts.get("format") == "gguf")

    @property
    def has_code(self) -> bool:
        """Whether Python of its repository came with its files."""
        return any(artifact.has_code for artifact in self.artifacts.all())

    @property
    def architecture(self) -> str:
        """The class that its config names, such as LlamaForCausalLM; empty where it names none."""
        named = self.facts.get("architecture")
        return named if isinstance(named, str) else ""

    @property
    def family(self) -> str:
        """As its config names the architecture: llama, qwen3 ...; empty where it names none."""
        config = self.facts.get("config")
        named = self.facts.get("model_type") or (config.get("model_type") if isinstance(config, dict) else "")
        return str(named or "")[:40]

    @property
    def quantization(self) -> Any:
        """quantization_config of its config.json, whatever that holds; None for weights stored plainly."""
        config = self.facts.get("config")
        return config.get("quantization_config") if isinstance(config, dict) else None


class TeamPolicy(models.Model):
    """What a team lets itself use; see policies.py. Without a row everything is allowed but remote code."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, related_name="model_policy")
    license_classes = models.JSONField(default=list)  # of licenses.LicenseClass
    licenses = models.JSONField(default=list)  # names allowed besides, in lower case
    allows_gguf = models.BooleanField(default=True)
    allows_pickle = models.BooleanField(default=True)  # pickled files beside the weights; they are never loaded
    allows_remote_code = models.BooleanField(default=False)  # models whose config names Python of their repository

    @property
    def limits_licenses(self) -> bool:
        return bool(self.license_classes or self.licenses)


class Verdict(models.Model):
    """How one version runs on one class of devices, worked out before a page asks; see verdicts.py."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="verdicts")
    device = models.CharField(max_length=200)  # DeviceClass.key
    formula_version = models.CharField(max_length=40)
    count = models.PositiveSmallIntegerField()  # devices it takes; 1 where it runs on none
    precision = models.CharField(max_length=20, blank=True)
    verdict = models.CharField(max_length=10, blank=True)  # fits | tight | too_big; empty: no estimate
    reason = models.TextField(blank=True)  # why it does not run
    used_bytes = models.BigIntegerField(default=0)  # on each device

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "device"], name="one_verdict_per_device_class")]
        indexes = [models.Index(fields=["device", "formula_version"], name="verdict_by_device_class")]


class CardScore(models.Model):
    """A score that the card of a version's commit reports: beside what is measured here, and never mixed with it."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="card_scores")
    benchmark = models.CharField(max_length=120)
    metric = models.CharField(max_length=80)
    value = models.FloatField()  # as the card gives it; the metric says of what scale
    setting = models.CharField(max_length=200, blank=True)
    reporter = models.CharField(max_length=120, blank=True)  # whom the card names, such as a leaderboard
    reporter_url = models.CharField(max_length=400, blank=True)
    evaluated_on = models.DateField(null=True, blank=True)
    source = models.CharField(max_length=500)  # repository@commit
    imported_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["pk"]  # as the card lists them


class LineageEdge(models.Model):
    class Relation(models.TextChoices):
        FINE_TUNE = "fine_tune", "Fine-tune"
        ADAPTER = "adapter", "LoRA adapter"
        MERGE = "merge", "Merge"
        QUANTISATION = "quantisation", "Quantisation"
        DISTILLATION = "distillation", "Distillation"

    parent = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="child_edges")
    child = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="parent_edges")
    relation = models.CharField(max_length=12, choices=Relation)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["parent", "child"], name="one_edge_per_pair")]


class Artifact(models.Model):
    """A set of files that holds a version: its weights, or a LoRA adapter on the parent's weights."""

    class Role(models.TextChoices):
        WEIGHTS = "weights", "Weights"
        ADAPTER = "adapter", "LoRA adapter"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="artifacts")
    role = models.CharField(max_length=8, choices=Role)
    format = models.CharField(max_length=20)  # safetensors, gguf
    size_bytes = models.BigIntegerField(default=0)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    files = models.JSONField(default=list)  # [{path, size_bytes, sha256}]
    created_at = models.DateTimeField(default=timezone.now)

    @property
    def has_code(self) -> bool:
        return any(file["path"].endswith(".py") for file in self.files)


class Location(models.Model):
    """Where an artifact's bytes lie. Only complete locations are ever used."""

    artifact = models.ForeignKey(Artifact, on_delete=models.CASCADE, related_name="locations")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="locations")
    path = models.CharField(max_length=500)
    is_adopted = models.BooleanField(default=False)  # read-only, not ours to delete

    class Meta:
        constraints = [models.UniqueConstraint(fields=["artifact", "host"], name="one_location_per_host")]


class ModelImport(TeamOwned):
    """A request to bring a model in; its job downloads, and the version exists once the files are whole.

    With `version` set from the start it brings a known version to one more host.
    """

    id_prefix = "import"

    source = models.CharField(max_length=10, choices=Model.Source)
    source_ref = models.CharField(max_length=400)
    revision = models.CharField(max_length=80, blank=True)
    variant = models.CharField(max_length=60, blank=True)  # one GGUF quantisation of a repository
    name = models.CharField(max_length=120)
    credential = models.CharField(max_length=6, blank=True)  # whose Hub token lets it in: user, team, server
    facts = models.JSONField(default=dict)  # what the source says: publisher, license, summary, card, note
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="model_import")
    version = models.ForeignKey(ModelVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
