"""Migrations that change rows, on rows as an older version left them."""

from __future__ import annotations

from importlib import import_module
from uuid import uuid4

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from apps.accounts.models import Team
from apps.fleet.models import Host, JoinToken, Reservation
from apps.jobs.models import Job
from tests.factories import make_host, make_job, make_team

pytestmark = pytest.mark.django_db
OLDER = import_module("apps.jobs.migrations.0011_release_prepared_jobs")
SLOTS = import_module("apps.fleet.migrations.0010_slots_when_reserved")
ENDPOINTS = import_module("apps.jobs.migrations.0015_release_prepared_endpoints")


def release_endpoints() -> None:
    """With the models as they were then."""
    ENDPOINTS.release(MigrationLoader(connection).project_state([("jobs", "0014_job_replan")]).apps, None)


@pytest.fixture
def team() -> Team:
    return make_team()


def bound(job: Job) -> tuple[Host | None, Host | None]:
    job.refresh_from_db()
    return job.pinned_host, job.prepared_on


def joined(name: str) -> Host:
    host = make_host(name)
    JoinToken.objects.create(digest=name, used_by=host, expires_at=timezone.now())
    return host


def test_jobs_that_the_scheduler_pinned_only_prefer_that_host(team: Team) -> None:
    atlas = joined("atlas")
    waits = make_job(team, kind="train", pinned_host=atlas)
    over = make_job(team, kind="evaluate", status="failed", pinned_host=atlas)
    free = make_job(team, kind="train")
    brings = make_job(team, kind="download", pinned_host=atlas)
    serves = make_job(team, kind="serve", pinned_host=atlas)
    with connection.cursor() as cursor:
        cursor.execute(OLDER.RELEASE)
    assert bound(waits) == (None, atlas)
    assert bound(over) == bound(free) == (None, None)
    assert bound(brings) == bound(serves) == (atlas, None)


def test_waiting_endpoints_of_a_server_that_is_no_host_only_prefer_theirs(team: Team) -> None:
    atlas = joined("atlas")
    waits = make_job(team, kind="serve", pinned_host=atlas)
    runs = make_job(team, kind="serve", status="running", pinned_host=atlas)
    brings = make_job(team, kind="download", pinned_host=atlas)
    release_endpoints()
    assert bound(waits) == (None, atlas)
    assert bound(runs) == bound(brings) == (atlas, None)


@pytest.mark.parametrize("is_enrolled_here", [True, False], ids=["enrolled at start", "joined under this name"])
def test_where_the_server_is_a_host_its_endpoints_stay_bound(
    team: Team, is_enrolled_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = make_host("atlas") if is_enrolled_here else joined("atlas")
    monkeypatch.setattr("socket.gethostname", lambda: "other" if is_enrolled_here else "Atlas.lab")
    waits = make_job(team, kind="serve", pinned_host=atlas)
    release_endpoints()
    assert bound(waits) == (atlas, None)


def test_reservations_are_filled_with_the_slots_of_their_gpu() -> None:
    host = make_host("atlas", gpus=2)
    host.devices.filter(kind="gpu", index=1).update(slots=4)
    for device in host.devices.all():
        Reservation.objects.create(device=device, holder=uuid4())
    with connection.cursor() as cursor:
        cursor.execute(SLOTS.FILL)
    found = Reservation.objects.order_by("device__kind", "device__index").values_list("gpu_slots", flat=True)
    assert list(found) == [1, 1, 4]
