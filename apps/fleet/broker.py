"""How a host reaches its own corner of the broker: a user of its own, limited to its own keys."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.accounts.tokens import digest_token
from apps.fleet.models import Host

ANSWER_SECONDS = 1.0


def _broker() -> redis.Redis:
    """One that asks once and does not wait long."""
    patience: dict[str, Any] = {"socket_connect_timeout": ANSWER_SECONDS, "socket_timeout": ANSWER_SECONDS}
    return redis.Redis.from_url(settings.REDIS_URL, **patience, retry=Retry(NoBackoff(), retries=0))


def broker_answers() -> bool:
    """Whether Celery can be rung at all just now; takes a second at most to say no."""
    try:
        with _broker() as broker:
            return bool(broker.ping())
    except redis.RedisError:
        return False


def broker_url_for(host: Host) -> str:
    """Makes (or renews) the host's broker user and returns the URL with its password.

    The password is derived, so that every call returns the same. An access list on the queue's key
    alone breaks Celery, whose bookkeeping keys need the prefix too. Raises RedisError, within seconds.
    """
    password = digest_token(f"broker:{host.name}")
    user = f"host-{host.name}"
    with _broker() as admin:
        admin.acl_setuser(
            user,
            enabled=True,
            reset=True,
            passwords=[f"+{password}"],
            keys=[f"{host.broker_prefix}*"],
            channels=[f"{host.broker_prefix}*"],
            categories=["+@all", "-@admin", "-@dangerous"],
            commands=["+info", "+client|setinfo", "+client|setname", "+keys"],
        )
        with suppress(redis.ResponseError):  # an outside broker may keep its users elsewhere
            admin.acl_save()
    parts = urlsplit(settings.WORKER_BROKER_URL)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{address}"))
