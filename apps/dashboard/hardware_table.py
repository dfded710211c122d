"""Which rows the Hardware page shows: one for each device, grouped by host, filtered and searched."""

from __future__ import annotations

from dataclasses import dataclass

from apps.dashboard.fleet_picture import HostPicture, Well

FILTERS = {"all": "All", "busy": "Busy", "free": "Free"}
# A page is polled, so it stays small: a fleet beyond WHOLE rows comes in pages of whole hosts.
WHOLE, PAGE = 200, 100


@dataclass(frozen=True)
class Group:
    """A host's line, and those of its devices that were asked for."""

    picture: HostPicture
    wells: list[Well]


def groups_of(hosts: list[HostPicture], *, show: str, asked: str) -> list[Group]:
    """Hosts by name, those that are gone at the end. Without a filter a host without devices is shown too."""
    words = asked.casefold().split()
    groups = [
        Group(host, [well for well in host.table_wells if _passes(well, show) and _speaks_of(host, well, words)])
        for host in sorted(hosts, key=lambda host: host.host.state.is_gone)
    ]
    wants_all = show == "all" and not words
    return [group for group in groups if group.wells or wants_all or (show == "all" and _is_named(group, words))]


def paged(groups: list[Group], number: int) -> tuple[list[Group], list[int]]:
    """The groups of page `number` (from 1; beyond the last: the last), and the numbers of all pages."""
    if sum(len(group.wells) for group in groups) <= WHOLE:
        return groups, [1]
    pages: list[list[Group]] = [[]]
    for group in groups:
        if sum(len(each.wells) for each in pages[-1]) >= PAGE:
            pages.append([])
        pages[-1].append(group)
    number = min(max(number, 1), len(pages))
    return pages[number - 1], list(range(1, len(pages) + 1))


def _is_named(group: Group, words: list[str]) -> bool:
    return all(word in group.picture.host.name for word in words)


def counted_filters(hosts: list[HostPicture]) -> list[tuple[str, str, int]]:
    """(key, title, number of devices)."""
    wells = [well for host in hosts for well in host.table_wells]
    return [(key, title, sum(_passes(well, key) for well in wells)) for key, title in FILTERS.items()]


def _passes(well: Well, show: str) -> bool:
    if show == "busy":
        return bool(well.holders)
    return well.is_free if show == "free" else True


def _speaks_of(host: HostPicture, well: Well, words: list[str]) -> bool:
    """Every word stands somewhere in the row: host, device, job, or person."""
    if not words:
        return True
    said = [well.title, well.device.name, *(f"{holder.name} {holder.owner}" for holder in well.holders)]
    text = " ".join([host.host.name, f"{host.host.name}:{well.device.index}", *said]).casefold()
    return all(word in text for word in words)
