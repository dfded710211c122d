"""Which host is this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from apps.fleet import local_host
from apps.fleet.models import Host


def test_the_file_is_read_again_only_when_it_has_changed(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.HOME = tmp_path
    host = Host(name="atlas")
    assert not local_host.is_local(host), "not enrolled yet"
    path = tmp_path / "host" / "worker.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"host_name": "atlas"}))
    assert local_host.is_local(host)
    reads: list[Path] = []
    whole = local_host._read

    def read(path: Path) -> dict[str, Any]:
        reads.append(path)
        return whole(path)

    monkeypatch.setattr(local_host, "_read", read)
    assert local_host.is_local(host)
    assert reads == []
    path.write_text(json.dumps({"host_name": "brio"}))
    os.utime(path, ns=(1, 1))
    assert not local_host.is_local(host)
    assert reads == [path]
