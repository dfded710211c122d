"""What a worker sends while the end of its attempt is on the way: all of it comes before that end, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Team, User
from apps.jobs.attempt_logs import log_path
from apps.jobs.models import Attempt, Job, MetricPoint, Output
from tests.factories import make_host
from tests.jobs.conftest import Worker, start
from tests.threads import Beside

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_url")]
POINT = {"name": "loss", "step": 1, "value": 2.5, "at": "2026-01-01T00:00:00Z"}
STARTED = {"argv": ["train"], "env": {}, "files": {}, "env_prefix": "", "pid": 7}
# The call, its body, and whether what it says is there.
WRITES: dict[str, tuple[str, Any, Callable[[Attempt], object]]] = {
    "started": ("started?", STARTED, lambda attempt: attempt.ran),
    "metrics": ("metrics?", {"points": [POINT]}, lambda attempt: MetricPoint.objects.exists()),
    "logs": ("logs?offset=0&", b"said late\n", lambda attempt: attempt.log_size_bytes or log_path(attempt).exists()),
    "outputs": ("outputs?name=scores.json&", b"{}", lambda attempt: Output.objects.exists()),
}


def send(worker: Worker, attempt: Attempt, what: str) -> Any:
    call, body, _ = WRITES[what]
    lease = f"epoch={attempt.epoch}&lease_token={attempt.lease_token}"
    return worker.call("POST", f"attempts/{attempt.uuid}/{call}{lease}", body)


@pytest.mark.parametrize("what", WRITES)
def test_a_write_that_the_end_overtakes_is_refused_and_leaves_nothing(
    what: str, team: Team, alice: User, worker: Worker
) -> None:
    job, attempt = start(team, alice, worker)
    is_there = WRITES[what][2]
    answers: list[Any] = []
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=job.pk)
        late = Beside(lambda: answers.append(send(worker, attempt, what)))
        late.until_it_waits()
        assert worker.finish(attempt, reason="worker_lost").status_code == 200
        # What comes of its next attempt is not this one's to say.
        Job.objects.filter(pk=job.pk).update(stalled_at=timezone.now())
    assert late.end() is None
    assert answers[0].status_code == 409
    attempt.refresh_from_db()
    assert not is_there(attempt)
    job.refresh_from_db()
    assert job.stalled_at is not None


@pytest.mark.parametrize("what", WRITES)
def test_a_write_that_comes_first_is_kept(what: str, team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    assert send(worker, attempt, what).status_code == 200
    assert worker.finish(attempt, exit_code=0).status_code == 200
    attempt.refresh_from_db()
    assert WRITES[what][2](attempt)


@pytest.mark.parametrize("what", WRITES)
def test_an_attempt_of_another_host_is_not_there(what: str, team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    Attempt.objects.filter(pk=attempt.pk).update(host=make_host("brio"))
    assert send(worker, attempt, what).status_code == 404
    attempt.refresh_from_db()
    assert not WRITES[what][2](attempt)
    assert send(worker, Attempt(epoch=1), what).status_code == 404


@pytest.mark.parametrize(("what", "most"), [("logs", 4), ("metrics", 5)])
def test_hot_writes_stay_cheap(what: str, most: int, team: Team, alice: User, worker: Worker) -> None:
    """Statements of one call, that of the host's token included."""
    _, attempt = start(team, alice, worker)
    rows = statements(lambda: send(worker, attempt, what))
    assert len(rows) <= most, "\n".join(rows)


def statements(call: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as asked:
        assert call().status_code == 200
    return [query["sql"] for query in asked if not query["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]


def test_a_heartbeat_takes_one_statement_an_attempt_that_has_progress_and_none_for_others(
    team: Team, alice: User, worker: Worker
) -> None:
    started = [start(team, alice, worker, ram_bytes=2**30)[1] for _ in range(2)]

    def tell(*, of: int, done: int) -> list[str]:
        progress = {"epoch": 1, "phase": "running", "progress_done": done, "progress_total": 9}
        beats = [{"uuid": str(each.uuid), "lease_token": each.lease_token} | progress for each in started[:of]]
        return statements(lambda: worker.call("POST", "heartbeat", {"attempts": beats}))

    tell(of=2, done=1)
    assert len(tell(of=2, done=1)) == len(tell(of=1, done=1)) == len(tell(of=0, done=1)) + 3
    assert len(tell(of=2, done=2)) == len(tell(of=2, done=2)) + 2


def test_an_attempt_told_of_twice_is_heard_twice(team: Team, alice: User, worker: Worker) -> None:
    _, attempt = start(team, alice, worker)
    right = {"uuid": str(attempt.uuid), "epoch": 1, "phase": "running", "lease_token": attempt.lease_token}
    worker.call("POST", "heartbeat", {"attempts": [right]})
    answer = worker.call("POST", "heartbeat", {"attempts": [right | {"lease_token": "old"}, right]}).json()
    assert [each["answer"] for each in answer["attempts"]] == ["gone", "run"]
