"""When waiting jobs would start, and what is kept for the one that waits longest."""

from __future__ import annotations

from apps.planning.placement import DeviceOffer, HostOffer, Need, Refusal, place
from apps.planning.timeline import NEVER, SOMETIME, FleetTimeline, Hold, Tenant, hold_for

GIB = 2**30
NOW = 1_000_000.0


def busy(name: str, *ends: float | None, size: int = 80) -> tuple[HostOffer, list[Tenant]]:
    """A host with one GPU for each end: None is free now."""
    devices = tuple(DeviceOffer(i, size * GIB, 0 if end is not None else 1) for i, end in enumerate(ends))
    tenants = [
        Tenant(f"{name}{i}", f"job-{name}{i}", name, (i,), (1,), ends_at=NOW + end)
        for i, end in enumerate(ends)
        if end is not None
    ]
    return HostOffer(name, 8 * GIB, 64 * GIB, devices), tenants


def fleet(*hosts: tuple[HostOffer, list[Tenant]]) -> FleetTimeline:
    return FleetTimeline([host for host, _ in hosts], [each for _, tenants in hosts for each in tenants], NOW)


def test_the_start_is_when_the_last_of_the_gpus_gets_free_on_the_host_that_is_first() -> None:
    timeline = fleet(busy("a", 100, 900, 300), busy("b", None, 250, 5000))
    start = timeline.earliest(Need(gpus=2))
    assert start is not None
    assert (start.at - NOW, start.host, start.devices, start.after) == (250, "b", (0, 1), ("job-b1",))
    three = timeline.earliest(Need(gpus=3))
    assert three is not None
    assert (three.at - NOW, three.after) == (900, ("job-a0", "job-a2", "job-a1"))
    assert timeline.earliest(Need(gpus=4)) is None


def test_jobs_take_their_turn_and_an_unknown_length_makes_what_follows_unknown() -> None:
    timeline = fleet(busy("a", 100))
    need = Need(gpus=1)
    for seconds, expected in ((50, 100), (None, 150), (50, None)):
        start = timeline.earliest(need)
        assert start is not None
        assert start.is_known is (expected is not None)
        assert expected is None or start.at - NOW == expected
        timeline.take(need, start, label="job-x", seconds=seconds)


def test_a_batch_job_without_an_end_comes_before_a_server() -> None:
    timeline = fleet(busy("a", NEVER), busy("b", SOMETIME - NOW))
    start = timeline.earliest(Need(gpus=1))
    assert start is not None
    assert (start.host, start.is_known) == ("b", False)


def test_ram_gets_free_as_its_holders_end() -> None:
    host = HostOffer("a", 2 * GIB, 16 * GIB)
    tenants = [Tenant(str(n), f"job-{n}", "a", ram_bytes=6 * GIB, ends_at=NOW + n) for n in (20, 10)]
    start = FleetTimeline([host], tenants, NOW).earliest(Need(ram_bytes=10 * GIB))
    assert start is not None
    assert (start.at - NOW, start.after) == (20, ("job-10", "job-20"))


def test_slots_get_free_one_by_one() -> None:
    host = HostOffer("a", 0, 0, (DeviceOffer(0, 80 * GIB, 1, 4),))
    tenants = [Tenant("t", "job-1", "a", (0,), (3,), ends_at=NOW + 60)]
    timeline = FleetTimeline([host], tenants, NOW)
    quarter, whole = timeline.earliest(Need(gpus=1, vram_bytes=20 * GIB)), timeline.earliest(Need(gpus=1))
    assert quarter is not None
    assert whole is not None
    assert (quarter.at - NOW, whole.at - NOW) == (0, 60)


def test_what_is_kept_is_hidden_from_others_except_from_those_that_end_in_time() -> None:
    host, tenants = busy("a", None, 600)
    start = FleetTimeline([host], tenants, NOW).earliest(Need(gpus=2))
    assert start is not None
    hold = hold_for(Need(gpus=2), start, label="job-9")
    assert hold is not None
    assert isinstance(place(Need(gpus=1), [hold.hide(host)]), Refusal)
    assert hold.lets_in(now=NOW, seconds=600)
    assert not hold.lets_in(now=NOW, seconds=601)
    assert not hold.lets_in(now=NOW, seconds=None)
    other, _ = busy("b", None)
    assert hold.hide(other) == other


def test_nothing_is_kept_for_a_wait_that_only_the_end_of_a_server_would_end() -> None:
    host, tenants = busy("a", None, NEVER)
    start = FleetTimeline([host], tenants, NOW).earliest(Need(gpus=2))
    assert start is not None
    assert hold_for(Need(gpus=2), start, label="job-9") is None


def test_where_nobody_knows_the_end_only_the_waiting_job_itself_gets_in() -> None:
    assert not Hold("job-1", "a", frozenset([0]), False, SOMETIME).lets_in(now=NOW, seconds=1)
