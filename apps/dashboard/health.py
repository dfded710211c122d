"""Is this server able to work: for `make up`, load balancers and compose."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from psycopg_pool import PoolTimeout

from apps.fleet.broker import broker_answers


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when database and broker answer, else 503 naming the one that does not."""
    checks = {"database": _database_answers(), "broker": broker_answers()}
    is_well = all(checks.values())
    words = {name: "ok" if answers else "no answer" for name, answers in checks.items()}
    return JsonResponse({"status": "ok" if is_well else "failing", **words}, status=200 if is_well else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, PoolTimeout):
        return False
    return True
