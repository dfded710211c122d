"""GPU types are told apart by the names that drivers really give."""

from __future__ import annotations

import pytest

from apps.planning.gpu_types import GPU_TYPES, gpu_type, gpu_type_of, mig_share

MIB = 2**20
SEEN = [  # name and MiB as NVML or amdsmi report them
    ("NVIDIA H100 80GB HBM3", 81_559, "h100-sxm"),
    ("NVIDIA H100 PCIe", 81_559, "h100-pcie"),
    ("NVIDIA H100 NVL", 95_830, "h100-nvl"),
    ("NVIDIA H200", 143_771, "h200-sxm"),
    ("NVIDIA GH200 480GB", 97_871, "gh200-96"),
    ("NVIDIA A100-SXM4-80GB", 81_920, "a100-sxm-80"),
    ("NVIDIA A100-SXM4-40GB", 40_960, "a100-sxm-40"),
    ("NVIDIA A100-PCIE-40GB", 40_960, "a100-pcie-40"),
    ("NVIDIA A100 80GB PCIe", 81_920, "a100-pcie-80"),
    ("NVIDIA L40S", 46_068, "l40s"),
    ("NVIDIA L40", 46_068, "l40"),
    ("NVIDIA L4", 23_034, "l4"),
    ("NVIDIA A40", 46_068, "a40"),
    ("NVIDIA A10", 23_028, "a10"),
    ("NVIDIA RTX 6000 Ada Generation", 49_140, "rtx-6000-ada"),
    ("NVIDIA RTX A6000", 49_140, "rtx-a6000"),
    ("NVIDIA GeForce RTX 4090", 24_564, "rtx-4090"),
    ("Tesla V100-SXM2-16GB", 16_384, "v100-16"),
    ("Tesla T4", 15_360, "t4"),
    ("AMD Instinct MI300X OAM", 196_592, "mi300x"),
    ("AMD Instinct MI250X", 65_520, "mi250x"),
    ("NVIDIA GH200 144G HBM3e", 146_831, "gh200-144"),
    ("NVIDIA GeForce RTX 4070 Ti SUPER", 16_376, "rtx-4070-ti-super"),
    ("NVIDIA GeForce RTX 4070 Ti", 12_282, "rtx-4070-ti"),
    ("NVIDIA TITAN RTX", 24_576, "titan-rtx"),
    ("NVIDIA L20", 46_068, "l20"),
]


@pytest.mark.parametrize(("name", "memory_mib", "key"), SEEN)
def test_driver_names_find_their_type(name: str, memory_mib: int, key: str) -> None:
    found = gpu_type_of(name, memory_mib * MIB)
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("name", ["NVIDIA A100X", "NVIDIA GeForce GTX 1080", "NVIDIA RTX 4500 Ada Generation", ""])
def test_a_type_that_is_not_in_the_table_is_not_guessed(name: str) -> None:
    assert gpu_type_of(name) is None


def test_memory_that_does_not_agree_is_another_type() -> None:
    assert gpu_type_of("NVIDIA H100 80GB HBM3", 10 * 2**30) is None


def test_every_row_says_its_source_and_every_price_who_asks_it() -> None:
    assert len({row.key for row in GPU_TYPES}) == len(GPU_TYPES)
    for row in GPU_TYPES:
        assert row.source
        assert (row.hour_price is None) == (not row.price_source)
        assert row.fp8_flops is None or row.bf16_flops is None or 1.9 < row.fp8_flops / row.bf16_flops < 2.1
        assert gpu_type(row.key) is row


def test_a_mig_slice_is_its_sevenths_of_the_gpu() -> None:
    assert (mig_share("3g.40gb"), mig_share("")) == (3 / 7, 1.0)
