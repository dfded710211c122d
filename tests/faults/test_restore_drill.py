"""R23, the whole drill on parts that run: a backup while engines work, more work, a restore; nothing alive is ended."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from stackweb.supervisor.programs import PYTHON
from tests.faults import witness
from tests.faults.host import of_attempt
from tests.faults.rig import Rig, running_rig
from tests.faults.run import Run
from tests.faults.site import wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # a minute; test_restore has its parts
LONG = 600.0  # seconds, longer than the drill


def stackweb(rig: Rig, *command: str) -> str:
    done = subprocess.run(
        [*PYTHON, "stackweb.cli", *command], env=rig.site.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_r23_engines_outlive_a_restore_and_each_is_known_adopted_or_ended(tmp_path: Path) -> None:
    with running_rig(seed=23, hosts=2, gpus=2) as rig:
        drill(Run(rig, rig.random), tmp_path / "a.backup")


def drill(run: Run, backup: Path) -> None:
    rig, crowd, api = run.rig, run.rig.crowd, run.site.api
    known = crowd.ask("known", seconds=LONG)
    places = [run.where(known.job)]
    for host in rig.hosts:
        api.post(f"hosts/{host.name}/cordon", json={"reason": "drill"}).raise_for_status()
    queued = crowd.ask("queued-at-backup", seconds=LONG)
    assert "counted and hashed" in stackweb(rig, "backup", str(backup))
    for host in rig.hosts:
        api.post(f"hosts/{host.name}/uncordon").raise_for_status()
    later = crowd.ask("after-backup", seconds=LONG)
    places += [run.where(queued.job), run.where(later.job)]
    engines = {uuid: set(host.pids(uuid).values()) for host, uuid in places}

    for part in ("control", "web"):
        rig.site.end(part, signal.SIGTERM)
    assert "all there" in stackweb(rig, "restore", str(backup))
    rig.site.heal()
    wait_for(lambda: len(held(rig)) == 2, 60, "what began after the backup is held")
    assert all(pids <= of_attempt(uuid) for uuid, pids in engines.items()), "api, core and daemon of each live"
    wait_for(lambda: rig.job(known.job)["status"] == "running", 30, "the known one runs")
    assert api.get(f"jobs/{later.job}").status_code == 404

    for uuid, is_known in held(rig).items():
        step = "adopt" if is_known else "end"
        api.post(f"reconcile-hold/attempts/{uuid}/{step}").raise_for_status()
    api.post("reconcile-hold/end").raise_for_status()
    wait_for(lambda: len([uuid for uuid in engines if of_attempt(uuid)]) == 2, 60, "only the unknown one is ended")
    wait_for(lambda: rig.job(queued.job)["status"] == "running", 60, "the adopted one runs")
    (adopted,) = rig.job(queued.job)["attempts"]
    assert engines[adopted["uuid"]] <= of_attempt(adopted["uuid"])
    for promise in (known, queued):
        api.post(f"jobs/{promise.job}/cancel").raise_for_status()
        run.ends(promise.job, "cancelled")
    assert not any(map(of_attempt, engines))
    assert witness.lines_of(rig.witness / "double_use") == []


def held(rig: Rig) -> dict[str, bool]:
    """Attempt -> whether the restored database has its job."""
    return {each["uuid"]: each["is_known"] for each in rig.site.get("reconcile-hold")["attempts"]}
