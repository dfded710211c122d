"""The endpoint that an address names."""

from __future__ import annotations

from django.http import HttpRequest

from apps.accounts.access import visible_or_404
from apps.accounts.rest import signed_in
from apps.serving.models import Endpoint


def visible_endpoint(request: HttpRequest, endpoint_id: str) -> Endpoint:
    """With its newest job. Raises Http404."""
    rows = Endpoint.objects.with_newest_job()
    endpoint: Endpoint = visible_or_404(rows, signed_in(request), endpoint_id, noun="endpoint")
    return endpoint
