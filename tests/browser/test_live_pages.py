"""Logs and curves that grow while they are looked at."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect

from apps.finetunes.services import create_fine_tune, tour_dataset
from apps.jobs.attempt_logs import append_log
from apps.jobs.models import Attempt, MetricPoint
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.browser.world import run_on
from tests.factories import make_attempt, make_host, make_job, make_stored_version, make_team, make_user

DISTANCE_TO_END = "box => box.scrollHeight - box.scrollTop - box.clientHeight"


def running_attempt(page: Page, server: Server, signed_in_team: object) -> Attempt:
    job = make_job(signed_in_team, status="running", phase="running", started_at=timezone.now())  # type: ignore[arg-type]
    far = timezone.now() + timedelta(hours=1)
    attempt = make_attempt(job, make_host("atlas"), claimed_at=timezone.now(), lease_expires_at=far)
    say(attempt, *(f"step {number}" for number in range(1, 101)))
    page.goto(f"{server.url}/jobs/{job.public_id}")
    return attempt


def say(attempt: Attempt, *lines: str) -> None:
    attempt.refresh_from_db()
    text = "".join(f"{line}\n" for line in lines)
    append_log(attempt=attempt, offset=attempt.log_size_bytes, data=text.encode())


def test_a_log_grows_and_pauses(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    page = signed_in(make_user("alice", team=team))
    attempt = running_attempt(page, server, team)
    log, state = page.locator("#log"), page.locator("[data-log-state=log]")
    expect(log).to_contain_text("step 100\n")
    say(attempt, "ValueError: the loss is not a number")
    expect(log.locator(".e")).to_have_text("ValueError: the loss is not a number\n")
    assert log.evaluate(DISTANCE_TO_END) < 2
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused")
    say(attempt, *(f"later {number}" for number in range(50)))
    expect(log).to_contain_text("later 49")
    assert log.evaluate(DISTANCE_TO_END) > 100
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Following")
    assert log.evaluate(DISTANCE_TO_END) < 2


def test_a_log_goes_on_after_the_server_was_killed(server: Server, signed_in: SignedIn, complaints: list[str]) -> None:
    team = make_team("Lab")
    page = signed_in(make_user("alice", team=team))
    attempt = running_attempt(page, server, team)
    log, state = page.locator("#log"), page.locator("[data-log-state=log]")
    expect(log).to_contain_text("step 100\n")
    server.kill()
    try:
        expect(state).to_have_text("Reconnecting")
        say(attempt, "said while nobody listened")
    finally:
        server.start()
    expect(log).to_contain_text("said while nobody listened", timeout=15_000)
    expect(state).to_have_text("Following")
    assert log.inner_text().count("step 100\n") == 1
    # The browser and htmx both say that the server was away; nothing else may be wrong.
    assert [each for each in complaints if "net::ERR" not in each and "htmx:" not in each] == []
    complaints.clear()


def test_a_failed_job_says_why(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    cause = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.31 GiB."
    job = make_job(team, kind="train", status="failed", reason="out_of_memory", cause=cause)
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/jobs")
    expect(page.locator("#job-list .alert")).to_contain_text(f"Out of memory. {cause}")
    page.goto(f"{server.url}/jobs/{job.public_id}")
    expect(page.locator("main .alert")).to_contain_text(f"Out of memory. {cause}")


def test_a_loss_curve_gets_new_points(server: Server, signed_in: SignedIn) -> None:
    team, host = make_team("Lab"), make_host("atlas")
    alice = make_user("alice", team=team)
    base, dataset = make_stored_version(team, host=host), tour_dataset(team=team, user=alice)
    tune = create_fine_tune(team=team, user=alice, name="tone", base=base, dataset=dataset)
    run_on(tune.job, host)
    attempt = tune.job.attempts.get()
    MetricPoint.objects.bulk_create(
        MetricPoint(attempt=attempt, name="loss", step=step, value=3 / step) for step in range(1, 11)
    )
    page = signed_in(alice)
    page.goto(f"{server.url}/fine-tunes/{tune.public_id}")
    readout = page.locator("[data-readout=loss]")
    expect(readout).to_contain_text("step 10")
    MetricPoint.objects.create(attempt=attempt, name="loss", step=11, value=0.25)
    expect(readout).to_contain_text("step 11")
    expect(readout).to_contain_text("train 0.250")
