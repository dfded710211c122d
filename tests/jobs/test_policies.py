from __future__ import annotations

import pytest

from apps.engines.registry import ENGINES, get_engine
from apps.jobs.models import JobKind
from apps.jobs.policies import POLICIES, Ending, judge
from apps.jobs.reasons import Reason
from apps.jobs.states import JobStatus

# A user's own failure, or one that would come again: a rerun only burns time.
NEVER_AGAIN = [
    Reason.OUT_OF_MEMORY,
    Reason.DISK_FULL,
    Reason.BAD_CONFIG,
    Reason.MODEL_NOT_FOUND,
    Reason.GATED_MODEL,
    Reason.TIMED_OUT,
    Reason.ENVIRONMENT_FAILED,
    Reason.POLICY_DENIED,
    Reason.QUOTA_EXCEEDED,
    Reason.NOT_A_NUMBER,
    Reason.DEPENDENCY_FAILED,
]


def test_every_kind_of_job_has_a_policy() -> None:
    assert set(POLICIES) == set(JobKind) >= {get_engine(name).kind for name in ENGINES}


@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("reason", NEVER_AGAIN)
def test_a_users_own_failure_is_failed_at_once(kind: str, reason: str) -> None:
    ending = Ending(kind=kind, reason=reason, losses=0, was_ready=True, ready_seconds=10**6)
    assert judge(ending).status == JobStatus.FAILED


@pytest.mark.parametrize("kind", JobKind)
def test_the_fourth_loss_holds_and_an_interruption_never_counts(kind: str) -> None:
    path = [judge(Ending(kind=kind, reason="worker_lost", losses=losses)) for losses in range(4)]
    assert [(each.status, each.losses) for each in path] == [("queued", 1), ("queued", 2), ("queued", 3), ("held", 4)]
    assert judge(Ending(kind=kind, reason="interrupted", losses=3)).status == JobStatus.QUEUED
    assert judge(Ending(kind=kind, reason="preempted", losses=3)).losses == 3


def test_a_server_that_answered_is_started_again_after_growing_pauses() -> None:
    path = [judge(Ending("serve", "engine_exited", losses, was_ready=True)) for losses in range(4)]
    pauses = [each.backoff_seconds for each in path[:3]]
    assert pauses == sorted(set(pauses))
    assert pauses[0] > 0
    assert [each.status for each in path] == ["queued", "queued", "queued", "held"]


def test_ten_minutes_of_answering_forget_a_servers_losses() -> None:
    settled = Ending("serve", "engine_exited", 3, was_ready=True, ready_seconds=600)
    assert (judge(settled).status, judge(settled).losses) == (JobStatus.QUEUED, 1)
    loop = Ending("serve", "engine_exited", 3, was_ready=True, ready_seconds=599)
    assert judge(loop).status == JobStatus.HELD


def test_a_server_that_never_answered_failed() -> None:
    assert judge(Ending("serve", "engine_exited", 0)).status == JobStatus.FAILED


def test_only_fetching_runs_again_after_a_stall() -> None:
    again = {kind for kind in JobKind if judge(Ending(kind, "stalled", 0)).status == JobStatus.QUEUED}
    assert again == {"download", "install"}
