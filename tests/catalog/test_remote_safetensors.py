"""Weights by the headers of their files, read by range before any download."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.accounts.problems import Problem
from apps.catalog.choices import offer_of
from apps.catalog.hub_access import NOBODY
from apps.catalog.hub_repository import HubRepository
from apps.catalog.remote_file import Budget
from apps.catalog.remote_safetensors import StoredWeights
from tests.catalog.hub_server import Hub, safetensors, tiny_repo
from tests.factories import api_headers, make_host

pytestmark = pytest.mark.django_db


def file_of(**tensors: tuple[str, int, int]) -> bytes:
    """name=(dtype, elements, bytes)"""
    header, at = {}, 0
    for name, (dtype, elements, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [elements], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


@pytest.fixture(autouse=True)
def reachable(settings: Any) -> None:
    settings.EGRESS_ALLOW = ["localhost"]  # where the Hub keeps large files


@pytest.fixture
def parted(hub: Hub) -> Hub:
    repo = tiny_repo()
    del repo.files["model.safetensors"]
    repo.files["model-00001-of-00002.safetensors"] = file_of(a=("BF16", 1_500_000, 3_000_000), b=("F32", 10, 40))
    repo.files["model-00002-of-00002.safetensors"] = file_of(c=("BF16", 500_000, 1_000_000))
    repo.files["consolidated.safetensors"] = safetensors()  # the same weights once more, under another tool's names
    hub.repos["tiny/parted"] = repo
    return hub


def test_every_dtype_is_counted_and_no_weights_are_fetched(parted: Hub) -> None:
    make_host(gpus=1)
    weights = offer_of("tiny/parted").weights
    assert weights is not None
    assert weights.stored.parameters == 2_000_010
    assert weights.stored.bytes_by_dtype == {"BF16": 4_000_000, "F32": 40}
    files = parted.repos["tiny/parted"].files
    assert weights.stored.file_bytes == sum(len(files[name]) for name in files if name.startswith("model-"))
    ranges = sorted(asked for _, path, asked in parted.requests if path.startswith("/cdn/"))
    assert ranges == ["bytes=0-99999", "bytes=0-99999"]
    (fit,) = weights.fits
    assert fit.estimate is not None
    assert (weights.precision, fit.fits) == ("bf16", True)
    assert fit.parts["weights"] == pytest.approx(weights.stored.file_bytes, rel=0.01)


@pytest.mark.parametrize("damage", [b"\xff" * 8, (2**62).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7) + b"[]"])
def test_a_header_that_lies_is_refused_in_words(hub: Hub, damage: bytes) -> None:
    hub.repos["tiny/model"].files["model.safetensors"] = damage + bytes(1000)
    with pytest.raises(Problem, match="cannot be loaded by its weights"):
        offer_of("tiny/model")


def test_files_without_end_are_not_looked_into(hub: Hub) -> None:
    many = {f"model-{part:05}-of-00201.safetensors": safetensors(100) for part in range(1, 202)}
    hub.repos["tiny/model"].files |= {"model.safetensors": b""} | many
    del hub.repos["tiny/model"].files["model.safetensors"]
    assert offer_of("tiny/model").weights is None
    assert not [path for _, path, _ in hub.requests if path.startswith("/cdn/")]


def look(budget: Budget) -> StoredWeights:
    repository = HubRepository("tiny/parted", "", NOBODY, budget=budget)
    stored = repository.stored_weights(repository.describe()[0])
    assert stored is not None
    return stored


def test_one_look_reads_so_many_bytes_and_says_what_it_did_not(parted: Hub) -> None:
    sizes = {name: len(data) for name, data in parted.repos["tiny/parted"].files.items() if name.startswith("model-")}
    whole = look(Budget(most_bytes=1_000_000))
    assert (whole.not_read_files, whole.not_read_bytes, whole.parameters) == (0, 0, 2_000_010)
    parted.requests.clear()
    nothing = look(Budget(most_bytes=0))
    assert not [path for _, path, _ in parted.requests if path.startswith("/cdn/")], "a spent budget asks for nothing"
    assert (nothing.not_read_files, nothing.not_read_bytes) == (2, sum(sizes.values()))
    assert (nothing.file_bytes, nothing.parameters) == (sum(sizes.values()), 0)


def test_a_header_without_end_is_not_held(parted: Hub) -> None:
    """25 MB of empty lists would become 640 MB of them."""
    header = b'{"a":[' + b"[]," * 8_000_000 + b"0]}"
    name = "model-00002-of-00002.safetensors"
    parted.repos["tiny/parted"].files[name] = len(header).to_bytes(8, "little") + header
    tracemalloc.start()
    try:
        stored = look(Budget())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (stored.not_read_files, stored.parameters) == (1, 1_500_010)
    assert peak < 64 * 2**20  # this Hub's own copies of the file among it


def test_a_server_that_stops_sending_ends_the_look_in_time(parted: Hub) -> None:
    parted.freeze_after = 10
    began = time.monotonic()
    stored = look(Budget(seconds=0.5))
    parted.thaw.set()
    assert time.monotonic() - began < 10, "each file would have waited as long by itself"
    assert stored.not_read_files == 2


def test_what_was_not_read_is_said_with_its_size(
    parted: Hub, alice: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_host(gpus=1)
    monkeypatch.setattr("apps.catalog.hub.Budget", lambda: Budget(most_bytes=0))
    client.force_login(alice)
    page = client.get("/models/import?look=tiny/parted", headers={"HX-Request": "true"}).text
    assert "<p>2 files not read, 4 MB in size. No weights were fetched" in page
    assert "Fits" in page, "config.json and the sizes of the files are enough for an estimate"
    said = client.get("/api/v1/models/choices?source_ref=tiny/parted", headers=api_headers(alice)).json()["weights"]
    assert (said["not_read_files"], said["precision"], said["fits"][0]["verdict"]) == (2, "bf16", "fits")


@pytest.mark.parametrize(
    "odd", [{"quantization_config": {"quant_method": 5}}, {"torch_dtype": {"a": 1}}, {"quantization_config": "gptq"}]
)
@pytest.mark.parametrize("read_bytes", [0, 1_000_000])
def test_a_config_with_an_odd_precision_is_offered(
    parted: Hub, alice: User, client: Client, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any], read_bytes: int
) -> None:
    make_host(gpus=1)
    monkeypatch.setattr("apps.catalog.hub.Budget", lambda: Budget(most_bytes=read_bytes))
    files = parted.repos["tiny/parted"].files
    config = {key: value for key, value in json.loads(files["config.json"]).items() if key != "torch_dtype"}
    files["config.json"] = json.dumps(config | odd).encode()
    answer = client.get("/api/v1/models/choices?source_ref=tiny/parted", headers=api_headers(alice))
    assert answer.status_code == 200
    is_known = "torch_dtype" in odd and read_bytes > 0
    assert answer.json()["weights"]["precision"] == ("bf16" if is_known else "")


def test_the_page_and_rest_say_what_fits_before_the_download(parted: Hub, alice: User, client: Client) -> None:
    make_host(gpus=1)
    client.force_login(alice)
    part = client.get("/models/import?look=tiny/parted", headers={"HX-Request": "true"}).text
    assert "from file headers" in part
    assert "of BF16" in part
    assert "Fits" in part
    assert "<html" not in part
    assert "names no repository" in client.get("/models/import?look=no+such+thing").text
    said = client.get("/api/v1/models/choices?source_ref=tiny/parted", headers=api_headers(alice)).json()["weights"]
    assert (said["parameters"], said["precision"], said["fits"][0]["verdict"]) == (2_000_010, "bf16", "fits")
