"""One question through the gateway's own door, as any caller would ask it."""

from __future__ import annotations

import time
from typing import NamedTuple

import httpx
from django.conf import settings

from apps.accounts.models import Team, User
from apps.accounts.problems import Problem
from apps.gateway.services import create_virtual_key, revoke_virtual_key

WAIT_SECONDS = 60.0


class Answer(NamedTuple):
    text: str
    completion_tokens: int
    seconds: float


def ask_through_gateway(*, team: Team, user: User, model: str, question: str) -> Answer:
    """Asks with a virtual key made for this and revoked after. Raises Problem 502 with the gateway's words."""
    key, token = create_virtual_key(team=team, user=user, name="tour")
    begun = time.monotonic()
    try:
        response = httpx.post(
            f"{settings.STACKWEB_URL}/v1/chat/completions",
            headers={"Authorization": f"Bearer {token.plain}"},
            json={"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 32},
            timeout=WAIT_SECONDS,
        )
        body = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Problem(502, "No answer", f"The gateway did not answer: {error}") from None
    finally:
        revoke_virtual_key(key=key, user=user)
    if response.status_code != 200:
        raise Problem(502, "No answer", body.get("error", {}).get("message", f"HTTP {response.status_code}"))
    return Answer(
        text=body["choices"][0]["message"]["content"] or "",
        completion_tokens=body["usage"]["completion_tokens"],
        seconds=time.monotonic() - begun,
    )
