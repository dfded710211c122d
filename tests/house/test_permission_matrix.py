"""Every address has a row in the matrix, every row an address, and the rows hold at the door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from ninja.operation import PathView

from apps.accounts.models import Role, User
from stackweb.access import _ROLE_NEEDED
from stackweb.api import api, worker_api
from stackweb.permissions import MATRIX, Access
from tests.factories import api_headers, make_team, make_user

pytestmark = pytest.mark.django_db
API_PREFIXES = {"/api/v1": api, "/api/worker/v1": worker_api}
# Rows without a person behind them, or whose answer never ends.
NOT_WALKED = {"GET /api/worker/v1/assignments"}


def _patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for each in resolver.url_patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _patterns(each, route)
        else:
            yield route, each


def _routes() -> set[str]:
    # ninja's own roots answer nothing; without a row they are refused.
    return {f"/{route}" for route, _ in _patterns(get_resolver())} - {"/api/v1/", "/api/worker/v1/"}


def _operations() -> set[str]:
    found = set()
    for prefix, ninja_api in API_PREFIXES.items():
        for _, router in ninja_api._routers:
            for path, view in router.path_operations.items():
                assert isinstance(view, PathView)
                route = prefix + path.replace("{", "<").replace("}", ">")
                found |= {f"{method} {route}" for operation in view.operations for method in operation.methods}
    return found


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    rows = {row.partition(" ")[2] for row in MATRIX}
    assert _routes() - rows == set(), "addresses without a row"
    assert rows - _routes() == set(), "rows without an address"


def test_every_api_operation_has_its_own_row() -> None:
    rows = {row for row in MATRIX if "/api/v1/" in row or "/api/worker/" in row} - {"GET /api/v1/openapi.json"}
    assert _operations() == rows


def _walkable(prefix: str) -> list[str]:
    """GET rows without an argument, below a prefix; the others need an object and stand in their app's tests."""
    paths = [row.removeprefix("GET ") for row in MATRIX if row.startswith("GET ") and "<" not in row]
    is_api = [path for path in paths if path.startswith("/api/")]
    return sorted(path for path in (is_api if prefix else set(paths) - set(is_api)) if f"GET {path}" not in NOT_WALKED)


@pytest.fixture
def people() -> dict[str, User | None]:
    """alice works in the team, bob only looks, carol is in another team."""
    red, blue = make_team("Red"), make_team("Blue")
    return {
        "nobody": None,
        "alice": make_user("alice", team=red),
        "bob": make_user("bob", team=red, role=Role.VIEWER),
        "carol": make_user("carol", team=blue),
        "admin": make_user("admin", is_superuser=True, team=red, role=Role.ADMIN),
        "loner": make_user("loner"),
    }


def _may(access: Access, name: str) -> bool:
    if access is Access.ADMIN:
        return name == "admin"
    if access in _ROLE_NEEDED:
        return name in ("alice", "carol", "admin") if _ROLE_NEEDED[access] == Role.MEMBER else name == "admin"
    return access in (Access.PUBLIC, Access.SIGNED_IN)


@pytest.mark.parametrize("path", _walkable(""))
def test_pages_let_in_exactly_who_may(path: str, people: dict[str, User | None], redis_url: str) -> None:
    access = MATRIX[f"GET {path}"]
    for name, user in people.items():
        client = Client()
        if user is not None:
            client.force_login(user)
        answer = client.get(path)
        if access is Access.PUBLIC:
            assert answer.status_code in (200, 302), name
        elif user is None:
            assert (answer.status_code, answer.url.partition("?")[0]) == (302, "/login"), name
        else:
            assert (answer.status_code == 403) == (not _may(access, name)), f"{name}: {answer.status_code}"
            assert answer.status_code in (200, 302, 403), f"{name}: {answer.status_code}"


@pytest.mark.parametrize("path", _walkable("/api/"))
def test_api_lets_in_exactly_who_may(path: str, people: dict[str, User | None], client: Client) -> None:
    access = MATRIX[f"GET {path}"]
    for name, user in people.items():
        answer = client.get(path, headers=api_headers(user) if user else {})
        expected = 401 if user is None else 200 if _may(access, name) else 403
        if path == "/api/docs" and user is None:
            expected = 302
        assert answer.status_code in (expected, 422), f"{name}: {answer.status_code}"  # 422: a query is needed
        assert answer.status_code != 422 or expected == 200, name


@pytest.mark.parametrize("row", sorted(row for row in MATRIX if not row.startswith("GET ") and "/api/v1/" in row))
def test_api_changes_need_a_writing_token_of_somebody_who_may(
    row: str, people: dict[str, User | None], client: Client
) -> None:
    method, path = row.split(" ")
    path = path.replace("<user_id>", "0").replace("<token_id>", "0").replace("<index>", "0")
    alice, bob = people["alice"], people["bob"]
    assert isinstance(alice, User)
    assert isinstance(bob, User)
    assert client.generic(method, path, "{}", "application/json").status_code == 401
    reading = client.generic(method, path, "{}", "application/json", headers=api_headers(alice, "read"))
    assert reading.status_code == 403
    assert "Read-only" in reading.json()["title"]
    client.force_login(alice)
    assert client.generic(method, path, "{}", "application/json").json()["title"] == "Token needed"
    if MATRIX[row] is not Access.SIGNED_IN:
        assert client.generic(method, path, "{}", "application/json", headers=api_headers(bob)).status_code == 403
