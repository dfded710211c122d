"""Both endpoints answer through the gateway's core, at the same time, metered like any request."""

from __future__ import annotations

import asyncio
import json

from django.utils import timezone

from apps.arena.models import Battle
from apps.gateway.running import gateway_of_this_loop, stop_gateway_of_this_loop

MAX_TOKENS = 256  # of each answer; two CPU cores write them within a minute
TIMEOUT_SECONDS = 150.0


def answer_battle(battle_pk: int) -> None:
    """Fills both answers, or says why one is missing. Doing it again changes nothing."""
    battle = Battle.objects.select_related("left", "right").filter(pk=battle_pk, answered_at=None).first()
    if battle is None:
        return
    left, right = asyncio.run(_ask_both(battle))
    Battle.objects.filter(pk=battle_pk, answered_at=None).update(
        left_answer=left[0],
        left_error=left[1],
        right_answer=right[0],
        right_error=right[1],
        answered_at=timezone.now(),
    )


async def _ask_both(battle: Battle) -> tuple[tuple[str, str], tuple[str, str]]:
    try:
        return await asyncio.gather(
            _ask(battle.left_id, battle.left.name, battle.prompt),
            _ask(battle.right_id, battle.right.name, battle.prompt),
        )
    finally:
        await stop_gateway_of_this_loop()


async def _ask(endpoint_id: int, name: str, prompt: str) -> tuple[str, str]:
    """(answer, ""), or ("", why there is none)."""
    body = {"model": name, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answer = await gateway_of_this_loop().chat(endpoint_id=endpoint_id, body=json.dumps(body).encode())
        return read_answer(answer.status, answer.body)
    except TimeoutError:
        return "", f"No answer within {TIMEOUT_SECONDS:.0f} s."


def read_answer(status: int, body: bytes) -> tuple[str, str]:
    """The words of a chat completion, or the sentence of its error."""
    try:
        data = json.loads(body)
        if status != 200:
            return "", str(data["error"]["message"])[:300]
        text = str(data["choices"][0]["message"]["content"] or "")
    except (ValueError, LookupError, TypeError):
        return "", f"The endpoint answered {status} with something that is no chat completion."
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode().strip()
    return (text, "") if text else ("", "The answer is empty.")
