"""The Jobs page in a real browser: ticks survive the list's refreshing, search narrows, forms work without scripts."""

from __future__ import annotations

from django.utils import timezone
from playwright.sync_api import Browser, expect

from apps.jobs.models import Job, MetricPoint
from tests.browser.conftest import SignedIn, sign_in
from tests.browser.server import Server
from tests.factories import make_attempt, make_host, make_job, make_team, make_user


def test_ticked_jobs_are_cancelled_after_a_question(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    make_job(team, name="goes on", status="running", started_at=timezone.now())
    queued = [make_job(team, name=f"queued {number}") for number in range(3)]
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/jobs")
    bar = page.locator("#bulk")
    expect(bar).to_be_hidden()
    page.get_by_label(queued[0].public_id, exact=True).check()
    page.get_by_label(queued[1].public_id, exact=True).check()
    expect(bar).to_contain_text("2 jobs ticked")
    Job.objects.filter(pk=queued[2].pk).update(name="renamed")
    page.wait_for_timeout(3500)  # a refresh would come each 3 s
    assert page.locator("input[name=job]:checked").count() == 2
    expect(page.get_by_text("renamed")).to_have_count(0)
    bar.get_by_role("button", name="Cancel…").click()
    expect(page.locator("h1")).to_have_text("Cancel 2 jobs?")
    page.get_by_role("button", name="Cancel 2 jobs").click()
    expect(page.locator("[data-toast]")).to_contain_text("2 jobs asked to stop.")
    expect(page.get_by_text("renamed")).to_be_visible()
    assert Job.objects.filter(status="cancelled").count() == 2


def test_search_narrows_as_it_is_typed_and_stands_in_the_address(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    make_job(team, name="tone of support")
    make_job(team, name="something else")
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/jobs")
    page.get_by_label("Search jobs").fill("tone")
    expect(page.locator("#job-list tbody tr")).to_have_count(1)
    expect(page.locator("#job-tabs")).to_contain_text("All 1")
    assert "q=tone" in page.url
    page.get_by_label("Every kind").select_option("train")
    expect(page.get_by_text("No job matches")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("#job-list tbody tr")).to_have_count(2)


def test_without_scripts_the_same_forms_work(server: Server, browser: Browser, transactional_db: None) -> None:
    team = make_team("Lab")
    job = make_job(team, status="failed", reason="engine_exited")
    context = browser.new_context(java_script_enabled=False)
    try:
        sign_in(context, make_user("alice", team=team), server.url)
        page = context.new_page()
        page.goto(f"{server.url}/jobs")
        page.get_by_label(job.public_id, exact=True).check()
        page.locator("#bulk").get_by_role("button", name="Run again").click()
        expect(page.get_by_text("1 job queued again.")).to_be_visible()
    finally:
        context.close()
    job.refresh_from_db()
    assert job.status == "queued"


def test_curves_of_a_running_job_grow(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    job = make_job(team, kind="train", status="running", started_at=timezone.now())
    attempt = make_attempt(job, make_host("atlas"), claimed_at=timezone.now())
    points = [MetricPoint(attempt=attempt, name="loss", step=step, value=1 / step) for step in (1, 2, 3)]
    MetricPoint.objects.bulk_create(points)
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/jobs/{job.public_id}")
    readout = page.locator("[data-readout=series-1]")
    expect(readout).to_contain_text("step 3")
    MetricPoint.objects.create(attempt=attempt, name="loss", step=4, value=0.2)
    expect(readout).to_contain_text("step 4", timeout=15_000)
