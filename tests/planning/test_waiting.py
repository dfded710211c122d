"""Every hint is true: the job with that change would start now."""

from __future__ import annotations

from dataclasses import replace

from apps.planning.placement import DeviceOffer, HostOffer, Need
from apps.planning.timeline import NEVER, FleetTimeline, Tenant
from apps.planning.waiting import hints, host_answers, soonest

GIB = 2**30
NOW = 1_000_000.0


def host(name: str, free: int, taken: int = 0, *, size: int = 80, blocked: str = "") -> HostOffer:
    devices = [DeviceOffer(i, size * GIB, int(i < free), name="H100") for i in range(free + taken)]
    return HostOffer(name, 30 * GIB, 62 * GIB, tuple(devices), blocked)


def test_less_memory_fewer_gpus_another_host() -> None:
    need = Need(gpus=2, vram_bytes=60 * GIB)
    assert hints(need, [host("a", 1, 1), host("b", 2, size=24)]) == [
        "Starts now on b with at most 24.0 GiB on each GPU."
    ]
    four = Need(gpus=4, vram_bytes=20 * GIB)
    assert hints(four, [host("a", 2, 2)]) == ["Starts now on a with 2 GPUs of 40.0 GiB."]
    assert hints(Need(gpus=2), [host("a", 1, 1)]) == ["Starts now on a with 1 GPU."]
    pinned = Need(gpus=1, host="a")
    assert hints(pinned, [host("a", 0, 1), host("b", 1)]) == ["It may run only on a; b has room now."]


def test_a_cordoned_host_is_named_with_its_reason_and_a_silent_one_is_not() -> None:
    full = host("a", 0, 1)
    cordoned = host("b", 1, blocked="is cordoned: driver update")
    silent = host("c", 1, blocked="is silent since 10:00")
    assert hints(Need(gpus=1), [full, silent, cordoned]) == [
        "Starts now once b is uncordoned: it is cordoned: driver update."
    ]
    assert hints(Need(gpus=1), [full, silent]) == []


def test_the_cpu_only_where_its_ram_is_known_to_suffice() -> None:
    assert hints(Need(gpus=1), [host("a", 0, 1)], cpu_ram_bytes=20 * GIB) == ["Starts now on the CPU of a."]
    assert hints(Need(gpus=1), [host("a", 0, 1)], cpu_ram_bytes=40 * GIB) == []


def test_each_host_says_what_it_offers_what_stands_in_the_way_and_until_when() -> None:
    hosts = [
        host("atlas", 2, 2),
        host("brio", 0, 4, size=40),
        host("dune", 0, 4),
        host("echo", 1),
        replace(host("flint", 4), blocked="is cordoned"),
    ]
    tenants = [
        Tenant("1", "job-1", "atlas", (2, 3), (1, 1), ends_at=NOW + 600),
        Tenant("2", "job-2", "dune", (0, 1, 2, 3), (1, 1, 1, 1), ends_at=NEVER),
    ]
    need = Need(gpus=4, vram_bytes=60 * GIB)
    answers = {each.host: each for each in host_answers(need, hosts, FleetTimeline(hosts, tenants, NOW))}
    assert next(iter(answers)) == "atlas", "the one that frees first is first"
    assert {name: (each.offers, each.blocked_by) for name, each in answers.items()} == {
        "atlas": ("4 × H100, 2 free", "waits for the end of job-1"),
        "brio": ("4 × H100, 0 free", "too small: 0 of its GPUs have 60.0 GiB, the job needs 4"),
        "dune": ("4 × H100, 0 free", "waits for the end of job-2"),
        "echo": ("1 × H100, 1 free", "has 1 GPU, the job needs 4"),
        "flint": ("4 × H100, 4 free", "is cordoned"),
    }
    assert answers["brio"].needs == "4 × 60.0 of 40.0 GiB"
    atlas, dune = answers["atlas"].start, answers["dune"].start
    assert atlas is not None
    assert dune is not None
    assert (atlas.at, dune.is_known) == (NOW + 600, False)
    assert soonest(need, atlas, "15:40") == "atlas frees 4 × 60.0 GiB at about 15:40 when job-1 ends."
    assert soonest(need, dune, "15:40") == ""


def test_a_host_on_which_the_engine_does_not_run_says_so() -> None:
    why = "no locked environment for aarch64; give an existing path or image"
    arm = replace(host("arm", 4), cannot_run={("vllm", "cuda"): why})
    full = host("full", 0, 1)
    need = Need(gpus=1, environment=("vllm", "cuda"))
    timeline = FleetTimeline([arm, full], [], NOW)
    answers = {each.host: each for each in host_answers(need, [arm, full], timeline)}
    assert (answers["arm"].blocked_by, answers["arm"].can_ever) == (why, False)
    assert timeline.earliest(need) is None
    assert hints(need, [arm, full]) == [f"arm has room, but: {why}."]
    assert hints(need, [arm]) == [], "the reason says it already"


def test_the_cpu_is_named_only_where_the_engine_runs_on_it() -> None:
    need = Need(gpus=1, environment=("vllm", "cuda"))
    taken = host("a", 0, 1)
    assert hints(need, [taken], cpu_ram_bytes=GIB) == ["Starts now on the CPU of a."]
    assert hints(need, [replace(taken, cannot_run={("vllm", "cpu"): "why"})], cpu_ram_bytes=GIB) == []
