"""The one table from a replica's job to what people read about its endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from apps.jobs.models import Attempt, Job
from apps.jobs.presentation import open_attempt, reason_sentence, state_word
from apps.serving.models import Endpoint

_WORDS = {"Failed": "Down", "Stalled": "Down", "Done": "Stopped"}
_RETRY_AFTER_SECONDS = {"Loading": 5, "Starting": 10, "Queued": 15, "Waiting": 30}


@dataclass(frozen=True)
class EndpointState:
    """`word` is of the state vocabulary; `sentence` is whole and says what to expect or do."""

    word: str
    sentence: str
    job: Job | None
    attempt: Attempt | None  # the open one

    @property
    def is_ready(self) -> bool:
        return self.word in ("Live", "Unknown") and self.attempt is not None and bool(self.attempt.port)

    @property
    def is_moving(self) -> bool:
        return self.word in ("Loading", "Starting", "Queued", "Waiting", "Cancelling")

    @property
    def is_ended(self) -> bool:
        """No replica is left, so that it can be started."""
        return self.job is None or self.job.is_over

    @property
    def retry_after_seconds(self) -> int:
        return _RETRY_AFTER_SECONDS.get(self.word, 60)


def newest_job(endpoint: Endpoint) -> Job | None:
    """The job of the newest replica; uses `with_newest_job` where the queryset did."""
    held = getattr(endpoint, "newest_replicas", None)
    if held is None:
        held = list(endpoint.replicas.select_related("job").order_by("-pk")[:1])
    return held[0].job if held else None


def endpoint_state(endpoint: Endpoint) -> EndpointState:
    job = newest_job(endpoint)
    if job is None:
        return EndpointState("Stopped", f"{endpoint.name} is stopped. Start it on its page.", None, None)
    attempt = open_attempt(job)
    word = _WORDS.get(state_word(job), state_word(job))
    if attempt is not None and word == "Unknown" and attempt.phase != "ready":
        word = "Starting"
    return EndpointState(word, _sentence(endpoint, job, attempt, word), job, attempt)


def _sentence(endpoint: Endpoint, job: Job, attempt: Attempt | None, word: str) -> str:
    reason = _lower(reason_sentence(job))
    tails = {
        "Live": "is live{where}.",
        "Unknown": "was live{where}, which does not report now.",
        "Loading": "is loading its model{where}. Try again in a moment.",
        "Starting": "is starting{where}. Try again in a moment.",
        "Queued": f"waits to start. {job.wait_reason}",
        "Waiting": f"waits to start. {job.wait_reason}",
        "Down": f"is down: {reason}. {job.cause}",
        "Held": f"is held after repeated losses: {reason}. Start it again by hand.",
        "Cancelling": "is stopping{where}.",
        "Stopped": "is stopped. Start it on its page.",
    }
    where = f" on {attempt.host}" if attempt else ""
    return f"{endpoint.name} {tails[word].replace('{where}', where)}".strip()


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
