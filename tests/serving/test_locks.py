"""A person stops an endpoint at the moment its replica ends."""

from __future__ import annotations

import pytest
from django.db import transaction

from apps.accounts.problems import Problem
from apps.jobs.lifecycle import switch_status
from apps.jobs.models import Job
from apps.jobs.states import Owner
from apps.serving.services import stop_endpoint
from tests.factories import make_host, make_live_endpoint, make_team, make_user
from tests.threads import Beside


@pytest.mark.django_db(transaction=True)
def test_stopping_an_endpoint_and_its_replicas_end_do_not_block_each_other() -> None:
    team = make_team()
    alice, endpoint = make_user(team=team), make_live_endpoint(team, make_host())
    with transaction.atomic():
        job = Job.objects.select_for_update().get(replica__endpoint=endpoint)
        stop = Beside(lambda: stop_endpoint(endpoint=endpoint, user=alice))
        stop.until_it_waits()
        switch_status(job, "cancelled", by=Owner.WORKER, what="Stopped")
    refused = stop.end()
    assert isinstance(refused, Problem)
    assert refused.status == 409
    job.refresh_from_db()
    assert (job.status, job.cause) == ("cancelled", "")
    endpoint.refresh_from_db()
    assert endpoint.wish == "stopped"
