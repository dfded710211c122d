"""Why a job or an attempt ended as it did: the enum, its plain sentence, and whether to try again."""

from __future__ import annotations

from django.db import models


class Reason(models.TextChoices):
    """The label is the sentence people read."""

    NO_CAPACITY = "no_capacity", "No host has what this job needs"
    WORKER_LOST = "worker_lost", "The worker was lost"
    OUT_OF_MEMORY = "out_of_memory", "Out of memory"
    DISK_FULL = "disk_full", "The disk is full"
    ENGINE_EXITED = "engine_exited", "The engine stopped with an error"
    BAD_CONFIG = "bad_config", "The engine refused its configuration"
    MODEL_NOT_FOUND = "model_not_found", "The model's files were not found"
    GATED_MODEL = "gated_model", "The model is gated; its owner must grant access"
    TIMED_OUT = "timed_out", "It ran out of time"
    STALLED = "stalled", "No progress for too long"
    CANCELLED_BY_USER = "cancelled_by_user", "Cancelled by a person"
    SERVER_ERROR = "server_error", "Stackweb failed while handling it"
    RESULT_REFUSED = "result_refused", "Its result could not be taken"
    PREEMPTED = "preempted", "Stopped to make room"
    DEPENDENCY_FAILED = "dependency_failed", "A job it waits for failed"
    ENVIRONMENT_FAILED = "environment_failed", "The engine's environment could not be installed"
    POLICY_DENIED = "policy_denied", "A team rule forbids it"
    QUOTA_EXCEEDED = "quota_exceeded", "The team's quota is used up"
    NOT_A_NUMBER = "not_a_number", "The loss became NaN"
    INTERRUPTED = "interrupted", "Stackweb was stopped"
    PORT_TAKEN = "port_taken", "The port was taken"
    DEVICE_BUSY = "device_busy", "Another process holds the GPU"
    NOT_NEEDED = "not_needed", "No job needs it any more"


# What a job of any kind runs again after, counted: nobody's fault but the machines'. A user's own failure
# (memory, configuration, NaN) never reruns by itself. What each kind adds stands in policies.py.
INFRASTRUCTURE = frozenset({Reason.WORKER_LOST, Reason.SERVER_ERROR, Reason.PORT_TAKEN, Reason.DEVICE_BUSY})
# Runs again without counting: stopped by an operator, or to make room.
UNCOUNTED = frozenset({Reason.INTERRUPTED, Reason.PREEMPTED})
# Ended from outside in the middle of good work: the next attempt may go on from what this one saved.
CUT_OFF = frozenset({Reason.WORKER_LOST, Reason.INTERRUPTED, Reason.PREEMPTED, Reason.DISK_FULL})
