"""GPUs as people write them: read whole, or refused in words."""

from __future__ import annotations

import pytest

from apps.planning import fit_lines, train_lines
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


@pytest.mark.parametrize("text", ["banana 80GB", "Apple M3 Max 64GB", "my own 24GB"])
def test_a_size_does_not_make_an_unknown_name_known(text: str) -> None:
    with pytest.raises(CannotEstimate, match=f"GPU '{text}' is not known"):
        read_gpu(text)
    told = read_gpu(text, 48)
    assert (told.usable_bytes, told.is_doubtful) == (48 * 2**30, False)
    assert "only its memory counts" in told.note


@pytest.mark.parametrize(
    "text", ["24GB", "24 GB class", "24/32GB class", "consumer 16GB card", "unknown 24GB", "2x24GB"]
)
def test_a_mere_size_needs_no_name(text: str) -> None:
    found = read_gpu(text)
    assert (found.kind, found.note, found.is_doubtful) == (None, "", False)


@pytest.mark.parametrize("text", ["Ascend 910B 64GB", "GTX 1080 Ti 11GB", "Gaudi 3 128GB"])
def test_a_makers_type_without_a_row_counts_by_its_size_and_is_doubtful(text: str) -> None:
    assert read_gpu(text).is_doubtful
    serving = fit_lines.answer_line({"model_id": "Qwen3-0.6B", "gpu": text, "max_model_len": 1024})
    training = train_lines.answer_line({"model_id": "Qwen3-0.6B", "gpu": text})
    for answer in (serving, training):
        assert (answer["fits"], answer["confidence"]) == (True, "low")
        assert any("Whether the engine runs on it is not checked" in note for note in answer["notes"])


@pytest.mark.parametrize(("text", "has"), [("L4 80GB", 24), ("T4 80GB", 16), ("RTX 4090 80GB", 24)])
def test_a_size_that_the_type_does_not_have_is_doubtful(text: str, has: int) -> None:
    found = read_gpu(text)
    assert found.is_doubtful
    assert f"has {has} GB; this is for the 80 GB that were named" in found.note
    assert "this is for the 80.0 that were given" in read_gpu("L4", 80).note
    assert read_gpu("L4", 20).note == ""


def test_types_of_two_sizes_keep_their_bandwidth() -> None:
    small, large = read_gpu("RTX 4060 Ti 8GB"), read_gpu("RTX 4060 Ti")
    assert small.kind is not None
    assert large.kind is not None
    assert (small.kind.key, small.note, large.kind.key) == ("rtx-4060-ti-8", "", "rtx-4060-ti")
    assert "8 or 16 GB; this is for 16 GB. Say which, as in 'RTX 4060 Ti 16 GB'" in large.note


def test_remarks_in_brackets_name_no_other_type() -> None:
    found = read_gpu("RTX PRO 6000 (emulating A40, budget 40.47 GiB)")
    assert found.kind is not None
    assert found.kind.key == "rtx-pro-6000"
    assert read_gpu("A100 (40 GB HBM2)").usable_bytes < 40 * 2**30


@pytest.mark.parametrize("text", ["A100 MIG 1g.500gb", "L4 MIG 1g.5gb", "A100 80GB MIG 1g.5gb", "MIG 5g.5gb"])
def test_a_mig_profile_that_the_type_lacks_is_refused(text: str) -> None:
    with pytest.raises(CannotEstimate, match=r"has the MIG profile .*give gpu_memory_gib"):
        read_gpu(text)
    assert read_gpu(text, 9.5).usable_bytes == 9.5 * 2**30


@pytest.mark.parametrize(
    ("text", "bandwidth", "flops", "price"),
    [("H100 MIG 1g.10gb", 1 / 8, 1 / 7, 1 / 7), ("H100 MIG 3g.40gb", 4 / 8, 3 / 7, 3 / 7),
     ("H100 MIG 1g.20gb", 2 / 8, 1 / 7, 1 / 7)],
)  # fmt: skip
def test_a_slice_has_its_part_of_the_gpu(text: str, bandwidth: float, flops: float, price: float) -> None:
    """NVIDIA MIG User Guide, "Supported MIG Profiles": memory in eighths, compute in sevenths."""
    whole, part = read_gpu("H100").kind, read_gpu(text).kind
    assert whole is not None
    assert part is not None
    for of_part, of_whole, share in (
        (part.bandwidth, whole.bandwidth, bandwidth),
        (part.bf16_flops, whole.bf16_flops, flops),
        (part.hour_price, whole.hour_price, price),
    ):
        assert of_part == pytest.approx((of_whole or 0) * share)


def test_a_slice_answers_at_its_own_speed() -> None:
    asked = {"model_id": "Qwen3-0.6B", "max_model_len": 1024}
    whole, part = (fit_lines.answer_line({**asked, "gpu": gpu}) for gpu in ("A100 40GB", "A100 MIG 1g.5gb"))
    assert part["decode_tokens_per_s"] < whole["decode_tokens_per_s"] / 2
    assert part["prefill_tokens_per_s"] == pytest.approx(whole["prefill_tokens_per_s"] / 7, rel=0.01)
    train = train_lines.answer_line({"model_id": "Qwen3-0.6B", "gpu": "A100 80GB MIG 1g.10gb"})
    assert (train["tokens_per_s_per_gpu"], train["cost_usd"]) == (None, None)


def test_a_count_in_two_places_must_agree() -> None:
    asked = {"model_id": "Llama-3.1-8B", "gpu": "8xH100", "method": "full"}
    assert train_lines.answer_line(asked) == train_lines.answer_line({**asked, "gpus": 8})
    with pytest.raises(CannotEstimate, match="gpu names 8 of them, gpus says 2; write the count in gpus"):
        train_lines.answer_line({**asked, "gpus": 2})
