"""Random bearer tokens with a telling prefix; only a keyed hash is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

from django.conf import settings

API_TOKEN, HOST_TOKEN, JOIN_TOKEN, CLAIM_TOKEN, VIRTUAL_KEY = "swt_", "swh_", "swj_", "swc_", "sk-sw-"


class NewToken(NamedTuple):
    plain: str  # shown once, never stored
    digest: str
    hint: str  # first characters, to recognise it in a list


def new_token(prefix: str) -> NewToken:
    """256 random bits behind the prefix."""
    plain = prefix + secrets.token_urlsafe(32)
    return NewToken(plain, digest_token(plain), plain[: len(prefix) + 4])


def digest_token(plain: str) -> str:
    """HMAC-SHA256 under the installation's key, in hex: useless to whoever reads the database."""
    key = hashlib.sha256(b"stackweb.token" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()
