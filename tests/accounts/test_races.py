"""Two who change people at the same moment: no right comes back, nobody meets an error page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from apps.accounts.models import ClaimToken, Team, User
from apps.accounts.problems import Problem
from apps.accounts.services import create_claim, create_team, create_user, disable_user, set_admin, use_claim
from tests.factories import make_team, make_user
from tests.threads import Beside

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin() -> User:
    return make_user("root", is_superuser=True)


def claimed(plain: str) -> Callable[[], User]:
    return lambda: use_claim(plain=plain, username="", display_name="Dana", password="plenty of words")


def test_a_right_taken_while_a_link_is_used_stays_taken(admin: User) -> None:
    dana = make_user("dana", is_superuser=True)
    plain = create_claim(actor=admin, user=dana)
    with transaction.atomic():
        set_admin(actor=admin, user=dana, is_admin=False)
        link = Beside(claimed(plain))
        link.until_it_waits()
    assert link.end() is None
    dana.refresh_from_db()
    assert (dana.display_name, dana.is_superuser) == ("Dana", False)


def test_whoever_is_disabled_while_their_link_is_used_stays_out(admin: User) -> None:
    dana = make_user("dana")
    plain = create_claim(actor=admin, user=dana)
    with transaction.atomic():
        disable_user(actor=admin, user=dana)
        link = Beside(claimed(plain))
        link.until_it_waits()
    refused = link.end()
    assert isinstance(refused, Problem)
    assert refused.status == 410
    dana.refresh_from_db()
    assert not dana.is_active
    assert not ClaimToken.objects.filter(user=dana).exists()


def test_admins_that_change_each_other_wait_for_one_row_alone(admin: User) -> None:
    other = make_user("other", is_superuser=True)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=min(admin.pk, other.pk))
        beside = Beside(lambda: set_admin(actor=other, user=admin, is_admin=False))
        beside.until_it_waits()
        User.objects.select_for_update(nowait=True).get(pk=max(admin.pk, other.pk))
    assert beside.end() is None


def test_of_two_admins_that_demote_each_other_one_stays(admin: User) -> None:
    other = make_user("other", is_superuser=True)
    as_it_was = User.objects.get(pk=other.pk)
    with transaction.atomic():
        set_admin(actor=admin, user=other, is_admin=False)
        beside = Beside(lambda: set_admin(actor=as_it_was, user=admin, is_admin=False))
        beside.until_it_waits()
    refused = beside.end()
    assert isinstance(refused, Problem)
    assert refused.status == 409
    assert list(User.objects.admins().values_list("username", flat=True)) == ["root"]


def name_a_team(admin: User, red: Team) -> Any:
    return create_team(actor=admin, name="Green")


def name_a_person(admin: User, red: Team) -> Any:
    return create_user(actor=admin, username="dana", team=red, role="member")  # type: ignore[arg-type]


@pytest.mark.parametrize(("make", "field"), [(name_a_team, "name"), (name_a_person, "username")])
def test_a_name_taken_at_the_same_moment_is_refused_by_its_field(
    admin: User, make: Callable[[User, Team], Any], field: str
) -> None:
    red = make_team("Red")
    with transaction.atomic():
        make(admin, red)
        beside = Beside(lambda: make(admin, red))
        beside.until_it_waits()
    refused = beside.end()
    assert isinstance(refused, Problem)
    assert (refused.status, [each.field for each in refused.errors]) == (422, [field])
