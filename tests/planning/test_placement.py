"""First fit, and the one sentence when nothing fits."""

from __future__ import annotations

import pytest

from apps.planning.placement import Choice, DeviceOffer, HostOffer, Need, Refusal, place

GIB = 2**30


def host(name: str, *free_gib: float, ram: float = 64, total_ram: float = 64, size: float = 24) -> HostOffer:
    devices = [DeviceOffer(i, round(free * GIB), round(size * GIB)) for i, free in enumerate(free_gib)]
    return HostOffer(name, round(ram * GIB), round(total_ram * GIB), devices)


def test_first_host_with_room_and_its_first_gpus_with_room() -> None:
    hosts = [host("a", 0, 24), host("b", 24, 0, 24, 24)]
    assert place(Need(gpus=1, vram_bytes=20 * GIB), hosts) == Choice("a", (1,))
    assert place(Need(gpus=2, vram_bytes=20 * GIB), hosts) == Choice("b", (0, 2))


def test_preferred_host_first_but_only_with_room() -> None:
    hosts = [host("a", 24), host("b", 24), host("c", 0)]
    assert place(Need(gpus=1, preferred_hosts=["c", "b"]), hosts) == Choice("b", (0,))


def test_pinned_host_or_none() -> None:
    hosts = [host("a", 24), host("b", 0)]
    assert place(Need(gpus=1, host="a", preferred_hosts=["b"]), hosts) == Choice("a", (0,))
    refused = place(Need(gpus=1, host="b"), hosts)
    assert isinstance(refused, Refusal)
    assert refused.can_wait


def test_cpu_device_takes_by_ram_and_ignores_gpus() -> None:
    hosts = [host("a", ram=1), host("b", 0, ram=8)]
    assert place(Need(ram_bytes=4 * GIB), hosts) == Choice("b", ())


def test_a_taken_gpu_is_never_given_even_to_a_job_without_a_size() -> None:
    assert isinstance(place(Need(gpus=1), [host("a", 0)]), Refusal)


@pytest.mark.parametrize(
    ("need", "hosts", "reason", "can_wait"),
    [
        (Need(gpus=1), [], "No host is connected.", False),
        (Need(host="x"), [host("a")], "Host x is not connected.", False),
        (Need(gpus=4), [host("a", 24), host("b", 0, 0)], "Needs 4 GPUs on one host; b has 2 GPUs.", False),
        (
            Need(gpus=1, vram_bytes=40 * GIB),
            [host("a", 24)],
            "Needs 40.0 GiB on each GPU; the largest GPU has 24.0 GiB.",
            False,
        ),
        (
            Need(ram_bytes=80 * GIB),
            [host("a")],
            "Needs 80.0 GiB of RAM; a has 64.0 GiB in all.",
            False,
        ),
        (
            Need(gpus=1, ram_bytes=80 * GIB),
            [host("a", 24), host("b", total_ram=128)],
            "No single host has 1 GPU of that size and 80.0 GiB of RAM.",
            False,
        ),
        (
            Need(gpus=2, vram_bytes=20 * GIB),
            [host("a", 24, 3)],
            "Waits for 2 GPUs with 20.0 GiB free; a has 1 GPU free.",
            True,
        ),
        (
            Need(ram_bytes=4 * GIB),
            [host("a", ram=2.1)],
            "Waits for 4.0 GiB of RAM; a has 2.1 GiB free.",
            True,
        ),
        (
            Need(gpus=1, ram_bytes=4 * GIB),
            [host("a", 24, ram=1), host("b", 0)],
            "Waits for a host that has the GPUs and the RAM free at the same time.",
            True,
        ),
    ],
)
def test_refusals_say_what_falls_short(need: Need, hosts: list[HostOffer], reason: str, can_wait: bool) -> None:
    assert place(need, hosts) == Refusal(reason, can_wait)
