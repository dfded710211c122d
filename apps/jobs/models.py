"""What was asked (Job), every try at it (Attempt), and what happened (JobEvent, metrics, outputs)."""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import TeamOwned, User
from apps.fleet.models import Host
from apps.jobs.querysets import AttemptQuerySet, JobQuerySet, MetricQuerySet
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus


class JobKind(models.TextChoices):
    SERVE = "serve", "Serve"
    TRAIN = "train", "Fine-tune"
    EVALUATE = "evaluate", "Evaluate"
    BENCHMARK = "benchmark", "Load test"
    CONVERT = "convert", "Convert"
    DOWNLOAD = "download", "Download"
    INSTALL = "install", "Install"
    TOKENISE = "tokenise", "Tokenise"


class Job(TeamOwned):
    id_prefix = "job"

    kind = models.CharField(max_length=10, choices=JobKind)
    name = models.CharField(max_length=200)
    engine = models.CharField(max_length=40)
    spec = models.JSONField()  # apps.engines.base.RunSpec
    preview = models.JSONField(default=dict)  # the Command with named placeholders, as shown before submit
    priority = models.SmallIntegerField(default=0)

    variant = models.CharField(max_length=4, default="cpu")  # cpu | cuda
    gpus_needed = models.PositiveSmallIntegerField(default=0)
    vram_bytes_needed = models.BigIntegerField(default=0)  # on each GPU; 0: a whole one, whatever its size
    gpu_share_needed = models.FloatField(default=0)  # that the engine takes of such a GPU; 0: those bytes
    spread = models.BooleanField(default=False)  # the emptiest host that fits instead of the fullest
    ram_bytes_needed = models.BigIntegerField(default=0)  # on the CPU device
    pinned_host = models.ForeignKey(Host, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    # Where its environment and weights were brought to, or its lost attempt saved: preferred while it takes work, never
    # binding.
    prepared_on = models.ForeignKey(Host, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    after: models.ManyToManyField[Job, models.Model] = models.ManyToManyField(
        "self", symmetrical=False, related_name="followers", blank=True
    )

    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.QUEUED)
    phase = models.CharField(max_length=12, blank=True)  # installing downloading loading ready running
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    cause = models.TextField(blank=True)  # the engine's own line, or a sentence
    wait_reason = models.CharField(max_length=300, blank=True)  # why a queued job waits
    wait_hint = models.CharField(max_length=300, blank=True)  # what would unblock it soonest
    replan = models.JSONField(null=True, blank=True)  # what runs now instead, and for which room (cheaper.py)
    expected_start_at = models.DateTimeField(null=True, blank=True)  # estimated; null while nobody can say
    infrastructure_losses = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)  # queued, but backing off until then
    # "options.learning_rate" -> {"from": job id, "path": where in its result}; filled into spec when it is placed
    references = models.JSONField(default=dict)

    progress_done = models.FloatField(null=True, blank=True)
    progress_total = models.FloatField(null=True, blank=True)
    progress_unit = models.CharField(max_length=20, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(default=dict)  # apps.engines.base.Result

    time_limit_seconds = models.PositiveIntegerField(null=True, blank=True)  # of an attempt, from its claim; null: none
    stall_seconds = models.PositiveIntegerField(null=True, blank=True)  # null: the kind's
    stalled_at = models.DateTimeField(null=True, blank=True)  # no progress since; null while it moves
    schedule = models.ForeignKey("Schedule", on_delete=models.SET_NULL, null=True, blank=True, related_name="jobs")

    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()  # type: ignore[misc]  # the abstract base names a wider one

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [
            models.Index(fields=["-created_at", "-id"]),
            models.Index(fields=["-priority", "id"], condition=Q(finished_at=None), name="jobs_open"),
            # The list is in the order of the key, narrowed by any of these; a migration adds one for parts of the name.
            models.Index(fields=["status", "-id"], name="jobs_by_status"),
            models.Index(fields=["kind", "-id"], name="jobs_by_kind"),
            models.Index(fields=["kind", "status", "-id"], name="jobs_by_kind_and_status"),
            models.Index(fields=["engine", "-id"], name="jobs_by_engine"),
            models.Index(fields=["team", "-id"], name="jobs_by_team"),
            models.Index(fields=["created_by", "-id"], name="jobs_by_owner"),
            models.Index(fields=["finished_at"], condition=Q(status="failed"), name="jobs_failed"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False)
                | (~Q(status__in=["succeeded", "failed", "cancelled"]) & Q(finished_at__isnull=True)),
                name="ended_jobs_have_an_end",
            ),
            models.CheckConstraint(condition=Q(priority__gte=0), name="priority_not_negative"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None

    @property
    def measured_attempt(self) -> Attempt | None:
        """The newest one that reported any metric."""
        return next((each for each in self.attempts.all() if each.metric_points.exists()), None)

    @property
    def progress_fraction(self) -> float | None:
        """0 to 1, or None while unknown."""
        if not self.progress_total:
            return None
        return min(1.0, (self.progress_done or 0.0) / self.progress_total)


class Schedule(TeamOwned):
    """Repeats a job at the times of a cron expression."""

    id_prefix = "sched"

    name = models.CharField(max_length=200)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+")  # what is asked again each time
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=60, default="UTC")
    is_enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField(null=True, blank=True)  # null while disabled
    last_problem = models.CharField(max_length=300, blank=True)  # why the last time asked for nothing

    class Meta:
        ordering = ["name", "pk"]
        indexes = [models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="schedules_due")]

    def __str__(self) -> str:
        return self.name


def new_lease_token() -> str:
    return secrets.token_urlsafe(32)


class Attempt(models.Model):
    """One try on one host. Every write by the worker is conditional on uuid, epoch and lease token."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    epoch = models.PositiveIntegerField()
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="attempts")
    lease_token = models.CharField(max_length=64, default=new_lease_token)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    device_indexes = models.JSONField(default=list)  # GPU indices on the host
    port = models.PositiveIntegerField(null=True, blank=True)
    phase = models.CharField(max_length=12, blank=True)
    ran = models.JSONField(default=dict)  # argv, env (masked), files, env_prefix, pid: exactly what ran
    measurements = models.JSONField(default=dict)  # quantity -> value, as the engine printed it
    log_size_bytes = models.BigIntegerField(default=0)
    boot_id = models.CharField(max_length=64, blank=True)  # of the host when it claimed; another one: all is dead
    stop_reason = models.CharField(max_length=20, choices=Reason, blank=True)  # asked to stop, so that the job moves
    exit_code = models.IntegerField(null=True, blank=True)
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    cause = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True, blank=True)
    saw_claim = models.BooleanField(default=True)  # False: a restore forgot it; claimed_at is when it was heard of
    ready_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        ordering = ["-epoch"]
        constraints = [
            models.UniqueConstraint(fields=["job", "epoch"], name="one_attempt_per_epoch"),
            models.UniqueConstraint(fields=["job"], condition=Q(ended_at=None), name="one_open_attempt_per_job"),
        ]
        indexes = [
            models.Index(fields=["host"], condition=Q(ended_at=None), name="attempts_open_by_host"),
            models.Index(fields=["host", "-created_at"], name="attempts_newest_by_host"),
            models.Index(fields=["ended_at"], name="attempts_by_end"),  # a month's GPU-hours
        ]

    @property
    def must_stop(self) -> bool:
        """The worker is told to end it: its job was cancelled, or must make room here."""
        return self.job.cancel_requested_at is not None or bool(self.stop_reason)

    @property
    def is_unknown(self) -> bool:
        """The lease ran out: the host is silent, the engine may still run."""
        return self.ended_at is None and self.lease_expires_at is not None and self.lease_expires_at < timezone.now()


class HeldAttempt(models.Model):
    """What a host runs although this database does not know it, for it was restored from before that began.

    It runs on until an admin adopts it or has it end; meanwhile its devices are reserved under its UUID.
    """

    uuid = models.UUIDField(primary_key=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="held_attempts")
    epoch = models.PositiveIntegerField()
    lease_token = models.CharField(max_length=64)
    job_label = models.CharField(max_length=40, blank=True)  # public id, as the host was told; it may be unknown here
    device_indexes = models.JSONField(default=list)
    port = models.PositiveIntegerField(null=True, blank=True)
    phase = models.CharField(max_length=12, blank=True)
    found_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now)
    is_ending = models.BooleanField(default=False)  # its host is told to end it
    has_ended = models.BooleanField(default=False)  # nothing of it lives; its host keeps the result to tell

    class Meta:
        ordering = ["found_at", "uuid"]

    @property
    def label(self) -> str:
        return self.job_label or f"attempt {self.uuid}"


class JobEvent(models.Model):
    """One line of a job's timeline: what happened, by whom, why."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    what = models.CharField(max_length=200)
    detail = models.TextField(blank=True)
    tone = models.CharField(max_length=5, blank=True)  # "", now, warn, bad
    actor = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    actor_label = models.CharField(max_length=150, default="Stackweb")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["job", "at"])]


class MetricPoint(models.Model):
    """A value of a named series of one attempt at a step; resent points change nothing."""

    attempt = models.ForeignKey(  # found by the index of the constraint
        Attempt, on_delete=models.CASCADE, related_name="metric_points", db_index=False
    )
    name = models.CharField(max_length=60)
    step = models.FloatField()
    value = models.FloatField()
    at = models.DateTimeField(default=timezone.now)

    objects = MetricQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "name", "step"], name="one_point_of_an_attempt")]


class Output(models.Model):
    """A result file the worker uploaded; its bytes lie in the blob store under the sha256."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="outputs")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="outputs")
    name = models.CharField(max_length=300)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "name"], name="one_output_per_name")]
