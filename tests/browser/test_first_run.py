"""A new installation says what to do next."""

from __future__ import annotations

from playwright.sync_api import expect

from apps.tour.models import TourRun
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import make_host, make_team, make_user


def test_first_steps_and_the_tour(server: Server, signed_in: SignedIn) -> None:
    page = signed_in(make_user("ana", team=make_team("Lab"), role="admin", is_superuser=True))
    page.goto(server.url)
    expect(page.locator("h1")).to_have_text("Waiting for a first host")
    make_host("atlas")
    # The page asks again by itself.
    expect(page.locator(".steps li.done")).to_have_count(2)
    expect(page.locator(".steps")).to_contain_text("atlas")
    expect(page.locator("h1")).to_have_text("Next: pick a first model")
    page.get_by_role("link", name="Choose").click()
    page.wait_for_url(f"{server.url}/models/import")
    page.go_back()
    page.get_by_role("button", name="Run the tour").click()
    page.wait_for_url(f"{server.url}/tour/{TourRun.objects.get().public_id}")
    expect(page.locator("h1")).to_contain_text("of 7")
