"""Keys, the palette, and pressing twice."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from apps.accounts.models import ApiToken
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import make_host, make_stored_version, make_team, make_user

# The second press comes while the first one's answer is still on its way.
PRESS_TWICE = """button => {
  button.click();
  return new Promise(done => setTimeout(() => { button.click(); setTimeout(done, 200); }, 200));
}"""


def test_the_palette_finds_a_model_and_g_j_goes_to_jobs(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    version = make_stored_version(team, name="smollm2-135m-instruct", host=make_host())
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/usage")
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


def test_pressing_twice_makes_one_token(server: Server, signed_in: SignedIn) -> None:
    page = signed_in(make_user("alice", team=make_team("Lab")))
    page.goto(f"{server.url}/settings/tokens")
    form = page.locator("form").filter(has=page.get_by_role("button", name="Create token"))
    form.get_by_label("Name").fill("nightly")
    held: list[Route] = []
    page.route("**/settings/tokens/new", lambda route: held.append(route))  # noqa: PLW0108 - Playwright needs a function
    form.get_by_role("button", name="Create token").evaluate(PRESS_TWICE)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(".secret")).to_be_visible()
    assert ApiToken.objects.count() == 1
