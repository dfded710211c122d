"""Hardware and a host in a real browser: the page stays alive under one's hands, operators act, and are asked first."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from apps.fleet.models import Host
from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.browser.world import make_world

pytestmark = pytest.mark.django_db(transaction=True)


def test_typing_searches_and_polling_takes_nothing_back(server: Server, signed_in: SignedIn) -> None:
    world = make_world()
    page = signed_in(world.ana)
    page.goto(f"{server.url}/hardware")
    rows = page.locator("#hardware-live tbody tr:not(.grp)")
    everything = rows.count()
    page.get_by_label("Search hardware").press_sequentially("chat-p")
    expect(rows).to_have_count(1)
    assert page.url.endswith("/hardware?show=all&q=chat-p")
    Host.objects.filter(name="atlas").update(cordoned=True)
    page.get_by_label("Search hardware").press_sequentially("rod")
    expect(page.locator("#hardware-live .grp")).to_contain_text("Cordoned", timeout=15_000)
    expect(page.get_by_label("Search hardware")).to_have_value("chat-prod")
    expect(page.get_by_label("Search hardware")).to_be_focused()
    expect(page.locator(".lede")).to_contain_text("atlas takes no new work")
    page.get_by_label("Search hardware").fill("")
    expect(rows).to_have_count(everything)
    busy = page.locator("#hardware-filters").get_by_role("link", name="Busy")
    busy.click()
    expect(busy).to_have_attribute("aria-current", "true")
    expect(rows).to_have_count(4)


def test_an_admin_drains_and_fences_and_is_asked_first(server: Server, signed_in: SignedIn) -> None:
    world = make_world()
    page = signed_in(world.ana)
    page.goto(f"{server.url}/hardware")
    page.get_by_role("button", name="Drain borea").click()
    dialog = page.get_by_role("dialog", name="Drain borea?")
    dialog.get_by_label("Stop everything now").check()
    dialog.get_by_role("button", name="Drain").click()
    expect(page.locator("#borea .grp")).to_contain_text("Draining")
    page.locator("#borea").get_by_role("link", name="borea").click()
    expect(page.locator(".lede")).to_contain_text("Until it is empty: 1 job, 1 asked to stop.")
    page.goto(f"{server.url}/hardware/cobalt")
    page.get_by_role("button", name="Fence…").click()
    dialog = page.get_by_role("dialog", name="Fence cobalt?")
    dialog.get_by_label("Type cobalt").fill("cobol")
    dialog.get_by_role("button", name="Fence").click()
    expect(page.locator(".alert")).to_contain_text("confirm must be cobalt")
    page.get_by_role("button", name="Fence…").click()
    dialog.get_by_label("Type cobalt").fill("cobalt")
    dialog.get_by_role("button", name="Fence").click()
    expect(page.locator(".head")).to_contain_text("Fenced")
    expect(page.locator("#events-h + *, ol.tl")).to_contain_text("Fenced by ana")


def test_somebody_who_may_not_operate_sees_no_buttons(server: Server, signed_in: SignedIn) -> None:
    page = signed_in(make_world().kai)
    page.goto(f"{server.url}/hardware/atlas")
    expect(page.locator("h1")).to_have_text("atlas")
    assert page.get_by_role("button", name="Drain").count() == 0
    assert page.locator("#operate").count() == 0
