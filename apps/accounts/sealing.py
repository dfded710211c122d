"""Secrets that must be read again, encrypted at rest under a key derived from the installation's own.

AES-128-CBC with HMAC-SHA256 (Fernet, of the cryptography library); the key by HKDF-SHA256 (RFC 5869) from SECRET_KEY.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotUnseal(Exception):
    """It was sealed under another key, or is damaged: the secret must be saved again."""


def seal(plain: str) -> str:
    return _cipher().encrypt(plain.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises CannotUnseal."""
    try:
        return _cipher().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise CannotUnseal from None


def _cipher() -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"stackweb sealed secrets")
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.SECRET_KEY.encode())))
