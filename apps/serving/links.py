"""What serving tells the jobs room about jobs of kind serve."""

from __future__ import annotations

from django.urls import reverse

from apps.accounts.problems import conflict
from apps.jobs.models import Job
from apps.jobs.states import JobStatus
from apps.serving.models import Endpoint, Replica


def endpoint_url(job: Job) -> str:
    replica = Replica.objects.select_related("endpoint").filter(job=job).first()
    if replica is None:
        return reverse("job", args=[job.public_id])
    return reverse("endpoint", args=[replica.endpoint.public_id])


def replica_ended(job: Job) -> None:
    """A replica that a person stopped stops its endpoint; one that failed leaves it down, as wished."""
    if job.status == JobStatus.CANCELLED:
        Endpoint.objects.filter(replicas__job=job).update(wish=Endpoint.Wish.STOPPED)


def replica_retried(job: Job) -> None:
    """Only the newest replica may run again, and then its endpoint is wished again. Raises Problem 409.

    An older one would hold its memory unseen: an endpoint knows and stops its newest replica.
    """
    endpoint = Endpoint.objects.filter(replicas__job=job).first()
    if endpoint is None:
        return
    newest = endpoint.replicas.order_by("-pk").values_list("job_id", flat=True)[0]
    if newest != job.pk:
        raise conflict(f"{endpoint.name} was started again since, as job-{newest}. Start the endpoint instead.")
    Endpoint.objects.filter(pk=endpoint.pk).update(wish=Endpoint.Wish.RUNNING)
