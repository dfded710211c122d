"""Where a model comes from, as one line of text.

hub:owner/name@revision      a Hub repository; the revision defaults to main
hub:owner/name:Q4_K_M@main   one quantisation of a repository of GGUF files
path:/absolute/folder        a folder on the host, used where it is; or one GGUF file (its first part)
ollama:llama3.2:3b@sha256    the weights of an Ollama model's tag, by their digest; the tag defaults to latest
package:name==version        a small model carried by a locked package (locks/package-models.txt)
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal, get_args

from apps.engines.repository_files import LABEL

SourceKind = Literal["hub", "path", "package", "ollama"]
_REPO = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PACKAGE = re.compile(r"^[A-Za-z0-9][\w.-]*$")
FETCHED: tuple[SourceKind, ...] = ("hub", "ollama", "package")  # any host can get the files there again
SPARE_BYTES = 1_000_000_000  # of a disk that a download leaves free


@dataclass(frozen=True)
class Source:
    kind: SourceKind
    name: str  # repository, folder or package
    revision: str = ""  # Hub revision, package version or digest
    variant: str = ""  # which of a Hub repository's GGUF quantisations (empty: its safetensors), or an Ollama tag

    def __str__(self) -> str:
        separator = {"hub": "@", "package": "==", "path": "", "ollama": "@"}[self.kind]
        chosen = f":{self.variant}" if self.variant else ""
        return f"{self.kind}:{self.name}{chosen}{separator if self.revision else ''}{self.revision}"


def ollama_registry() -> str:
    return (os.environ.get("OLLAMA_REGISTRY") or "https://registry.ollama.ai").rstrip("/")


def parse_source(text: str) -> Source:
    """Raises ValueError naming the value and the right form."""
    scheme, _, rest = text.strip().partition(":")
    if scheme not in get_args(SourceKind):
        raise ValueError(f"{text!r} starts with none of hub:, path:, package: and ollama:; write hub:owner/name")
    if scheme == "path":
        if not rest.startswith("/") or ".." in rest.split("/"):
            raise ValueError(f"{text!r} is not an absolute path; write path:/folder/of/the/model")
        return Source("path", rest.rstrip("/"))
    if scheme == "hub":
        whole, _, revision = rest.partition("@")
        name, chosen, variant = whole.partition(":")
        if not _REPO.match(name) or ".." in name or (chosen and not LABEL.fullmatch(variant)):
            raise ValueError(f"{text!r} names no repository; write hub:owner/name or hub:owner/name@revision")
        return Source("hub", name, revision or "main", variant)
    if scheme == "ollama":
        return _ollama_source(text, rest)
    name, _, version = rest.partition("==")
    if not version or not _PACKAGE.match(name):
        raise ValueError(f"{text!r} names no package version; write package:name==1.0")
    return Source("package", name, version)


def _ollama_source(text: str, rest: str) -> Source:
    whole, _, digest = rest.partition("@")
    name, _, tag = whole.partition(":")
    name = name if "/" in name else f"library/{name}"
    if not _REPO.match(name) or ".." in name or not LABEL.fullmatch(tag or "latest"):
        raise ValueError(f"{text!r} names no model of an Ollama registry; write ollama:name:tag")
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f"{text!r} must end in a sha256 of 64 digits, or in nothing")
    return Source("ollama", name, digest, tag or "latest")
