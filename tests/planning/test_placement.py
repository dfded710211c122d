"""Which host and GPUs a job gets, and the one sentence when it gets none."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from apps.planning.placement import Choice, DeviceOffer, HostOffer, Need, Refusal, has_room, place, taken_from

GIB = 2**30


def host(
    name: str, *free: int, ram: float = 64, total_ram: float = 64, size: float = 24, pairs: bool = False
) -> HostOffer:
    """GPUs of `size` GiB, one for each number: 1 is free, 0 is taken. With `pairs`, 0-1, 2-3 ... are joined."""
    devices = tuple(
        DeviceOffer(i, round(size * GIB), one, linked=frozenset([i ^ 1] if pairs else [])) for i, one in enumerate(free)
    )
    return HostOffer(name, round(ram * GIB), round(total_ram * GIB), devices)


def choice(answer: Choice | Refusal) -> tuple[str, tuple[int, ...]]:
    assert isinstance(answer, Choice), answer
    return answer.host, answer.devices


def test_the_fullest_host_that_fits_and_the_emptiest_by_choice() -> None:
    hosts = [host("a", 1, 1, 1, 1), host("b", 0, 1, 0, 0), host("c", 1, 1, 0, 0)]
    assert choice(place(Need(gpus=1), hosts)) == ("b", (1,))
    assert choice(place(Need(gpus=2), hosts)) == ("c", (0, 1))
    assert choice(place(Need(gpus=1, spread=True), hosts)) == ("a", (0,))


def test_the_smallest_gpus_that_suffice_so_that_large_ones_stay_free() -> None:
    hosts = [host("a", 1, size=80), host("b", 1, 1, 1, size=24), host("c", 1, 1, size=48)]
    assert choice(place(Need(gpus=1, vram_bytes=20 * GIB), hosts))[0] == "b"
    assert choice(place(Need(gpus=1, vram_bytes=40 * GIB), hosts))[0] == "c"
    assert choice(place(Need(gpus=1, vram_bytes=60 * GIB), hosts))[0] == "a"
    mixed = HostOffer("m", 0, 0, (DeviceOffer(0, 80 * GIB), DeviceOffer(1, 24 * GIB)))
    assert choice(place(Need(gpus=1, vram_bytes=20 * GIB), [mixed])) == ("m", (1,))


def test_an_engine_that_takes_a_share_gets_the_slots_that_it_covers_of_a_gpu_that_is_large_enough() -> None:
    split = HostOffer("s", 0, 0, (DeviceOffer(0, 80 * GIB, free_slots=4, slots=4),))

    def slots(share: float, size: int = 0) -> tuple[int, ...]:
        answer = place(Need(gpus=1, vram_bytes=size * GIB, gpu_share=share), [split])
        assert isinstance(answer, Choice), answer
        return answer.slots

    assert [slots(share) for share in (0.2, 0.25, 0.5, 0.9, 1.0)] == [(1,), (2,), (3,), (4,), (4,)]
    assert slots(0.2, 80) == (1,), "the size is the whole GPU's, not the slot's"
    refused = place(Need(gpus=1, vram_bytes=81 * GIB, gpu_share=0.2), [split])
    assert refused == Refusal("Needs 81.0 GiB on each GPU; the largest GPU has 80.0 GiB.", can_wait=False)
    hosts = [host("a", 1, size=24), host("b", 0, size=80)]
    waits = place(Need(gpus=1, vram_bytes=40 * GIB, gpu_share=0.9), hosts)
    assert waits == Refusal("Needs 1 × 40.0 GiB on one host; b has 0 free.", can_wait=True)


def test_preferred_host_first_but_only_with_room() -> None:
    hosts = [host("a", 1), host("b", 1, 1), host("c", 0)]
    assert choice(place(Need(gpus=1), hosts, preferred=["c", "b"])) == ("b", (0,))


def test_several_gpus_are_joined_by_nvlink_and_pairs_stay_whole() -> None:
    assert choice(place(Need(gpus=2), [host("a", 1, 0, 1, 1, pairs=True)])) == ("a", (2, 3))
    assert choice(place(Need(gpus=2), [host("a", 1, 1, 1), host("b", 1, 1, 1, 1, pairs=True)])) == ("b", (0, 1))
    four = choice(place(Need(gpus=4), [host("a", 0, 1, 1, 1, 1, 1, pairs=True)]))
    assert four == ("a", (2, 3, 4, 5)), "no pair is broken for it"
    assert choice(place(Need(gpus=2), [host("a", 1, 0, 1, 0, pairs=True)])) == ("a", (0, 2)), "a wish, no condition"


@pytest.mark.parametrize("blocked", ["is cordoned", "is silent since 10:00", "is draining", "is fenced", "has left"])
def test_a_blocked_host_takes_nothing_even_when_it_is_preferred(blocked: str) -> None:
    hosts = [replace(host("a", 1), blocked=blocked)]
    assert place(Need(gpus=1), hosts, preferred=["a"]) == Refusal("No host takes work now.", False)
    assert place(Need(gpus=1, host="a"), hosts) == Refusal(f"Host a {blocked}.", False)


def test_mig_slices_are_never_joined() -> None:
    slices = tuple(DeviceOffer(i, 20 * GIB, name="NVIDIA A100-PCIE-40GB MIG 3g.20gb") for i in (1, 2))
    assert choice(place(Need(gpus=1), [HostOffer("m", 0, 0, slices)])) == ("m", (1,))
    refused = place(Need(gpus=2), [HostOffer("m", 0, 0, slices)])
    assert isinstance(refused, Refusal)
    assert not refused.can_wait
    whole = tuple(DeviceOffer(i, 40 * GIB, name="NVIDIA A100-PCIE-40GB") for i in (3, 4))
    assert choice(place(Need(gpus=2), [HostOffer("m", 0, 0, slices + whole)])) == ("m", (3, 4))


def test_pinned_host_or_none() -> None:
    hosts = [host("a", 1), host("b", 0)]
    assert choice(place(Need(gpus=1, host="a"), hosts, preferred=["b"])) == ("a", (0,))
    refused = place(Need(gpus=1, host="b"), hosts)
    assert isinstance(refused, Refusal)
    assert refused.can_wait


def test_slots_share_the_memory_and_a_job_without_a_size_takes_whole_gpus() -> None:
    gpu = DeviceOffer(0, 80 * GIB, free_slots=3, slots=4)
    shared = HostOffer("a", 0, 0, (gpu,))
    assert place(Need(gpus=1, vram_bytes=20 * GIB), [shared]) == Choice("a", (0,), (1,))
    assert place(Need(gpus=1, vram_bytes=21 * GIB), [shared]) == Choice("a", (0,), (2,))
    assert isinstance(place(Need(gpus=1, vram_bytes=61 * GIB), [shared]), Refusal)
    assert isinstance(place(Need(gpus=1), [shared]), Refusal)
    whole = HostOffer("a", 0, 0, (replace(gpu, free_slots=4),))
    assert place(Need(gpus=1), [whole]) == Choice("a", (0,), (4,))


def test_cpu_device_takes_by_ram_and_ignores_gpus() -> None:
    hosts = [host("a", ram=1), host("b", 0, ram=8), host("c", ram=30)]
    assert choice(place(Need(ram_bytes=4 * GIB), hosts)) == ("b", ())
    assert choice(place(Need(ram_bytes=4 * GIB, spread=True), hosts)) == ("c", ())


@pytest.mark.parametrize(
    ("need", "hosts", "reason", "can_wait"),
    [
        (Need(gpus=1), [], "No host is connected.", False),
        (Need(host="x"), [host("a")], "Host x is not connected.", False),
        (Need(gpus=4), [host("a", 1), host("b", 0, 0)], "Needs 4 GPUs on one host; b has 2 GPUs.", False),
        (
            Need(gpus=1, vram_bytes=40 * GIB),
            [host("a", 1)],
            "Needs 40.0 GiB on each GPU; the largest GPU has 24.0 GiB.",
            False,
        ),
        (Need(ram_bytes=80 * GIB), [host("a")], "Needs 80.0 GiB of RAM; a has 64.0 GiB in all.", False),
        (
            Need(gpus=1, ram_bytes=80 * GIB),
            [host("a", 1), host("b", total_ram=128)],
            "No single host has 1 GPU and 80.0 GiB of RAM.",
            False,
        ),
        (
            Need(gpus=2, vram_bytes=20 * GIB),
            [host("a", 1, 0)],
            "Needs 2 × 20.0 GiB on one host; a has 1 free.",
            True,
        ),
        (Need(ram_bytes=4 * GIB), [host("a", ram=2.1)], "Waits for 4.0 GiB of RAM; a has 2.1 GiB free.", True),
        (
            Need(gpus=1, ram_bytes=4 * GIB),
            [host("a", 1, ram=1), host("b", 0)],
            "Waits for a host that has the GPUs and the RAM free at the same time.",
            True,
        ),
    ],
)
def test_refusals_say_what_falls_short(need: Need, hosts: list[HostOffer], reason: str, can_wait: bool) -> None:
    assert place(need, hosts) == Refusal(reason, can_wait)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_fleet_a_place_is_one_that_was_free(seed: int) -> None:
    """Filled up at random: nothing is given twice, and a refusal means that no host had room."""
    draw = random.Random(seed)
    hosts = {name: _any_host(draw, name) for name in "abcde"}
    for _ in range(60):
        need = _any_need(draw)
        answer = place(need, list(hosts.values()), preferred=draw.sample("abcde", 2))
        if isinstance(answer, Refusal):
            open_hosts = [each for each in hosts.values() if not each.blocked and need.host in (None, each.name)]
            assert not any(has_room(need, each) for each in open_hosts)
            continue
        before = hosts[answer.host]
        assert not before.blocked
        assert len(set(answer.devices)) == need.gpus
        hosts[answer.host] = after = taken_from(before, need, answer)
        assert after.free_ram_bytes >= 0
        assert all(0 <= device.free_slots <= device.slots for device in after.devices)
        for index, slots in zip(answer.devices, answer.slots, strict=True):
            device = before.devices[index]
            assert device.total_bytes * slots // device.slots >= need.vram_bytes
            assert need.vram_bytes or slots == device.slots


def _any_host(draw: random.Random, name: str) -> HostOffer:
    slots = draw.choice([1, 1, 2, 4])
    count = draw.choice([0, 1, 2, 4, 8])
    linked = [frozenset(draw.sample(range(count), draw.randint(0, count))) for _ in range(count)]
    devices = tuple(DeviceOffer(i, draw.choice([24, 48, 80]) * GIB, slots, slots, linked[i]) for i in range(count))
    return HostOffer(name, 64 * GIB, 64 * GIB, devices, draw.choice(["", "", "", "is cordoned"]))


def _any_need(draw: random.Random) -> Need:
    gpus = draw.choice([0, 1, 1, 2, 4])
    return Need(
        ram_bytes=0 if gpus else draw.randint(1, 20) * GIB,
        gpus=gpus,
        vram_bytes=draw.choice([0, 10, 20, 40]) * GIB if gpus else 0,
        host=draw.choice([None, None, None, "a"]),
        spread=draw.random() < 0.3,
    )


VLLM = ("vllm", "cuda")
OLD = "driver 525 is older than CUDA 12.8 needs (570)"
ARM = "no locked environment for aarch64; give an existing path or image"


def test_only_a_host_that_runs_the_engine_is_taken_and_each_other_says_why() -> None:
    atlas, brio, cinder = host("atlas", 1, 1), host("brio", 1), host("cinder", 1, 0)
    atlas, brio = replace(atlas, cannot_run={VLLM: OLD}), replace(brio, cannot_run={VLLM: ARM})
    need = Need(gpus=1, environment=VLLM)
    assert choice(place(need, [atlas, brio, cinder], preferred=["brio"])) == ("cinder", (0,))
    assert choice(place(Need(gpus=1, environment=("axolotl", "cuda")), [brio])) == ("brio", (0,))
    nobody = place(need, [atlas, brio])
    assert nobody == Refusal(f"No host can run vllm (cuda). atlas: {OLD}. brio: {ARM}.", can_wait=False)
    assert place(replace(need, gpus=2), [atlas, cinder]) == Refusal(
        "Needs 2 GPUs on one host; cinder has 1 free.", can_wait=True
    ), "the size of a host that cannot run it says nothing"
    pinned = place(replace(need, host="brio"), [atlas, brio, cinder])
    assert pinned == Refusal(f"No host can run vllm (cuda). brio: {ARM}.", can_wait=False)
    many = place(need, [replace(atlas, name=f"h{number}") for number in range(5)])
    assert isinstance(many, Refusal)
    assert many.reason.endswith("And 2 more hosts.")
