"""Who calls: a virtual key, looked up by its keyed hash in the directory."""

from __future__ import annotations

from dataclasses import dataclass

from apps.accounts.tokens import API_TOKEN, HOST_TOKEN, VIRTUAL_KEY, digest_token
from apps.gateway.answers import Refusal
from apps.gateway.directory import KeyFacts, Snapshot


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` None: the playground, which acts for a person who is signed in."""

    team_id: int
    key_id: int | None = None
    requests_per_minute: int | None = None


def caller_of(authorization: str, snapshot: Snapshot) -> Caller:
    """Raises Refusal 401 naming what kind of key is wanted."""
    scheme, _, plain = authorization.partition(" ")
    plain = plain.strip()
    if scheme.lower() != "bearer" or not plain:
        raise _refused("Send Authorization: Bearer sk-sw-… with a virtual key; make one in Settings, Tokens.")
    if plain.startswith((API_TOKEN, HOST_TOKEN)):
        raise _refused("This is an API token; it works on /api/v1 only. /v1 wants a virtual key, sk-sw-….")
    found: KeyFacts | None = None
    if plain.startswith(VIRTUAL_KEY) and plain.isascii():
        found = snapshot.keys.get(digest_token(plain))
    if found is None:
        raise _refused("This virtual key does not exist or was revoked. Make a new one in Settings, Tokens.")
    return Caller(found.team_id, found.key_id, found.requests_per_minute)


def _refused(message: str) -> Refusal:
    return Refusal(401, message, kind="authentication_error", code="invalid_api_key")
