"""Asks an Ollama registry what a model's tag holds, before anything is downloaded.

The registry is OLLAMA_REGISTRY. A tag moves, so what it names now is pinned by the weights' own digest. Protocol: the
OCI distribution specification's manifests and blobs, with media types of ollama/ollama (server/images.go).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from apps.accounts.problems import Problem
from apps.catalog.remote_file import Budget, RemoteFile
from apps.catalog.remote_text import read_text
from apps.catalog.source_problems import refused, slowed_down, unreachable, web_patience
from apps.engines.file_headers import BadHeader
from apps.engines.gguf_config import config_from_gguf
from apps.engines.gguf_header import read_gguf
from apps.engines.sources import ollama_registry
from apps.fleet.egress import EgressRefused, egress_client

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
WEIGHTS, LICENCE = "application/vnd.ollama.image.model", "application/vnd.ollama.image.license"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LICENCES = (
    (r"Apache License", "apache-2.0"), (r"^\s*MIT License|Permission is hereby granted, free of charge", "mit"),
    (r"LLAMA ([\d.]+) COMMUNITY LICENSE", "llama{}"), (r"Gemma Terms of Use", "gemma"),
    (r"Qwen (?:RESEARCH )?LICENSE", "qwen"), (r"DEEPSEEK LICENSE", "deepseek"),
)  # fmt: skip


@dataclass(frozen=True)
class OllamaFacts:
    """What a tag names now."""

    digest: str  # sha256 of the weights, without its prefix
    size_bytes: int
    license: str
    config: dict[str, Any]  # as the GGUF header says it


def read_ollama(name: str, tag: str) -> OllamaFacts:
    """Raises Problem naming the field and the next step."""
    asked, registry = f"{name}:{tag}", ollama_registry()
    with egress_client(allow_hosts=[urlsplit(registry).hostname or ""]) as client:
        try:
            return web_patience().hear(lambda: _read(client, name, tag))
        except BadHeader as error:
            raise refused(f"{asked} cannot be loaded by its weights: {error}", asked) from error
        except EgressRefused as error:
            raise refused(str(error), asked) from error
        except httpx2.HTTPStatusError as error:
            raise _answered(error, asked) from error
        except (httpx2.HTTPError, ValueError) as error:
            message = f"{registry} cannot be reached ({str(error)[:200]}). Try later."
            raise unreachable("Registry", message) from error


def _read(client: httpx2.Client, name: str, tag: str) -> OllamaFacts:
    layers = _layers(client, name, tag)
    weights = _weights(layers, f"{name}:{tag}")
    digest, size = weights["digest"], weights["size"]
    url = f"{ollama_registry()}/v2/{name}/blobs/{digest}"
    file = RemoteFile(client, url, size, headers={}, check=httpx2.Response.raise_for_status, budget=Budget())
    header = read_gguf(file, size)  # type: ignore[arg-type]
    license = _license(client, name, layers)
    return OllamaFacts(digest.removeprefix("sha256:"), size, license, config_from_gguf(header))


def _layers(client: httpx2.Client, name: str, tag: str) -> list[dict[str, Any]]:
    """Raises ValueError for an answer that is no manifest."""
    url = f"{ollama_registry()}/v2/{name}/manifests/{tag}"
    text = read_text(client, url, {"Accept": MANIFEST}, httpx2.Response.raise_for_status)
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or its beginning only
        manifest = None
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list):
        raise ValueError("its answer is no manifest")
    return [
        layer
        for layer in layers
        if isinstance(layer, dict)
        and _DIGEST.fullmatch(str(layer.get("digest")))
        and type(layer.get("size")) is int
        and layer["size"] > 0
    ]


def _weights(layers: list[dict[str, Any]], asked: str) -> dict[str, Any]:
    found = [layer for layer in layers if layer.get("mediaType") == WEIGHTS]
    if len(found) != 1:
        raise refused(f"{asked} holds {len(found)} weight files; one GGUF file can be imported.", asked)
    return found[0]


def _license(client: httpx2.Client, name: str, layers: list[dict[str, Any]]) -> str:
    """The name of the first licence text; its first line where the text is not a known one."""
    layer = next((each for each in layers if each.get("mediaType") == LICENCE), None)
    if layer is None:
        return ""
    url = f"{ollama_registry()}/v2/{name}/blobs/{layer['digest']}"
    text = read_text(client, url, {}, httpx2.Response.raise_for_status)
    for pattern, known in _LICENCES:
        if found := re.search(pattern, text, re.I):
            return known.format(*found.groups())
    return next((line.strip()[:80] for line in text.splitlines() if line.strip()), "")


def _answered(error: httpx2.HTTPStatusError, asked: str) -> Problem:
    status = error.response.status_code
    if status == 429:
        return slowed_down("Registry", ollama_registry(), error)
    if status == 404:
        return refused(f"{asked} is not in {ollama_registry()}. Write name:tag, such as llama3.2:3b.", asked)
    if status in (401, 403):
        return refused(f"{ollama_registry()} lets nobody without an account read {asked} ({status}).", asked)
    return unreachable("Registry", f"{ollama_registry()} answered {status} for {asked}. Try again later.")
