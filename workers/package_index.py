"""Which package indexes uv asks: the operator's own settings, never an address of ours.

uv reads its UV_* variables itself, but not pip's configuration, so a team that pointed pip at its
mirror would be ignored; this carries pip's settings over. Every install is hash-locked, so an
index can at worst be missing a file, never swap one. pip's extra indexes stay out: uv would take a
release from the first index that has any file of it, even where only another has the right wheel.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SETTING = re.compile(r"^(?:global|install|:env:)\.(?P<name>[\w-]+)='(?P<value>.*)'$")


def pip_settings() -> dict[str, str]:
    """pip's own settings, environment last so that it wins; empty where pip is missing."""
    found = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    lines = sorted(found.stdout.splitlines(), key=lambda line: line.startswith(":env:"))
    matches = (_SETTING.match(line) for line in lines)
    return {match["name"]: match["value"] for match in matches if match}


def index_arguments(environ: Mapping[str, str], pip: Mapping[str, str], variant: str) -> list[str]:
    """uv's index options. STACKWEB_TORCH_INDEX and STACKWEB_FIND_LINKS come on top of pip's settings."""
    find_links = environ.get("STACKWEB_FIND_LINKS", "").split() + pip.get("find-links", "").split()
    if variant == "cuda":  # a CPU build counts as newer than the release it is built from
        find_links = [place for place in find_links if not _has_cpu_torch([place])]
    torch_index = environ.get("STACKWEB_TORCH_INDEX", "")
    arguments: list[str] = []
    if index := pip.get("index-url"):
        arguments += ["--default-index", index]
    for place in dict.fromkeys(find_links):
        arguments += ["--find-links", place]
    if torch_index:
        # It carries other packages too, of which the pinned version may be on either; the hash decides.
        arguments += ["--index", torch_index, "--index-strategy", "unsafe-best-match"]
    told = torch_index or "UV_TORCH_BACKEND" in environ or _has_cpu_torch(find_links)
    if variant == "cpu" and not told:
        arguments += ["--torch-backend", "cpu"]  # uv knows PyTorch's own index for CPU builds
    return arguments


def uv_environment(environ: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: pip's certificate file holds for uv too."""
    merged = dict(environ)
    if pip.get("cert"):
        merged.setdefault("SSL_CERT_FILE", pip["cert"])
    return merged


def _has_cpu_torch(find_links: list[str]) -> bool:
    return any(next(Path(place).glob("torch-*+cpu-*.whl"), None) for place in find_links)


def uv(arguments: list[str], *, index_variant: str | None = None) -> subprocess.Popen[str]:
    """Start the locked uv with its output merged into one stream of lines."""
    pip = pip_settings() if index_variant else {}
    extra = index_arguments(os.environ, pip, index_variant) if index_variant else []
    return subprocess.Popen(
        [sys.executable, "-m", "uv", "--no-progress", *arguments, *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=uv_environment(os.environ, pip),
    )
