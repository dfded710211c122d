"""Too many silent hosts: frozen, one alert, ended by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts.models import AuditEvent
from apps.fleet import tasks
from apps.fleet.freeze import is_frozen, review_silence
from apps.fleet.models import FleetAlert, Host
from tests.factories import make_host

pytestmark = pytest.mark.django_db
SILENT = timedelta(minutes=5)


def silence(*names: str, since: timedelta = SILENT) -> None:
    Host.objects.filter(name__in=names).update(last_seen_at=timezone.now() - since)


def alerts() -> list[str]:
    return list(AuditEvent.objects.filter(object_id="fleet").order_by("pk").values_list("action", flat=True))


def test_silence_of_many_opens_one_alert_that_ends_by_itself() -> None:
    for name in ("atlas", "brio", "cinder", "dune"):
        make_host(name)
    silence("atlas")
    review_silence()
    assert not is_frozen()
    silence("atlas", "brio")
    for _ in range(3):
        review_silence()
    assert is_frozen()
    alert = FleetAlert.objects.get()
    assert alert.text.startswith("2 of 4 hosts are silent at once: atlas, brio.")
    silence("cinder")
    review_silence()
    alert.refresh_from_db()
    assert "atlas, brio, cinder" in alert.text
    assert alerts() == ["fleet.frozen"]
    Host.objects.update(last_seen_at=timezone.now())
    review_silence()
    alert.refresh_from_db()
    assert (is_frozen(), alert.closed_at is not None) == (False, True)
    assert alerts() == ["fleet.frozen", "fleet.unfrozen"]


def test_machines_that_an_operator_set_aside_or_that_went_days_ago_do_not_count() -> None:
    for name in ("atlas", "brio", "cinder", "dune"):
        make_host(name)
    silence("atlas", "brio", "cinder")
    Host.objects.filter(name="atlas").update(cordoned=True)
    Host.objects.filter(name="brio").update(fenced_at=timezone.now())
    assert not is_frozen()
    Host.objects.update(cordoned=False, fenced_at=None)
    assert is_frozen()
    silence("atlas", "brio", since=timedelta(days=3))
    assert not is_frozen()


def test_the_database_holds_one_open_alert() -> None:
    FleetAlert.objects.create(kind="silent_hosts", text="first")
    with pytest.raises(IntegrityError), transaction.atomic():
        FleetAlert.objects.create(kind="silent_hosts", text="second")


def test_a_server_that_just_started_waits_for_its_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_host("atlas")
    make_host("brio")
    silence("atlas", "brio")
    monkeypatch.setattr(tasks.time, "monotonic", lambda: tasks._STARTED + 44)
    tasks.review()
    assert not FleetAlert.objects.exists()
    monkeypatch.setattr(tasks.time, "monotonic", lambda: tasks._STARTED + 46)
    tasks.review()
    assert FleetAlert.objects.exists()
