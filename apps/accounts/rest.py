"""What every REST router shares: keyset pages and idempotent creates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.accounts.models import IdempotentRequest, User
from apps.accounts.paging import cut_page, whole_number
from apps.accounts.problems import conflict, invalid

MAX_PAGE = 200


def page_of(rows: QuerySet[Any], *, cursor: str | None, limit: int, show: Callable[[Any], Any]) -> dict[str, Any]:
    """Newest first by primary key. Raises Problem 422 for a limit over 200 or a cursor that is not ours."""
    if not 1 <= limit <= MAX_PAGE:
        raise invalid("limit", f"limit must be between 1 and {MAX_PAGE}.", value=limit)
    before = None if cursor is None else whole_number(cursor)
    if cursor is not None and before is None:
        raise invalid("cursor", "cursor must be the `next` of an earlier answer.", value=cursor)
    older = rows if before is None else rows.filter(pk__lt=before)
    found, following = cut_page(older.order_by("-pk"), limit)
    return {"items": [show(row) for row in found], "next": None if following is None else str(following)}


def signed_in(request: HttpRequest) -> User:
    """The person behind the request; the permission matrix has already let them in. Else PermissionDenied."""
    if not isinstance(request.user, User):
        raise PermissionDenied("This needs a person who is signed in.")
    return request.user


def create_once(
    request: HttpRequest, create: Callable[[], dict[str, Any]], *, status: int = 201
) -> tuple[int, dict[str, Any]]:
    """Runs `create`, or returns the earlier answer to the same `Idempotency-Key`.

    Raises Problem 409 where the key was used for a different body, or is still being answered.
    A create that fails leaves no trace, so that it can be sent again.
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        return status, create()
    if len(key) > 120:
        raise invalid("Idempotency-Key", "The key must be at most 120 characters.")
    digest = _digest(request)
    user = signed_in(request)
    try:
        with transaction.atomic():
            record = IdempotentRequest.objects.create(user=user, key=key, request_digest=digest)
            answer = json.loads(json.dumps(create(), default=str))
            record.status_code, record.answer = status, answer
            record.save(update_fields=["status_code", "answer"])
            return status, answer
    except IntegrityError:
        earlier = IdempotentRequest.objects.filter(user=user, key=key).first()
        if earlier is None:
            raise
        if earlier.request_digest != digest:
            raise conflict("This Idempotency-Key was used for a different request.") from None
        return earlier.status_code or status, dict(earlier.answer or {})


def _digest(request: HttpRequest) -> str:
    """Of what was asked. An upload is read part by part: its boundary is another one each time."""
    digest = hashlib.sha256(f"{request.path}\n".encode())
    if request.content_type != "multipart/form-data":
        digest.update(request.body)
        return digest.hexdigest()
    digest.update(repr(sorted(request.POST.lists())).encode())
    for name in sorted(request.FILES):
        for file in request.FILES.getlist(name):
            digest.update(name.encode())
            file.seek(0)
            for chunk in file.chunks():
                digest.update(chunk)
            file.seek(0)
    return digest.hexdigest()
