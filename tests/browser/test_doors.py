"""In by the claim link or the login page, and out again."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, expect

from apps.accounts.models import User
from apps.accounts.services import create_claim
from tests.browser.server import Server
from tests.browser.test_every_page import violations
from tests.browser.world import PASSWORD
from tests.factories import make_team, make_user


def test_the_claim_link_makes_the_first_admin_once(
    server: Server, transactional_db: None, context: BrowserContext, page: Page
) -> None:
    make_team("Default")
    link = f"{server.url}/claim/{create_claim()}"
    page.goto(link)
    assert violations(page) == []
    page.get_by_label("User name").fill("ana")
    page.get_by_label("Name", exact=False).nth(1).fill("Ana Ruiz")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Claim this server").click()
    page.wait_for_url(f"{server.url}/")
    expect(page.locator("h1")).to_have_text("Waiting for a first host")
    expect(page.locator(".who")).to_contain_text("Ana Ruiz")
    assert User.objects.get(username="ana").is_superuser
    assert context.request.get(link).status == 410
    assert User.objects.filter(is_superuser=True).count() == 1


def test_login_refuses_returns_and_ends(
    server: Server, transactional_db: None, page: Page, complaints: list[str]
) -> None:
    user = make_user("kai", team=make_team("Lab"))
    user.set_password(PASSWORD)
    user.save()
    page.goto(f"{server.url}/hardware")
    expect(page).to_have_url(f"{server.url}/login?next=%2Fhardware")
    assert violations(page) == []
    page.get_by_label("User name").fill("kai")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The user name or the password is wrong")
    assert [each for each in complaints if "422" not in each] == []
    complaints.clear()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server.url}/hardware")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{server.url}/login")
    page.goto(f"{server.url}/jobs")
    expect(page).to_have_url(f"{server.url}/login?next=%2Fjobs")
