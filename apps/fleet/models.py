"""The machines: hosts, their devices, who holds a device, and what the devices measured."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.fleet.host_states import HostState, host_state
from apps.planning.gpu_memory import usable_of

# RAM that stays with the system and Stackweb itself on the CPU device.
RAM_KEPT_BYTES = 2 * 1024**3
FLEET_ID = 0  # as a device_id of history: every GPU together


REMOVABLE_AFTER = timedelta(days=1)  # of silence


class ListedHosts(models.Manager["Host"]):
    """Without the removed ones, which only history still names."""

    def get_queryset(self) -> models.QuerySet[Host]:
        return super().get_queryset().filter(removed_at=None)


class Host(models.Model):
    """A machine with one worker. Hosts belong to the installation; every team may use them."""

    name = models.SlugField(max_length=63, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    cordoned = models.BooleanField(default=False)  # takes no new work
    cordon_reason = models.CharField(max_length=200, blank=True)
    is_draining = models.BooleanField(default=False)  # cordoned, and what runs here ends or moves
    fenced_at = models.DateTimeField(null=True, blank=True)  # an operator says: this machine is off
    left_at = models.DateTimeField(null=True, blank=True)  # its worker said goodbye
    removed_at = models.DateTimeField(null=True, blank=True)  # an admin took it off every list
    isolation = models.CharField(max_length=20, blank=True)  # cgroup | process_group, as the worker reported
    warnings = models.JSONField(default=list)  # sentences: what this host cannot do, and what would help
    architecture = models.CharField(max_length=20, blank=True)  # x86_64, aarch64
    gpu_hour_price = models.DecimalField(max_digits=8, decimal_places=4, null=True, blank=True)  # null: the type's
    boot_id = models.CharField(max_length=64, blank=True)
    earlier_boots = models.JSONField(default=dict)  # boot id -> when it was replaced; see boots.py
    booted_at = models.DateTimeField(null=True, blank=True)  # by the host's own clock
    cuda_version = models.CharField(max_length=20, blank=True)  # the newest that its driver runs
    agent_version = models.CharField(max_length=40, blank=True)
    platform = models.CharField(max_length=120, blank=True)
    cpu_model = models.CharField(max_length=120, blank=True)
    cpu_count = models.PositiveIntegerField(default=1)
    ram_bytes = models.BigIntegerField(default=0)
    disk_total_bytes = models.BigIntegerField(default=0)
    disk_free_bytes = models.BigIntegerField(default=0)
    models_dir = models.CharField(max_length=500, blank=True)
    peer_address = models.CharField(max_length=260, blank=True)  # host:port at which its peers copy models; empty: none

    objects = ListedHosts()
    with_removed = models.Manager["Host"]()

    def __str__(self) -> str:
        return self.name

    @property
    def may_be_removed(self) -> bool:
        """Gone, or silent for more than a day; what it still holds is another question."""
        return self.state.is_gone or timezone.now() - (self.last_seen_at or self.created_at) > REMOVABLE_AFTER

    @property
    def is_silent(self) -> bool:
        """Silent is not dead: its jobs may still run."""
        limit = timedelta(seconds=settings.HOST_SILENT_SECONDS)
        return self.last_seen_at is None or timezone.now() - self.last_seen_at > limit

    @property
    def state(self) -> HostState:
        return host_state(
            is_silent=self.is_silent,
            is_cordoned=self.cordoned,
            is_draining=self.is_draining,
            is_fenced=self.fenced_at is not None,
            has_left=self.left_at is not None,
        )

    @property
    def queue(self) -> str:
        return f"gpu.{self.name}"

    @property
    def broker_prefix(self) -> str:
        """Keeps a host's broker keys apart, so that its broker user may touch no other host's."""
        return f"host.{self.name}."


class FleetAlert(models.Model):
    """Something about the fleet as a whole that needs a person; at most one open of each kind."""

    class Kind(models.TextChoices):
        SILENT_HOSTS = "silent_hosts", "Scheduling is frozen"
        RESTORED = "restored", "A backup was restored"  # since opened_at; hosts may run what the database forgot

    kind = models.CharField(max_length=20, choices=Kind)
    text = models.TextField()
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind"], condition=Q(closed_at=None), name="one_open_alert_per_kind")
        ]


class HostToken(models.Model):
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)


class JoinToken(models.Model):
    """Lets one new host join; made by an admin, works once."""

    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_by = models.ForeignKey(Host, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    used_at = models.DateTimeField(null=True, blank=True)


class Device(models.Model):
    """A GPU, or the host's CPU, which is shared by reserved RAM."""

    class Kind(models.TextChoices):
        GPU = "gpu", "GPU"
        CPU = "cpu", "CPU"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=3, choices=Kind)
    index = models.PositiveSmallIntegerField(default=0)
    uuid = models.CharField(max_length=80)
    name = models.CharField(max_length=120)
    memory_bytes = models.BigIntegerField(default=0)
    slots = models.PositiveSmallIntegerField(default=1)  # GPU only
    driver = models.CharField(max_length=40, blank=True)
    is_present = models.BooleanField(default=True)
    links = models.JSONField(default=list)  # [{uuid, kind: nvlink | pcie}]: GPUs of this host it is joined to
    mig_profile = models.CharField(max_length=40, blank=True)  # of a MIG slice, such as 1g.10gb
    power_limit_w = models.FloatField(null=True, blank=True)
    gpu_type = models.CharField(max_length=40, blank=True)  # key of apps.planning.gpu_types; empty: not in the table

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "uuid"], name="one_device_per_host_and_uuid")]
        ordering = ["host__name", "kind", "index"]

    def __str__(self) -> str:
        return f"{self.host.name}:{'cpu' if self.kind == 'cpu' else self.index}"

    @property
    def is_amd(self) -> bool:
        """By the name that the host's inventory gives an AMD GPU."""
        return self.uuid.startswith("AMD-")

    @property
    def usable_bytes(self) -> int:
        """What an engine can have of it at most: of a GPU what torch sees."""
        return usable_of(self.name, self.memory_bytes) if self.kind == self.Kind.GPU else self.capacity_bytes

    @property
    def capacity_bytes(self) -> int:
        """What jobs may have of its memory, all together."""
        return self.memory_bytes - (RAM_KEPT_BYTES if self.kind == self.Kind.CPU else 0)


class Reservation(models.Model):
    """Who holds a device. `holder` is an attempt's UUID; freed only after its confirmed death."""

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="reservations")
    slot = models.PositiveIntegerField(default=0)
    holder = models.UUIDField(db_index=True)
    gpu_slots = models.PositiveSmallIntegerField(default=1)  # that the GPU had when this was one of them
    ram_bytes = models.BigIntegerField(default=0)  # CPU device only
    created_at = models.DateTimeField(default=timezone.now)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["device", "slot"], condition=Q(released_at=None), name="one_live_reservation_per_slot"
            )
        ]


class PortLease(models.Model):
    """A loopback port on a host, leased so that two engines never race for it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="ports")
    port = models.PositiveIntegerField()
    holder = models.UUIDField(db_index=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["host", "port"], condition=Q(released_at=None), name="one_live_lease_per_port"
            )
        ]


class EngineEnvironment(models.Model):
    """An installed engine environment, as the host's last inventory reported it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="environments")
    engine = models.CharField(max_length=40)
    variant = models.CharField(max_length=10)
    lock_sha256 = models.CharField(max_length=64, blank=True)  # empty: a configured path
    path = models.CharField(max_length=500)
    size_bytes = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "path"], name="one_environment_per_host_and_path")]


class HostLoad(models.Model):
    """How busy a host was at its newest sample, and from where its samples still wait to be rolled up."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, primary_key=True, related_name="load")
    at = models.DateTimeField()  # by the host's clock, though never far ahead of ours; nothing newer is stored
    cpu_percent = models.FloatField()
    ram_used_bytes = models.BigIntegerField()
    gpus = models.JSONField(default=list)  # of schemas.GpuLoadIn
    roll_from = models.DateTimeField()  # every sample before it is in the minutes


class DeviceSample(models.Model):
    """One measurement of a device, every 5 s, kept for a day; the CPU's memory is the host's RAM.

    Without a foreign key's check, which would cost more than the row. Partitioned by day (apps.fleet.partitions).
    """

    pk = models.CompositePrimaryKey("device_id", "at")
    device_id = models.BigIntegerField()
    at = models.DateTimeField()
    util_percent = models.FloatField(null=True)
    memory_bytes = models.BigIntegerField(null=True)
    temperature_c = models.FloatField(null=True)
    power_w = models.FloatField(null=True)


class Rollup(models.Model):
    """A device's samples of a stretch of time as one row, or all GPUs together under `FLEET_ID`."""

    pk = models.CompositePrimaryKey("device_id", "at")
    device_id = models.BigIntegerField()
    at = models.DateTimeField()  # where it begins
    seconds = models.FloatField()  # of it that samples cover
    util_percent = models.FloatField(null=True)  # mean; of the fleet the mean over its GPUs
    util_max = models.FloatField(null=True)
    memory_bytes = models.BigIntegerField(null=True)  # most; of the fleet the sum
    temperature_c = models.FloatField(null=True)  # highest
    power_w = models.FloatField(null=True)  # mean; of the fleet the sum

    class Meta:
        abstract = True


class DeviceMinute(Rollup):
    """Kept for a month, partitioned by day."""


class DeviceHour(Rollup):
    """Kept for a year."""
