"""Bringing a model: adopted where it is, or whole under its final name, or a clear reason."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from apps.engines.folder import RECORD
from apps.engines.programs.fake_run import write_tensor
from apps.engines.sources import SPARE_BYTES, Source, parse_source
from workers import downloads, model_sources, turns
from workers.downloads import default_folder, download, main
from workers.model_sources import DownloadError, HubFiles


def make_model(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    write_tensor(folder / "model.safetensors")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Stands in for the Hub; remembers each fetch."""
    fetched: list[Source] = []

    def ask(source: Source, *, with_code: bool) -> HubFiles:
        hashes = {"model.safetensors": "0" * 64} if source.revision == "damaged" else {}
        return HubFiles("c0ffee", {"model.safetensors": 1}, hashes)

    def fetch(source: Source, files: HubFiles, folder: Path, *, but: Mapping[str, str]) -> None:
        fetched.append(source)
        make_model(folder)

    monkeypatch.setattr(downloads, "ask_hub", ask)
    monkeypatch.setattr(downloads, "fetch_hub", fetch)
    return fetched


def test_a_folder_is_adopted_where_it_is(tmp_path: Path) -> None:
    make_model(tmp_path / "nfs")
    before = sorted((tmp_path / "nfs").iterdir())
    record = tmp_path / "record.json"
    assert main([f"path:{tmp_path}/nfs", "--record", str(record)]) == 0
    assert json.loads(record.read_text())["path"] == str(tmp_path / "nfs")
    assert sorted((tmp_path / "nfs").iterdir()) == before


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record.json"
    assert main([f"path:{tmp_path}", "--record", str(record)]) == 1
    assert "failed (model_not_found): " in capsys.readouterr().out
    assert not record.exists()


def test_it_appears_whole_and_is_not_fetched_twice(tmp_path: Path, hub: list[Source]) -> None:
    source, into = parse_source("hub:a/b@v1"), tmp_path / "models/b"
    record = download(source, into, "cpu")
    assert (record["revision"], record["path"]) == ("c0ffee", str(into))
    assert not into.with_name("b.partial").exists()
    assert (into / RECORD).is_file()
    assert download(source, into, "cpu") == record
    assert len(hub) == 1


def test_two_jobs_that_bring_one_model_at_once_fetch_it_once(
    tmp_path: Path, hub: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, into, fetch = parse_source("hub:a/b@v1"), tmp_path / "models/b", downloads.fetch_hub
    inside, waits, go_on = Event(), Event(), Event()

    def slow(*given: Any, **more: Any) -> None:
        inside.set()
        assert go_on.wait(20)
        fetch(*given, **more)

    monkeypatch.setattr(downloads, "fetch_hub", slow)
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(turns, "say", lambda line: waits.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(download, source, into, "cpu")
        assert inside.wait(20)
        second = pool.submit(download, source, into, "cpu")
        assert waits.wait(20)
        go_on.set()
        assert first.result(20) == second.result(20)
    assert len(hub) == 1


def test_a_damaged_file_is_dropped_and_the_name_stays_free(tmp_path: Path, hub: list[Source]) -> None:
    into = tmp_path / "b"
    with pytest.raises(DownloadError, match=r"model\.safetensors arrived damaged"):
        download(parse_source("hub:a/b@damaged"), into, "cpu")
    assert not into.exists()
    assert not (tmp_path / "b.partial/model.safetensors").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, hub: list[Source]) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(DownloadError, match="holds something else"):
        download(parse_source("hub:a/b"), tmp_path / "b", "cpu")
    assert hub == []


def test_only_locked_packages_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not among the locked packages"):
        download(parse_source("package:requests==2.0"), tmp_path / "m", "cpu")


def test_no_room_is_told_before_a_byte_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DownloadError, match="STACKWEB_MODELS_DIR") as caught:
        model_sources.check_room(tmp_path, 5_000_000_000, "hub:a/b")
    assert caught.value.reason == "disk_full"


def test_what_arrived_before_needs_no_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/model.safetensors.incomplete").write_bytes(os.urandom(3_000_000))
    room = SPARE_BYTES + 2_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(room, 0, room))
    monkeypatch.setattr(model_sources, "hf_hub_download", lambda *given, **options: "")
    source = parse_source("hub:a/b@v1")
    with pytest.raises(DownloadError) as caught:
        model_sources.fetch_hub(source, HubFiles("c0ffee", {"model.safetensors": 6_000_000}, {}), tmp_path)
    assert caught.value.reason == "disk_full"
    model_sources.fetch_hub(source, HubFiles("c0ffee", {"model.safetensors": 5_000_000}, {}), tmp_path)


def test_what_an_earlier_try_fetched_and_nobody_wants_any_more_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.safetensors", "consolidated.safetensors", ".cache"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(model_sources, "hf_hub_download", lambda *given, **options: "")
    files = HubFiles("c0ffee", {"model.safetensors": 1}, {})
    model_sources.fetch_hub(parse_source("hub:a/b@v1"), files, tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "consolidated.safetensors").exists()


def test_the_default_folder_is_named_after_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKWEB_MODELS_DIR", str(tmp_path))
    assert default_folder(parse_source("hub:Qwen/Qwen3-0.6B")) == tmp_path / "qwen--qwen3-0.6b--main"
