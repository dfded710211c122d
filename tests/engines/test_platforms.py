"""What runs where: by architecture, accelerator and driver, and what an operator gave himself."""

from __future__ import annotations

import pytest

from apps.engines.locks.platforms import HostFacts, cannot_run

OWN = "give an existing path or image"
CUDA_HOST = {"architecture": "x86_64", "has_nvidia": True}


@pytest.mark.parametrize(
    ("host", "cpu", "cuda"),
    [
        (HostFacts(**CUDA_HOST, nvidia_drivers=frozenset(["580.65.06"])), "", ""),
        (HostFacts(), "", ""),
        (HostFacts(**CUDA_HOST, nvidia_drivers=frozenset(["unknown"])), "", ""),
        (
            HostFacts(**CUDA_HOST, nvidia_drivers=frozenset(["525.147.05"])),
            "",
            "driver 525.147.05 is older than CUDA 13.0 needs (580)",
        ),
        (
            HostFacts(architecture="aarch64", has_nvidia=True),
            f"no locked environment for aarch64; {OWN}",
            f"no locked environment for aarch64; {OWN}",
        ),
        (HostFacts("x86_64", has_amd=True), "", f"no locked environment for AMD ROCm; {OWN}"),
        (HostFacts("x86_64", has_amd=True, own=frozenset([("vllm", "cuda")])), "", ""),
        (
            HostFacts("aarch64", has_amd=True, own=frozenset([("vllm", "cuda")])),
            f"no locked environment for aarch64; {OWN}",
            "",
        ),
    ],
)
def test_which_variants_of_an_engine_run_on_a_host(host: HostFacts, cpu: str, cuda: str) -> None:
    refused = cannot_run(host)
    assert (refused.get(("vllm", "cpu"), ""), refused.get(("vllm", "cuda"), "")) == (cpu, cuda)


def test_an_engine_without_a_lock_runs_only_where_an_operator_gave_it() -> None:
    assert cannot_run(HostFacts("x86_64"))["llama-cpp", "cpu"] == f"no locked environment of llama-cpp; {OWN}"
    assert ("llama-cpp", "cpu") not in cannot_run(HostFacts("x86_64", own=frozenset([("llama-cpp", "cpu")])))
