"""Engine environments: one venv per engine, variant and lock, shared by every home on this host.

    python -m workers.environments install --engine vllm --variant cpu [--into DIR]
    python -m workers.environments list

A venv cannot be moved, so it is made at its final path `<root>/<engine>-<variant>-<lock sha, 12>/` and
counts only once `ready.json` in it was written and fsynced; a folder without one is a half-made
installation and is removed by the next. Progress lines are those of apps.engines.lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from apps.engines.base import CauseReason
from apps.engines.lines import failed_line, phase_line, progress_line, say
from apps.engines.locks import Lock, UnknownLock, read_lock
from workers.package_index import uv
from workers.turns import one_at_a_time

MARKER = "ready.json"
STEPS = 5
CONFIGURABLE = ("vllm", "lm-eval", "axolotl", "llama-cpp")
SPARE_BYTES = 1_000_000_000  # what downloads and unpacking need beyond the environment itself


class InstallError(Exception):
    """An environment could not be made; `reason` is one of base.CauseReason."""

    def __init__(self, reason: CauseReason, cause: str) -> None:
        super().__init__(cause)
        self.reason: CauseReason = reason


@dataclass(frozen=True)
class Environment:
    """One row of the inventory; `state` is ready, half_made or configured."""

    engine: str
    variant: str
    lock_sha256: str
    path: str
    size_bytes: int
    state: str


def environments_root() -> Path:
    """$STACKWEB_ENV_ROOT, or a cache folder that outlives any one STACKWEB_HOME."""
    configured = os.environ.get("STACKWEB_ENV_ROOT")
    return Path(configured) if configured else Path.home() / ".cache/stackweb/environments"


def configured_path(engine: str) -> Path | None:
    """An environment the operator made by hand: STACKWEB_ENV_VLLM, STACKWEB_ENV_LM_EVAL ..."""
    name = _setting(engine)
    if not (value := os.environ.get(name)):
        return None
    path = Path(value)
    if not (path / "bin").is_dir():
        raise InstallError("environment_failed", f"{name}={value} has no folder bin; name an environment's folder")
    return path


def find_environment(engine: str, variant: str, root: Path | None = None) -> Path | None:
    """The prefix to run this engine from, or None when it must be installed first."""
    if path := configured_path(engine):
        return path
    path = (root or environments_root()) / read_lock(engine, variant).key
    return path if (path / MARKER).exists() else None


def list_environments(root: Path | None = None) -> list[Environment]:
    """What the inventory reports, from the folders' own markers."""
    found = []
    for path in sorted((root or environments_root()).glob("*-c*-????????????")):
        engine, variant, key = path.name.rsplit("-", 2)
        if (path / MARKER).exists():
            found.append(Environment(**json.loads((path / MARKER).read_text())))
        else:
            found.append(Environment(engine, variant, key, str(path), 0, "half_made"))
    for name in CONFIGURABLE:
        if path_given := os.environ.get(_setting(name)):
            found.append(Environment(name, _variant_of(name, Path(path_given)), "", path_given, 0, "configured"))
    return found


def _setting(engine: str) -> str:
    return f"STACKWEB_ENV_{engine.upper().replace('-', '_')}"


def _variant_of(engine: str, path: Path) -> str:
    """By the torch in it, whose CPU builds say so in their version; llama.cpp has a library for GPUs, or none."""
    if engine == "llama-cpp":
        return "cuda" if any(path.glob("*/libggml-cuda*")) else "cpu"
    return "cpu" if any(path.glob("lib/python3.*/site-packages/torch-*+cpu*.dist-info")) else "cuda"


def install(engine: str, variant: str, root: Path | None = None) -> Path:
    """Make the environment unless it is there; prints progress, raises InstallError with the cause."""
    if path := find_environment(engine, variant, root):
        say(progress_line(STEPS, STEPS, "steps", f"{engine} is installed: {path}"))
        return path
    lock = read_lock(engine, variant)
    folder = root or environments_root()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / lock.key
    with one_at_a_time(folder, lock.key, f"Another installation of {lock.key} is running; waiting for it"):
        return path if (path / MARKER).exists() else _install_locked(lock, path)


def _install_locked(lock: Lock, path: Path) -> Path:
    say(phase_line("installing"))
    say(progress_line(0, STEPS, "steps", f"Checking the room for {lock.key}"))
    if path.exists():
        shutil.rmtree(path)  # half-made by an installation that was killed
    _check_host(lock, path.parent)
    say(progress_line(1, STEPS, "steps", f"Making the environment with Python {lock.python}"))
    _run_uv(["venv", "--no-project", "--python", lock.python, str(path)], lock, None)
    say(progress_line(2, STEPS, "steps", f"Installing {lock.packages} packages"))
    target = ["--python", str(path / "bin/python"), "--require-hashes", "--no-deps"]
    _run_uv(["pip", "install", *target, "-r", str(lock.path)], lock, lock.variant)
    say(progress_line(3, STEPS, "steps", "Checking the installation"))
    if lock.alias:
        _write_alias(lock.alias, path)
    if not os.access(path / "bin" / lock.script, os.X_OK):
        raise InstallError("environment_failed", f"{path} has no program {lock.script!r} after installing")
    say(progress_line(4, STEPS, "steps", "Writing it to disk"))
    _write_marker(lock, path)
    say(progress_line(STEPS, STEPS, "steps", f"{lock.engine} is installed: {path}"))
    return path


def _check_host(lock: Lock, folder: Path) -> None:
    if platform.machine() != lock.platform:
        raise InstallError(
            "environment_failed",
            f"{lock.path.name} is for {lock.platform} and this host is {platform.machine()}; "
            f"build an environment by hand and name it in {_setting(lock.engine)}",
        )
    needed, free = lock.disk_bytes + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise InstallError(
            "disk_full",
            f"{lock.key} needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            "free some space or set STACKWEB_ENV_ROOT to a larger disk",
        )


def _run_uv(arguments: list[str], lock: Lock, index_variant: str | None) -> None:
    """Run uv, pass its lines on, and turn its failure into one line."""
    last: deque[str] = deque(maxlen=40)
    with uv(arguments, index_variant=index_variant) as process:
        for line in process.stdout or ():
            say(line.rstrip())
            last.append(line.strip())
    if process.returncode:
        text = "\n".join(last)
        if "No space left on device" in text:
            raise InstallError("disk_full", f"The disk became full while installing {lock.key}")
        lines = [line for line in last if line]
        start = next((n for n, line in enumerate(lines) if line.startswith("error")), max(len(lines) - 3, 0))
        cause = " ".join(lines[start : start + 3]) or f"uv ended with {process.returncode}"
        raise InstallError("environment_failed", f"Installing {lock.key} with Python {lock.python}: {cause}"[:600])


def _write_alias(alias: str, path: Path) -> None:
    """A metadata-only package: the engine asks for itself under another name than it was installed by."""
    name, version = alias.split("==")
    site = next((path / "lib").glob("python3.*/site-packages"))
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "INSTALLER").write_text("stackweb\n")
    (folder / "RECORD").write_text(f"{folder.name}/METADATA,,\n{folder.name}/INSTALLER,,\n{folder.name}/RECORD,,\n")


def _write_marker(lock: Lock, path: Path) -> None:
    """Everything reaches the disk before the marker that vouches for it."""
    size = sum(found.lstat().st_size for found in path.rglob("*"))
    ready = Environment(lock.engine, lock.variant, lock.sha256, str(path), size, "ready")
    os.sync()
    with (path / f"{MARKER}.part").open("w") as file:
        json.dump(asdict(ready), file)
        file.flush()
        os.fsync(file.fileno())
    (path / f"{MARKER}.part").rename(path / MARKER)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.environments")
    commands = parser.add_subparsers(dest="command", required=True)
    install_command = commands.add_parser("install")
    install_command.add_argument("--engine", required=True)
    install_command.add_argument("--variant", required=True, choices=["cpu", "cuda"])
    install_command.add_argument("--into", type=Path)
    install_command.add_argument("--record", type=Path, help="file that names the environment afterwards")
    commands.add_parser("list")
    given = parser.parse_args(arguments)
    if given.command == "list":
        say(json.dumps([asdict(environment) for environment in list_environments()], indent=2))
        return 0
    try:
        path = install(given.engine, given.variant, given.into)
    except InstallError as error:
        say(failed_line(error.reason, str(error)))
        return 1
    except UnknownLock as error:
        say(failed_line("bad_config", str(error)))
        return 2
    if given.record:
        given.record.write_text(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
