"""GPUs as people write them: read whole, or refused in words."""

from __future__ import annotations

import pytest

from apps.planning import train_lines
from apps.planning.gpu_memory import read_gpu
from apps.planning.shapes import CannotEstimate


@pytest.mark.parametrize(
    ("text", "key", "count"),
    [
        ("H100x8", "h100-sxm", 8), ("H100 x8", "h100-sxm", 8), ("8xA100 80GB", "a100-sxm-80", 8),
        ("8 H100", "h100-sxm", 8),
        ("H100 (8 GPUs)", "h100-sxm", 8), ("2x4090", "rtx-4090", 2), ("8x MI300X", "mi300x", 8),
        ("MI300X", "mi300x", 1),
        ("RTX 4090", "rtx-4090", 1), ("H100 NVL", "h100-nvl", 1), ("H200", "h200-sxm", 1), ("B200", "b200", 1),
        ("L40S", "l40s", 1), ("RTX PRO 6000", "rtx-pro-6000", 1), ("2080Ti 22GB (TP2 inferred)", "2080ti", 1),
        ("A10G", "a10g", 1), ("NVIDIA A10G", "a10g", 1), ("4x A10G", "a10g", 4),
        ("A100 40G", "a100-sxm-40", 1), ("a100-80g", "a100-sxm-80", 1), ("8x A100 40G", "a100-sxm-40", 8),
        ("4090D", "rtx-4090", 1), ("RTX 4090 D", "rtx-4090", 1), ("RTX 8000", "quadro-rtx-8000", 1),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop", 1), ("RTX 5090 mobile", "rtx-5090-laptop", 1),
    ],
)  # fmt: skip
def test_type_and_count_are_read(text: str, key: str, count: int) -> None:
    found = read_gpu(text)
    assert found.kind is not None
    assert (found.kind.key, found.count) == (key, count)


def test_a_count_before_a_size_is_no_part_of_it() -> None:
    one, two = read_gpu("24GB"), read_gpu("2x24GB")
    assert (two.count, two.usable_bytes) == (2, one.usable_bytes)


def test_a_laptops_gpu_is_not_its_namesake() -> None:
    laptop, desktop = read_gpu("RTX 4090 Laptop"), read_gpu("RTX 4090")
    assert laptop.usable_bytes < 16.1 * 2**30 < desktop.usable_bytes
    assert laptop.kind is not None
    assert desktop.kind is not None
    assert laptop.kind.bandwidth < 0.6 * desktop.kind.bandwidth
    with pytest.raises(CannotEstimate, match="RTX 3080 Laptop"):
        read_gpu("RTX 3080 Laptop")


@pytest.mark.parametrize("text", ["-5GB", "0GB", "1e9GB", "99999GB", "H100 0GB", "H100 -5GB", "H100 1e9GB"])
def test_a_size_that_no_gpu_has_is_refused(text: str) -> None:
    with pytest.raises(CannotEstimate, match="states a size that no GPU has"):
        read_gpu(text)


def test_a_name_of_two_sizes_says_which_was_taken() -> None:
    assert "40 or 80 GB; this is for 80 GB" in read_gpu("A100").note
    for text in ("A100 80GB", "A100 40GB", "A100-SXM4-80GB", "H100", "A100 MIG 1g.5gb"):
        assert read_gpu(text).note == ""
    assert read_gpu("A100", 39.5).note == ""


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(CannotEstimate, match="Did you mean RTX 4090"):
        read_gpu("RTX 4O90")
    with pytest.raises(CannotEstimate, match="shares the Mac's memory"):
        read_gpu("Apple M3 Max")
    assert read_gpu("Apple M3 Max", 48).usable_bytes == 48 * 2**30


def test_a_count_in_two_places_must_agree() -> None:
    asked = {"model_id": "Llama-3.1-8B", "gpu": "8xH100", "method": "full"}
    assert train_lines.answer_line(asked) == train_lines.answer_line({**asked, "gpus": 8})
    with pytest.raises(CannotEstimate, match="gpu names 8 of them, gpus says 2; write the count in gpus"):
        train_lines.answer_line({**asked, "gpus": 2})
