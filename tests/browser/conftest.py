"""Chromium, driven over a real server. One browser a module: Playwright's event loop claims the main
thread for as long as it runs, and other folders' tests need that thread without a loop.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from apps.accounts.models import User
from tests.browser.server import Server
from tests.servers import ServersOfThisRun

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE = {"width": 1440, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def server(servers: ServersOfThisRun, django_db_setup: None) -> Iterator[Server]:
    """One a module: other folders' tests start the application on the same port."""
    server = Server(servers.web_port, servers.home / "web.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "These tests need Chromium: apt-get install chromium"
    # Rows are made in the thread that Playwright's loop claims; Django would take that for async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console and the page's scripts complained about; a test ends with none."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    page = context.new_page()
    listen(page, complaints)
    yield page
    page.close()
    assert complaints == []


def listen(page: Page, complaints: list[str]) -> None:
    """Console errors and warnings (a violated CSP is one of them) and uncaught exceptions."""

    def heard(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))


def sign_in(context: BrowserContext, user: User, url: str) -> None:
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


SignedIn = Callable[[User], Page]


@pytest.fixture
def signed_in(server: Server, transactional_db: None, context: BrowserContext, page: Page) -> SignedIn:
    """`signed_in(user)` gives the page with that person's session."""

    def open_as(user: User) -> Page:
        sign_in(context, user, server.url)
        return page

    return open_as
