"""What the page of one endpoint shows, and how to call it."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils import timezone

from apps.accounts.access import has_role
from apps.accounts.models import Role, User
from apps.calibration.comparisons import compare
from apps.engines.registry import get_engine
from apps.fleet.models import Device, Reservation
from apps.gateway.charts import endpoint_charts
from apps.gateway.endpoint_list import capacities_of, memory_of, runs_on
from apps.gateway.usage import figures_of
from apps.jobs.models import Attempt
from apps.jobs.presentation import state_word
from apps.serving.models import Endpoint
from apps.serving.states import endpoint_state, newest_job

CURL = """curl {base_url}/chat/completions \\
  -H "Authorization: Bearer $STACKWEB_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{name}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""

PYTHON = """import os
from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key=os.environ["STACKWEB_KEY"])
answer = client.chat.completions.create(
    model="{name}",
    messages=[{{"role": "user", "content": "Hello"}}],
)
print(answer.choices[0].message.content)"""


def endpoint_page(endpoint: Endpoint, user: User, *, base_url: str) -> dict[str, Any]:
    state = endpoint_state(endpoint)
    job = newest_job(endpoint)
    attempts = list(job.attempts.all()) if job else []
    may_act = has_role(user, Role.MEMBER, endpoint.team)
    return {
        "endpoint": endpoint,
        "state": state,
        "job": job,
        "attempt": attempts[0] if attempts else None,
        "follows_newest": True,
        "engine": get_engine(endpoint.engine),
        "runs_on": runs_on(state),
        "up_seconds": _up_seconds(state.attempt) if state.word == "Live" else None,
        "figures": figures_of([endpoint.pk])[endpoint.pk],
        "charts": endpoint_charts(endpoint.pk),
        "memory": memory_of([job]).get(job.pk, {}) if job else {},
        "capacity_bytes": capacities_of([job])[job.pk] if job else 0,
        "comparisons": [(row, _off(row.error_fraction)) for row in compare(job)] if job else [],
        "replicas": _replicas(endpoint),
        "base_url": base_url,
        "curl": CURL.format(base_url=base_url, name=endpoint.name),
        "python": PYTHON.format(base_url=base_url, name=endpoint.name),
        "may_start": may_act and (state.is_ended or state.word == "Held"),
        "may_stop": may_act and not state.is_ended and state.word != "Cancelling",
        "may_act": may_act,
    }


def _replicas(endpoint: Endpoint) -> list[dict[str, Any]]:
    """The newest five, each with its state and the devices of its last attempt."""
    newest = (
        endpoint.replicas.select_related("job")
        .prefetch_related("job__attempts__host", "job__after")
        .order_by("-pk")[:5]
    )
    rows = [(replica, next(iter(replica.job.attempts.all()), None)) for replica in newest]
    devices: dict[uuid.UUID, list[str]] = {}
    held = Reservation.objects.filter(holder__in=[attempt.uuid for _, attempt in rows if attempt])
    for holder, kind, index in held.order_by("device__index").values_list("holder", "device__kind", "device__index"):
        devices.setdefault(holder, []).append("CPU" if kind == Device.Kind.CPU else f"GPU {index}")
    return [
        {
            "replica": replica,
            "state": state_word(replica.job),
            "attempt": attempt,
            "devices": devices.get(attempt.uuid, []) if attempt else [],
        }
        for replica, attempt in rows
    ]


def _off(error_fraction: float | None) -> str:
    """ "+4 %"; within half a percent is "0 %"."""
    if error_fraction is None:
        return ""
    whole = round(100 * error_fraction)
    return f"{whole:+d} %" if whole else "0 %"


def _up_seconds(attempt: Attempt | None) -> float | None:
    if attempt is None or attempt.ready_at is None:
        return None
    return (timezone.now() - attempt.ready_at).total_seconds()
