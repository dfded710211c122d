"""Keys, the palette, and pressing twice."""

from __future__ import annotations

from playwright.sync_api import expect

from apps.accounts.models import ApiToken
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import make_host, make_stored_version, make_team, make_user


def test_the_palette_finds_a_model_and_g_j_goes_to_jobs(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    version = make_stored_version(team, name="smollm2-135m-instruct", host=make_host())
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/hardware")
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Find")
    expect(box).to_be_focused()
    box.press_sequentially("smollm")
    expect(page.locator("#cmdk-list [aria-selected=true]")).to_contain_text("smollm2-135m-instruct")
    box.press("Enter")
    page.wait_for_url(f"{server.url}/models/{version.model.public_id}")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url(f"{server.url}/jobs")


def test_a_double_click_makes_one_token(server: Server, signed_in: SignedIn) -> None:
    page = signed_in(make_user("alice", team=make_team("Lab")))
    page.goto(f"{server.url}/settings/tokens")
    form = page.locator("form").filter(has=page.get_by_role("button", name="Create token"))
    form.get_by_label("Name").fill("nightly")
    form.get_by_role("button", name="Create token").dblclick()
    expect(page.locator(".secret")).to_be_visible()
    assert ApiToken.objects.count() == 1
