"""One repository of a Hugging Face Hub: its description, its small texts, and the shape of its weights.

The Hub is HF_ENDPOINT, as the official client reads it. All requests go through the egress client; the endpoint's own
host may be private, because the operator named it.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import get_session, hf_hub_url, set_client_factory
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    build_hf_headers,
    hf_raise_for_status,
    validate_repo_id,
)

from apps.accounts.hub_tokens import HubCredential
from apps.catalog.card_scores import MOST_CHARACTERS
from apps.catalog.hub_access import BadConfig, endpoint
from apps.catalog.hub_weights import Weights
from apps.catalog.remote_file import BLOCK_BYTES as GGUF_BLOCK_BYTES
from apps.catalog.remote_file import LOOK_BYTES, Budget, NotRead, RemoteFile
from apps.catalog.remote_safetensors import (
    BLOCK_BYTES,
    MOST_FILES,
    MOST_HEADER_BYTES,
    StoredWeights,
    not_read,
    sum_of_file,
    sum_of_files,
)
from apps.catalog.remote_text import TEXT_LIMIT_BYTES, read_text
from apps.catalog.source_problems import unreachable, web_patience
from apps.engines.gguf_config import config_from_gguf
from apps.engines.gguf_header import read_gguf
from apps.engines.patience import Patience
from apps.engines.repository_files import CODE_NAMING, CONFIG, MOST_CODE_NAMING_BYTES, names_code, weight_files
from apps.engines.safetensors_header import read_safetensors
from apps.fleet.egress import egress_client

# What is read of a repository's description, and of its card's metadata.
_READ_KEYS = (
    "id", "author", "sha", "gated", "private", "pipeline_tag", "library_name", "downloads", "siblings", "tags",
)  # fmt: skip
_CARD_KEYS = ("license", "license_name", "language", "base_model", "base_model_relation")
MOST_CONFIG_BYTES = 4_000_000
AT_ONCE = 4  # headers of weight files
MOST_EVAL_RESULTS = 10  # files of a repository
_EVAL_RESULTS = re.compile(r"\.eval_results/[^/]+\.yaml")


def ask_through_egress() -> None:
    """Every request that huggingface_hub makes in this process goes through the egress client."""
    set_client_factory(lambda: egress_client(allow_hosts=[urlsplit(endpoint()).hostname or ""]))


def file_sizes(info: ModelInfo) -> dict[str, int]:
    """Bytes by path."""
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


@dataclass(frozen=True)
class HubRepository:
    """A repository at a revision (empty: main), asked with one credential.

    Its methods raise what the Hub's client raises, BadHeader for a damaged GGUF file, BadConfig for a
    damaged config.json, and Problem 503 for a description that cannot be read.
    """

    repo: str
    revision: str
    credential: HubCredential
    patience: Patience = field(default_factory=web_patience)
    budget: Budget = field(default_factory=Budget)  # of headers, from now on

    def describe(self) -> tuple[ModelInfo, Any]:
        """What the Hub says of it. The scores of its card are given apart, unread: the client's own reading of a card
        stops with an error at the first one that is malformed."""
        validate_repo_id(self.repo)
        at = f"/revision/{quote(self.revision, safe='')}" if self.revision else ""
        address = f"{endpoint()}/api/models/{self.repo}{at}"
        answer = self.patience.hear(lambda: self._get(address, {"blobs": True}))
        try:
            said = answer.json()
            card = said.get("cardData") if isinstance(said.get("cardData"), dict) else {}
            known = {key: said[key] for key in _READ_KEYS if key in said}
            read = {key: card[key] for key in _CARD_KEYS if key in card}
            info = ModelInfo(**known, cardData=read)  # type: ignore[no-untyped-call]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            message = f"{endpoint()} describes {self.repo} in a way that cannot be read. Try again later."
            raise unreachable("Hub", message) from None
        return info, said.get("model-index") or card.get("model-index")

    def text(self, name: str, commit: str, *, most_bytes: int = TEXT_LIMIT_BYTES) -> str:
        """A small text file of that commit; empty where it has none. Its time is that of `read_text`."""
        try:
            address = self._address(name, commit)
            return self.patience.hear(
                lambda: read_text(get_session(), address, self._headers(), hf_raise_for_status, most_bytes)
            )
        except EntryNotFoundError:
            return ""

    def eval_results(self, info: ModelInfo) -> list[str]:
        """Its files of evaluation results, as many as are worth a request each."""
        sizes = file_sizes(info)
        names = [name for name in sizes if _EVAL_RESULTS.fullmatch(name) and sizes[name] <= MOST_CHARACTERS]
        return [self.text(name, info.sha or "") for name in sorted(names)[:MOST_EVAL_RESULTS]]

    def config(self, info: ModelInfo, weights: Weights) -> dict[str, Any]:
        """What llama.cpp goes by is the file's own header; everything else reads config.json."""
        commit = info.sha or ""
        if not weights.files:
            return _config(self.text(CONFIG, commit, most_bytes=MOST_CONFIG_BYTES + 1) or "{}")
        name = weights.files[0]
        size = file_sizes(info)[name]
        header = self.patience.hear(lambda: read_gguf(self._file(name, commit, size), size))
        return config_from_gguf(header)

    def needs_code(self, info: ModelInfo, config: dict[str, Any]) -> bool:
        """Whether its config, tokenizer or processor names Python of a repository."""
        if "auto_map" in config:
            return True
        beside = [name for name in CODE_NAMING if name in file_sizes(info)]
        texts = (self.text(name, info.sha or "", most_bytes=MOST_CODE_NAMING_BYTES) for name in beside)
        return any(map(names_code, texts))

    def stored_weights(self, info: ModelInfo) -> StoredWeights | None:
        """By the headers of its safetensors, as far as the budget goes; None without any, or with more than are
        looked into."""
        sizes, commit = file_sizes(info), info.sha or ""

        def read(name: str) -> StoredWeights:
            self.budget.check()  # also after a wait
            file = self._file(name, commit, sizes[name], block_bytes=BLOCK_BYTES, most_bytes=MOST_HEADER_BYTES)
            return sum_of_file(read_safetensors(file, sizes[name]), sizes[name])

        def read_or_not(name: str) -> StoredWeights:
            try:
                return self.patience.hear(lambda: read(name))
            except (NotRead, httpx2.TimeoutException):
                return not_read(sizes[name])

        names = weight_files(sizes)
        if not 1 <= len(names) <= MOST_FILES:
            return None
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum_of_files(pool.map(read_or_not, names))

    def _file(
        self,
        name: str,
        commit: str,
        size_bytes: int,
        *,
        block_bytes: int = GGUF_BLOCK_BYTES,
        most_bytes: int = LOOK_BYTES,
    ) -> BinaryIO:
        address = self._address(name, commit)
        return RemoteFile(  # type: ignore[return-value]
            get_session(),
            address,
            size_bytes,
            headers=self._headers(),
            check=hf_raise_for_status,
            budget=self.budget,
            block_bytes=block_bytes,
            most_bytes=most_bytes,
        )

    def _get(self, address: str, params: dict[str, Any]) -> httpx2.Response:
        answer = get_session().get(address, params=params, headers=self._headers(), timeout=15)
        hf_raise_for_status(answer)
        return answer

    def _address(self, name: str, commit: str) -> str:
        return hf_hub_url(self.repo, name, revision=commit, endpoint=endpoint())

    def _headers(self) -> dict[str, str]:
        return build_hf_headers(token=self.credential.token or False)


def _config(text: str) -> dict[str, Any]:
    if len(text) > MOST_CONFIG_BYTES:
        raise BadConfig(f"it has more than {MOST_CONFIG_BYTES:,} bytes, and no model's comes near that.")
    try:
        config = json.loads(text)
    except json.JSONDecodeError:
        raise BadConfig("it is not valid JSON.") from None
    except ValueError:
        raise BadConfig("it has a number of more digits than are read.") from None
    except RecursionError:
        raise BadConfig("it is nested too deep.") from None
    return config if isinstance(config, dict) else {}
