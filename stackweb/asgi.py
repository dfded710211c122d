"""One door: `/v1/*` goes to the gateway's raw ASGI app, everything else to Django.

The gateway never passes Django's handler: its middleware alone costs 32 times the CPU of a request.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stackweb.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

# Django must be set up before any app is imported.
from apps.gateway.asgi import gateway_application, gateway_lifespan  # noqa: E402
from stackweb.settled_memory import settle_memory  # noqa: E402

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"].startswith("/v1/"):
        await gateway_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        settle_memory()
        await gateway_lifespan(receive, send)
    else:
        await django_application(scope, receive, send)
