"""Why an attempt cannot go on, in the words the server knows."""

from __future__ import annotations

from typing import Literal

# The values of apps.jobs.reasons.Reason that a worker may report.
Reason = Literal[
    "bad_config", "cancelled_by_user", "device_busy", "disk_full", "engine_exited", "environment_failed", "gated_model",
    "interrupted", "model_not_found", "not_a_number", "out_of_memory", "port_taken", "result_refused",
    "server_error", "stalled", "timed_out", "worker_lost",
]  # fmt: skip


class Problem(Exception):
    """Ends an attempt with this reason and this line for a person to read."""

    def __init__(self, reason: Reason, cause: str) -> None:
        super().__init__(cause)
        self.reason: Reason = reason
        self.cause = cause


class Ordered(Exception):
    """The attempt was told to end while it was being prepared."""
