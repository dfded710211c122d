"""Which weights of a Hub repository are meant, and what a GGUF file's header says, read by range."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass

from huggingface_hub import get_session
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from apps.accounts.problems import Problem, invalid
from apps.engines.file_headers import BadHeader
from apps.engines.gguf_header import GgufHeader, read_gguf
from apps.engines.repository_files import REFUSED, GgufChoice, formats_of, gguf_choices

HEADER_SECONDS = 60.0
BLOCK_BYTES = 1_000_000  # a header is read in pieces of this size; most end within ten
SHOWN_CHOICES = 12


@dataclass(frozen=True)
class Weights:
    """`variant` and `files` are those of a GGUF quantisation; empty for safetensors."""

    size_bytes: int
    variant: str = ""
    files: tuple[str, ...] = ()


def chosen_weights(repo: str, sizes: Mapping[str, int], variant: str) -> Weights:
    """Safetensors where there are any and nothing else is asked for; the only quantisation where there is one.

    Raises Problem 422: on `variant` where a person must choose, on `source_ref` where nothing can be served.
    """
    choices = gguf_choices(sizes)
    if variant:
        return _of(_named(repo, choices, variant))
    formats = formats_of(sizes)
    if "safetensors" in formats:
        return Weights(formats["safetensors"])
    if len(choices) == 1:
        return _of(choices[0])
    if choices:
        raise _must_choose(repo, choices)
    raise _cannot_serve(repo, sizes)


def _of(choice: GgufChoice) -> Weights:
    return Weights(choice.size_bytes, choice.label, choice.files)


def _named(repo: str, choices: list[GgufChoice], variant: str) -> GgufChoice:
    found = next((each for each in choices if each.label.lower() == variant.lower()), None)
    if found is None:
        message = f"{repo} has no GGUF quantisation {variant}. It has {_listed(choices) or 'none'}."
        raise invalid("variant", message, value=variant)
    return found


def _must_choose(repo: str, choices: list[GgufChoice]) -> Problem:
    return invalid("variant", f"{repo} holds {len(choices)} GGUF quantisations: {_listed(choices)}. Choose one.")


def _listed(choices: list[GgufChoice]) -> str:
    shown = ", ".join(f"{each.label} ({_size(each.size_bytes)})" for each in choices[:SHOWN_CHOICES])
    more = len(choices) - SHOWN_CHOICES
    return f"{shown} and {more} more" if more > 0 else shown


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, count / 1e6):.0f} MB"


def _cannot_serve(repo: str, sizes: Mapping[str, int]) -> Problem:
    known = [REFUSED[kind] for kind in formats_of(sizes) if kind in REFUSED]
    found = f"It holds {'; and '.join(known)}." if known else "It holds no model weights that are known."
    message = f"{repo} has no .safetensors and no whole .gguf file. {found}"
    return invalid("source_ref", message, value=repo)


def read_remote_gguf(url: str, token: str | bool, size_bytes: int) -> GgufHeader:
    """The header alone: as many pieces as it takes. Raises BadHeader, and what asking a Hub may raise."""
    return read_gguf(_RemoteFile(url, token, size_bytes), size_bytes)  # type: ignore[arg-type]


class _RemoteFile(io.RawIOBase):
    """Reads forward through a file on a Hub, one block at a time."""

    def __init__(self, url: str, token: str | bool, size_bytes: int) -> None:
        super().__init__()
        self._url, self._headers, self._size = url, build_hf_headers(token=token), size_bytes
        self._at, self._block_begins, self._block = 0, 0, b""
        self._deadline = time.monotonic() + HEADER_SECONDS

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while len(found) < size and self._at < self._size:
            begin = self._at - self._block_begins
            if not 0 <= begin < len(self._block):
                self._fetch()
                begin = 0
                if not self._block:
                    break
            piece = self._block[begin : begin + size - len(found)]
            found += piece
            self._at += len(piece)
        return bytes(found)

    def _fetch(self) -> None:
        """Raises BadHeader where the Hub sends the whole file, or takes too long for a few megabytes."""
        end = min(self._at + BLOCK_BYTES, self._size) - 1
        asked = self._headers | {"Range": f"bytes={self._at}-{end}"}
        with get_session().stream("GET", self._url, headers=asked) as answer:
            if answer.is_error:
                answer.read()
            hf_raise_for_status(answer)
            if answer.status_code != 206:
                raise BadHeader("The Hub sends no part of a file, only the whole.")
            held = bytearray()
            for piece in answer.iter_bytes():
                held += piece
                if len(held) >= BLOCK_BYTES:
                    break
                if time.monotonic() > self._deadline:
                    raise BadHeader(f"The Hub did not send its header within {HEADER_SECONDS:g} s.")
        self._block_begins, self._block = self._at, bytes(held[:BLOCK_BYTES])
