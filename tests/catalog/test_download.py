"""The program a download attempt runs, against a Hub that breaks off, lies and refuses."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.catalog.models import Location, ModelVersion
from apps.catalog.services import import_model
from apps.engines.adapters.download import Download
from apps.engines.base import Placement, RunSpec
from apps.jobs.lifecycle import end_attempt
from apps.jobs.models import Job
from tests.catalog.hub_server import COMMIT, Hub, running_hub, safetensors, tiny_repo
from tests.factories import make_attempt, make_host, make_team, make_user

ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    exit_code: int
    said: str
    folder: Path
    record: dict[str, Any] | None


@pytest.fixture
def tiny_hub() -> Any:
    with running_hub() as running:
        running.repos["tiny/model"] = tiny_repo()
        yield running


PROGRAM = [sys.executable, "-m", "workers.downloads"]


def environment(hub: Hub, home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}


def run(argv: list[str], hub: Hub, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=ROOT, env=environment(hub, home), capture_output=True, text=True, timeout=60, check=False
    )


def download(hub: Hub, tmp_path: Path) -> Ended:
    folder, record = tmp_path / "model", tmp_path / "record.json"
    source = f"hub:tiny/model@{COMMIT}"
    argv = [*PROGRAM, source, "--into", str(folder), "--record", str(record)]
    ran = run(argv, hub, tmp_path)
    read = json.loads(record.read_text()) if record.exists() else None
    return Ended(ran.returncode, ran.stdout, folder, read)


def test_a_hub_that_asks_to_slow_down_is_waited_for(tiny_hub: Hub, tmp_path: Path) -> None:
    tiny_hub.slow_downs = [(COMMIT, {"Retry-After": "0"}), ("config.json", {"Retry-After": "0"})] * 2
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert ended.said.count("waits 0 s, as its server asks") == 4, "one policy for the list and for the files"
    assert tiny_hub.slow_downs == []


def test_weights_that_lie_there_twice_are_fetched_and_counted_once(tiny_hub: Hub, tmp_path: Path) -> None:
    files = tiny_hub.repos["tiny/model"].files
    files |= {"consolidated.safetensors": safetensors(), "original/model.safetensors": safetensors()}
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert [path.name for path in ended.folder.rglob("*.safetensors")] == ["model.safetensors"]


def test_what_fails_for_good_ends_the_waits_of_the_others(tiny_hub: Hub, tmp_path: Path) -> None:
    tiny_hub.slow_downs = [("/config.json", {"Retry-After": "500"}), ("tokenizer_config.json", {"Retry-After": "9999"})]
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 1
    assert "tokenizer_config.json" in ended.said.splitlines()[-1], ended.said


def test_weights_arrive_whole_after_a_cut_and_pickles_never_do(tiny_hub: Hub, tmp_path: Path) -> None:
    weights = safetensors(elements=6_000_000)  # 12 MB: the client keeps what it has in pieces of 10 MB
    tiny_hub.repos["tiny/model"].files["model.safetensors"] = weights
    tiny_hub.cut_after = 11_000_000
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert (ended.folder / "model.safetensors").read_bytes() == weights
    ranges = [asked for _, path, asked in tiny_hub.requests if path.startswith("/cdn/") and asked]
    assert ranges == ["bytes=10485760-"]
    assert ended.record is not None
    assert ended.record["revision"] == COMMIT
    assert "model.safetensors" in {file["path"] for file in ended.record["files"]}
    assert not (ended.folder / "pytorch_model.bin").exists()


@pytest.mark.parametrize("is_granted", [False, True])
def test_code_comes_only_where_it_was_granted_and_is_checked_like_weights(
    tiny_hub: Hub, tmp_path: Path, is_granted: bool
) -> None:
    tiny_hub.repos["tiny/model"].files["modeling_tiny.py"] = b"class TinyModel: ...\n"
    record = tmp_path / "record.json"
    argv = [*PROGRAM, f"hub:tiny/model@{COMMIT}", "--record", str(record), *(["--with-code"] if is_granted else [])]
    assert run(argv, tiny_hub, tmp_path).returncode == 0
    said = json.loads(record.read_text())
    assert ("modeling_tiny.py" in {file["path"] for file in said["files"]}) == is_granted
    assert (Path(said["path"]) / "modeling_tiny.py").exists() == is_granted
    asked = [path for _, path, _ in tiny_hub.requests if path.endswith(".py")]
    assert all(f"/resolve/{COMMIT}/" in path for path in asked), "pinned to the commit"
    shutil.rmtree(said["path"])
    tiny_hub.damage_small = True
    damaged = run(argv, tiny_hub, tmp_path)
    assert (damaged.returncode, "arrived damaged" in damaged.stdout) == (1, True)


def test_a_card_with_malformed_scores_is_no_reason_to_fail(tiny_hub: Hub, tmp_path: Path) -> None:
    result = {"task": {"type": "t"}, "dataset": {"name": "d", "type": "d"}, "source": "plain text"}
    scores = [result | {"metrics": [{"type": "acc", "value": 1}]}, None]
    tiny_hub.repos["tiny/model"] = tiny_repo(model_index=[{"name": "tiny", "results": scores}])
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said


def test_a_whole_fetch_says_how_long_it_took_and_a_resumed_one_does_not(tiny_hub: Hub, tmp_path: Path) -> None:
    assert "measured download_seconds=" in download(tiny_hub, tmp_path).said
    shutil.rmtree(tmp_path / "model")
    tiny_hub.damage = True
    assert download(tiny_hub, tmp_path).exit_code == 1
    tiny_hub.damage = False
    resumed = download(tiny_hub, tmp_path)
    assert resumed.exit_code == 0, resumed.said
    assert "download_seconds" not in resumed.said


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ({"lie_about_size": 5}, "should be of size 400105 but has size 400100"),
        ({"damage": True}, "model.safetensors arrived damaged: its sha256 hash is "),
        ({"damage_small": True}, " arrived damaged: its git hash is "),
    ],
)
def test_a_file_of_wrong_size_or_content_is_refused(
    tiny_hub: Hub, tmp_path: Path, fault: dict[str, Any], cause: str
) -> None:
    for name, value in fault.items():
        setattr(tiny_hub, name, value)
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 1
    assert cause in ended.said
    assert ended.record is None
    assert not ended.folder.exists()


def test_r14_a_damaged_file_is_fetched_anew_and_only_it(tiny_hub: Hub, tmp_path: Path) -> None:
    tiny_hub.damage = True
    assert download(tiny_hub, tmp_path).exit_code == 1
    tiny_hub.damage = False
    tiny_hub.requests.clear()
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert (ended.folder / "model.safetensors").read_bytes() == tiny_hub.repos["tiny/model"].files["model.safetensors"]
    assert not ended.folder.with_name("model.partial").exists()


def cached(hub: Hub, home: Path) -> Path:
    """The host's own cache as the official client lays it out: files by hash, and links to them by name."""
    place = home / ".cache/huggingface/hub/models--tiny--model"
    (place / "blobs").mkdir(parents=True)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    for name, data in hub.repos["tiny/model"].files.items():
        blob = place / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        (place / "snapshots" / COMMIT / name).symlink_to(blob)
    return place / "snapshots" / COMMIT


def test_what_the_hosts_own_cache_holds_is_used_where_it_lies(tiny_hub: Hub, tmp_path: Path) -> None:
    snapshot = cached(tiny_hub, tmp_path)
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert ended.record is not None
    assert (ended.record["path"], ended.record["in_place"]) == (str(snapshot), True)
    assert "pytorch_model.bin" not in {file["path"] for file in ended.record["files"]}
    assert not [path for method, path, _ in tiny_hub.requests if "/resolve/" in path or "/cdn/" in path]
    assert not ended.folder.exists()


def test_a_damaged_cache_is_left_alone_and_the_files_are_fetched(tiny_hub: Hub, tmp_path: Path) -> None:
    snapshot = cached(tiny_hub, tmp_path)
    weights = (snapshot / "model.safetensors").resolve()
    damaged = weights.read_bytes()[:-1] + b"!"
    weights.write_bytes(damaged)
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert ended.record is not None
    assert ended.record["path"] == str(ended.folder)
    assert weights.read_bytes() == damaged


def test_a_cache_that_lacks_a_file_is_not_used(tiny_hub: Hub, tmp_path: Path) -> None:
    (cached(tiny_hub, tmp_path) / "config.json").unlink()
    ended = download(tiny_hub, tmp_path)
    assert ended.record is not None
    assert ended.record["path"] == str(ended.folder)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_r14_a_download_killed_at_any_byte_is_not_there_and_goes_on(tiny_hub: Hub, tmp_path: Path, seed: int) -> None:
    weights = safetensors(elements=6_000_000)
    tiny_hub.repos["tiny/model"].files["model.safetensors"] = weights
    tiny_hub.freeze_after = random.Random(seed).randrange(len(weights))
    folder, record = tmp_path / "model", tmp_path / "record.json"
    process = subprocess.Popen(
        [*PROGRAM, f"hub:tiny/model@{COMMIT}", "--into", str(folder), "--record", str(record)],
        cwd=ROOT, env=environment(tiny_hub, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert tiny_hub.frozen.wait(30)
    process.kill()
    process.wait()
    tiny_hub.freeze_after = None
    tiny_hub.thaw.set()
    assert not folder.exists()
    assert not record.exists()
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 0, ended.said
    assert (folder / "model.safetensors").read_bytes() == weights


def test_a_gated_model_says_so(tiny_hub: Hub, tmp_path: Path) -> None:
    tiny_hub.repos["tiny/model"] = tiny_repo(gated=True)
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 1
    assert "failed (gated_model)" in ended.said
    assert not ended.folder.with_name("model.partial").exists()


def test_a_hub_that_is_down_says_so_without_a_traceback(tiny_hub: Hub, tmp_path: Path) -> None:
    tiny_hub.url = "http://127.0.0.1:1"
    ended = download(tiny_hub, tmp_path)
    assert ended.exit_code == 1
    assert "cannot be reached" in ended.said


@pytest.mark.django_db
def test_from_the_hub_to_a_version_with_real_files(hub: Hub, tmp_path: Path) -> None:
    """Server asks, adapter's own command downloads, adapter reads what came, server registers it."""
    team, host, engine = make_team(), make_host(), Download()
    row = import_model(team=team, user=make_user(team=team), source="hub", source_ref="tiny/model")
    spec = RunSpec.model_validate(row.job.spec)
    folder = tmp_path / "tiny"
    placement = Placement(env_prefix=sys.prefix, work_dir=str(tmp_path / "work"), model_path=str(folder))
    ran = run(engine.command(spec, placement).argv, hub, tmp_path)
    assert ran.returncode == 0, ran.stdout
    result = engine.collect(spec, tmp_path / "work").model_dump(mode="json")
    Job.objects.filter(pk=row.job_id).update(status="running")
    end_attempt(make_attempt(row.job, host), exit_code=0, reason="", cause="", result=result)
    version = ModelVersion.objects.get()
    assert (version.precision, version.parameter_count, version.context_length) == ("bf16", 200_000, 2048)
    assert version.facts["chat_template"] is True
    location = Location.objects.get()
    assert (location.host, location.path) == (host, str(folder))
    weights = next(file for file in location.artifact.files if file["path"] == "model.safetensors")
    assert weights["size_bytes"] == (folder / "model.safetensors").stat().st_size
