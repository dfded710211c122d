"""Price and cordon: checked, audited, refused with the field named."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.accounts.models import AuditEvent, User
from apps.accounts.problems import Problem
from apps.fleet.operations import cordon_host, set_price, uncordon_host
from tests.factories import make_host, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> User:
    return make_user("admin", is_superuser=True)


def test_a_price_is_kept_and_may_be_given_back(admin: User) -> None:
    host = make_host("atlas")
    assert set_price(host=host, user=admin, gpu_hour_price=Decimal("2.5")).gpu_hour_price == Decimal("2.5")
    assert AuditEvent.objects.get(action="host.priced").detail == {"gpu_hour_price": "2.5"}
    assert set_price(host=host, user=admin, gpu_hour_price=None).gpu_hour_price is None
    for wrong in (Decimal(-1), Decimal("1000.01")):
        with pytest.raises(Problem, match="gpu_hour_price must be from 0 to 1000"):
            set_price(host=host, user=admin, gpu_hour_price=wrong)


def test_uncordon_needs_a_cordon_and_a_reason_has_an_end(admin: User) -> None:
    host = make_host("atlas")
    with pytest.raises(Problem, match="is not cordoned"):
        uncordon_host(host=host, user=admin)
    with pytest.raises(Problem, match="reason may have 200 characters, not 201"):
        cordon_host(host=host, user=admin, reason="x" * 201)
    assert cordon_host(host=host, user=admin, reason=" new \n disk ").cordon_reason == "new disk"
