"""Resolves the files in apps/engines/locks from their `.in` and `.overrides`; see the README there.

python -m workers.compile_locks [NAME ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from apps.engines.locks import LOCKS
from workers.package_index import index_arguments, pip_settings, uv_environment

# Read by apps.engines.locks; other comments of a .in stay out of the lock.
KEPT = ("# python:", "# platform:", "# disk-bytes:", "# script:", "# alias:", "# not verified")


def compile_lock(source: Path) -> None:
    """One lock: the header facts of the source, then what uv resolved, with every hash."""
    overrides = source.with_suffix(".overrides")
    arguments = ["--generate-hashes", "--python-version", "3.11", "--no-header", "--no-annotate"]
    arguments += ["--python-platform", "x86_64-manylinux_2_28"]
    if overrides.exists():
        arguments += ["--overrides", str(overrides)]
    if source.stem == "package-models":
        arguments.append("--no-deps")  # only the files in the package are read, its code never runs
    pip = pip_settings()
    arguments += index_arguments(os.environ, pip, "cuda" if source.stem.endswith("-cuda") else "cpu")
    resolved = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *arguments, str(source)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=uv_environment(os.environ, pip),
    ).stdout
    facts = [line for line in source.read_text().splitlines() if line.startswith(KEPT)]
    source.with_suffix(".txt").write_text("\n".join([*facts, "#", resolved]))


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in LOCKS.glob("*.in")):
        compile_lock(LOCKS / f"{name}.in")
