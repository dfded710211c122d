"""Two versions on one suite: the table and the comparison say only what the items show."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import SignedIn
from tests.browser.server import Server
from tests.factories import (
    make_adapter,
    make_eval_run,
    make_host,
    make_stored_version,
    make_suite,
    make_team,
    make_user,
)

BASE, TUNED = "11010" * 10, "11010" * 9 + "11110"  # one item of fifty differs


def test_a_small_difference_is_not_called_one(server: Server, signed_in: SignedIn) -> None:
    team = make_team("Lab")
    base = make_stored_version(team, name="base", host=make_host())
    suite, tuned = make_suite(), make_adapter(base, name="tuned")
    make_eval_run(base, suite, {"colours": BASE})
    make_eval_run(tuned, suite, {"colours": TUNED})
    page = signed_in(make_user("alice", team=team))
    page.goto(f"{server.url}/leaderboard")
    expect(page.locator("h1")).to_contain_text("No difference shown")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("62.0")
    expect(rows.nth(1)).to_contain_text("60.0")
    expect(rows.locator("svg.ci, .ci svg, svg[role=img]")).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("No difference shown")
    page.get_by_role("link", name="Compare").click()
    page.wait_for_url("**/leaderboard/compare?*")
    main = page.locator("main")
    expect(main).to_contain_text("No difference shown")
    for name in ("base", "tuned"):
        expect(main.get_by_text(name, exact=True).first).to_be_visible()
