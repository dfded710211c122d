"""What a host is to people and to the scheduler, and when too many are silent at once. Pure."""

from __future__ import annotations

from enum import StrEnum


class HostState(StrEnum):
    """The value is REST's; `word` is what pages show."""

    CONNECTED = "connected"  # reports and takes work
    UNREACHABLE = "unreachable"  # silent, which is not dead: its jobs are UNKNOWN and keep their devices
    CORDONED = "cordoned"  # an operator: no new work
    DRAINING = "draining"  # cordoned, and what runs here ends or moves
    FENCED = "fenced"  # an operator said that it is off; it must join again
    LEFT = "left"  # its worker said goodbye; it must join again

    @property
    def word(self) -> str:
        return "Schedulable" if self is HostState.CONNECTED else self.value.capitalize()

    @property
    def is_gone(self) -> bool:
        """Nothing of Stackweb runs there, and nothing will before it joins again."""
        return self in (HostState.FENCED, HostState.LEFT)


def host_state(*, is_silent: bool, is_cordoned: bool, is_draining: bool, is_fenced: bool, has_left: bool) -> HostState:
    """The strongest fact wins: gone, then silent, then what an operator asked for."""
    facts = (
        (is_fenced, HostState.FENCED),
        (has_left, HostState.LEFT),
        (is_silent, HostState.UNREACHABLE),
        (is_draining, HostState.DRAINING),
        (is_cordoned, HostState.CORDONED),
    )
    return next((state for holds, state in facts if holds), HostState.CONNECTED)


# One silent host is that host's trouble. Two or more, and more than this share of the fleet, look like
# the network's or ours, so nobody should act on what only seems dead. A fleet of one never freezes, one
# of two or three when two are silent, one of seven when three are.
FREEZING_SHARE = 0.3
FREEZING_COUNT = 2


def is_too_silent(*, silent: int, expected: int) -> bool:
    return silent >= FREEZING_COUNT and silent > FREEZING_SHARE * expected
