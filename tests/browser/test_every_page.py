"""Every page of the permission matrix, with a full installation behind it, in light, dark and on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.core.management import call_command
from playwright.sync_api import Browser, Page
from pytest_django import DjangoDbBlocker

from stackweb.permissions import MATRIX
from tests.browser.conftest import WIDE, listen, sign_in
from tests.browser.server import Server
from tests.browser.world_runs import make_world_with_runs

# Fragments, streams, files and REST are not pages; the claim page is for people who are not signed in.
NOT_PAGES = re.compile(r"/(api/v1|api/worker|healthz|search|claim|login)|/stream$|/log$|/cost$|/files/|\.csv$")
ROUTES = [route for method, route in map(str.split, MATRIX) if method == "GET" and not NOT_PAGES.search(route)]
PHONE = {"width": 390, "height": 844}
# The mark has the database made; these tests themselves write nothing.
pytestmark = pytest.mark.django_db
IN_TRANSITION = "document.getAnimations().filter(a => a instanceof CSSTransition).length"
OVERFLOWS = "document.documentElement.scrollWidth > innerWidth"
LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.getAttribute('href'))"


@dataclass
class Site:
    page: Page
    url: str
    ids: dict[str, str]
    complaints: list[str]
    answers: dict[str, int]  # status of every address asked so far

    def address(self, route: str) -> str:
        return re.sub(r"<\w+:(\w+)>", lambda found: self.ids[found[1]], route)

    def status_of(self, path: str) -> int:
        if path not in self.answers:
            self.answers[path] = self.page.request.get(self.url + path, max_redirects=3).status
        return self.answers[path]


@pytest.fixture(scope="module")
def site(browser: Browser, server: Server, django_db_blocker: DjangoDbBlocker) -> Iterator[Site]:
    """One set of rows for all pages: they only read."""
    with django_db_blocker.unblock():
        world, ids = make_world_with_runs()
        context = browser.new_context(viewport=WIDE, reduced_motion="reduce")  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        sign_in(context, world.ana, server.url)
        complaints: list[str] = []
        page = context.new_page()
        listen(page, complaints)
        yield Site(page, server.url, ids, complaints, {})
        context.close()
        call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)


def violations(page: Page) -> list[str]:
    # Less motion is asked for: a colour on its way from light to dark would be none of ours.
    assert page.evaluate(IN_TRANSITION) == 0
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]


@pytest.mark.parametrize("route", ROUTES)
def test_page_is_whole(site: Site, route: str) -> None:
    page, path = site.page, site.address(route)
    site.complaints.clear()
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    answer = page.goto(site.url + path)
    assert answer is not None
    assert answer.status == 200, f"{path} answered {answer.status}"
    assert "content-security-policy" in answer.headers
    assert page.locator("h1").count() == 1
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert not page.evaluate(OVERFLOWS), f"{path} is wider than a phone"
    hrefs = {urljoin(path, href).partition("#")[0] for href in page.evaluate(LINKS)}
    inside = sorted(href for href in hrefs if href.startswith("/"))
    assert [(href, site.status_of(href)) for href in inside if site.status_of(href) >= 400] == []
    assert site.complaints == []
