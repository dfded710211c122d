"""Real servers for every test run; several runs at once do not meet.

Settings are read from the environment, so it is set here, before Django is imported. For that reason
pyproject.toml does not name DJANGO_SETTINGS_MODULE.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator

import pytest

from tests.servers import ServersOfThisRun

SERVERS = ServersOfThisRun()
atexit.register(SERVERS.stop)
os.environ.update(SERVERS.environment())
os.environ["DJANGO_SETTINGS_MODULE"] = "stackweb.settings"

import django  # noqa: E402

django.setup()  # here, because the conftest of a folder below may import models


@pytest.fixture(scope="session")
def servers() -> ServersOfThisRun:
    """This run's Postgres and Valkey, started on first use."""
    SERVERS.start()
    return SERVERS


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: ServersOfThisRun) -> None:
    """pytest-django asks for this before it creates the test database."""


@pytest.fixture(scope="session")
def django_db_keepdb(servers: ServersOfThisRun) -> bool:
    """Our own server is thrown away as a whole, so dropping its database would only cost time."""
    return not servers.given_database_url


@pytest.fixture(scope="session")
def django_db_createdb() -> bool:
    return True


@pytest.fixture
def redis_url(servers: ServersOfThisRun) -> str:
    return servers.valkey.url


@pytest.fixture
def asgi_server(transactional_db: None, servers: ServersOfThisRun) -> Iterator[str]:
    """The whole ASGI application under uvicorn in a thread, at STACKWEB_URL; yields that URL."""
    import uvicorn

    from stackweb.asgi import application

    config = uvicorn.Config(
        application, port=servers.web_port, lifespan="on", log_level="warning", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="asgi_server", daemon=True)
    thread.start()
    pause = threading.Event()
    while not server.started and thread.is_alive():
        pause.wait(0.01)
    yield f"http://127.0.0.1:{servers.web_port}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive(), "the ASGI server did not stop within 10 s"
