"""The words of a host, and when silence freezes scheduling. Pure."""

from __future__ import annotations

import pytest

from apps.fleet.host_states import HostState, host_state, is_too_silent


def test_the_strongest_fact_names_the_state() -> None:
    facts = {"is_silent": False, "is_cordoned": False, "is_draining": False, "is_fenced": False, "has_left": False}
    order = {
        "is_cordoned": HostState.CORDONED,
        "is_draining": HostState.DRAINING,
        "is_silent": HostState.UNREACHABLE,
        "has_left": HostState.LEFT,
        "is_fenced": HostState.FENCED,
    }
    assert host_state(**facts) is HostState.CONNECTED
    for name, state in order.items():  # each is stronger than all before it
        facts[name] = True
        assert host_state(**facts) is state


@pytest.mark.parametrize(
    ("silent", "expected", "freezes"),
    [(0, 0, False), (1, 1, False), (1, 2, False), (2, 2, True), (1, 3, False), (2, 3, True), (2, 6, True),
     (2, 7, False), (3, 7, True), (3, 10, False), (4, 10, True), (19, 64, False), (20, 64, True)],
)  # fmt: skip
def test_one_silent_host_is_its_own_trouble_and_a_third_is_everybodys(
    silent: int, expected: int, freezes: bool
) -> None:
    assert is_too_silent(silent=silent, expected=expected) is freezes
