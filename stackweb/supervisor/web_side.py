"""What the supervisor asks of the Django side: management commands, and whether it answers."""

from __future__ import annotations

import http.client
import subprocess

from stackweb.supervisor.address import Address
from stackweb.supervisor.home import Home, UpError
from stackweb.supervisor.programs import PYTHON


def manage(home: Home, env: dict[str, str], *command: str) -> str:
    """Runs one management command and returns what it printed; the rest goes to logs/manage.log.

    Raises UpError with the line that says why it failed. A signal does not cut it short: half a
    migration is worse than a few seconds of waiting.
    """
    done = subprocess.run(
        [*PYTHON, "django", *command],
        env=env,
        cwd=home.path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        text=True,
        check=False,
    )
    log = home.logs / "manage.log"
    with log.open("a") as file:
        file.write(f"{command[0]} ended with code {done.returncode}\n{done.stderr}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it printed nothing"]
        cause = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        raise UpError(f"{command[0]} failed: {cause} (log: {log})")
    return done.stdout


def web_answers(address: Address) -> bool:
    """True when GET /healthz answers 200."""
    connection = http.client.HTTPConnection(address.local_host, address.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
