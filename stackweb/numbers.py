"""Numbers as people read them (docs/design.md): memory in GiB, "1 h 38 m", "2,184"."""

from __future__ import annotations

Number = int | float


def gib(value: Number | None) -> str:
    """Bytes in GiB with one decimal; "–" for nothing."""
    return "–" if value is None else f"{value / 2**30:,.1f}"


def size(value: Number | None) -> str:
    """Bytes with the unit that suits: "98 MB", "3.5 GB"."""
    if value is None:
        return "–"
    amount = float(value)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB" if amount < 1000 else f"{amount / 1000:,.1f} TB"


def duration(seconds: Number | None) -> str:
    """ "43 s", "4 m 07 s", "1 h 38 m", "3 d 4 h"."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def rough(seconds: Number) -> str:
    """An expected time to two digits: "190 ms", "8.2 s", "4 m", "1.6 h"."""
    for unit, length, end in (("ms", 0.001, 0.995), ("s", 1, 59.5), ("m", 60, 3570)):
        if seconds < end:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds / 3600)} h"


def _two_digits(value: Number) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def rates(low: Number, high: Number) -> str:
    """A range to two digits: "14 to 36", "2,100 to 8,800"."""
    ends = [_two_digits(end) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def times(low: Number, high: Number) -> str:
    """ "8.2 s to 4 m"; a unit that both have stands once: "2 to 14 m"."""
    (first, unit), (last, other) = (rough(end).split() for end in (low, high))
    if first == last and unit == other:
        return f"{first} {unit}"
    return f"{first} to {last} {unit}" if unit == other else f"{first} {unit} to {last} {other}"


def age(seconds: Number) -> str:
    """ "just now", "43 s ago", "4 min ago", "3 h ago", "2 d ago"."""
    if seconds < 10:
        return "just now"
    for unit, length, end in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 86400)):
        if seconds < end:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds // 86400:.0f} d ago"


def ms(value: Number | None) -> str:
    """Milliseconds: "318 ms", and "1.94 s" from a thousand on."""
    if value is None:
        return "–"
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.2f} s"


def count(value: Number | None) -> str:
    """ "2,184"; decimals only below ten."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


def context_tokens(value: int | None) -> str:
    """Context in k of 1,024 tokens: "8 k"."""
    if not value:
        return "–"
    return f"{value / 1024:,.0f} k" if value >= 1024 else str(value)


def percent(fraction: Number | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.0f}"


def score(fraction: Number | None) -> str:
    """A rate from 0 to 1 as 0 to 100 with one decimal."""
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def params(value: int | None) -> str:
    """Parameters: "135 M", "8.0 B"."""
    if not value:
        return "–"
    if value >= 1e9:
        return f"{value / 1e9:.1f} B"
    return f"{value / 1e6:.0f} M"


def kwh(joules: Number | None) -> str:
    """Energy in kWh: "0.412", "18.3"."""
    if joules is None:
        return "–"
    amount = joules / 3_600_000
    return f"{amount:,.1f}" if amount >= 10 else f"{amount:.3f}"


def hours(seconds: Number | None) -> str:
    """Hours: "0.02", "1.3", "412"."""
    if seconds is None:
        return "–"
    amount = seconds / 3600
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.1f}" if amount >= 1 or amount == 0 else f"{amount:.2f}"


def signed_percent(fraction: Number | None) -> str:
    """ "+4%", "−12%"; "–" for nothing."""
    return "–" if fraction is None else f"{100 * fraction:+.0f}%".replace("-", "−")


def quantity(value: Number | None, unit: str) -> str:
    """A figure of the ledger with its unit: "3.5 GiB", "1 h 38 m", "2,184 tokens"."""
    if value is None:
        return "–"
    if unit == "bytes":
        return f"{gib(value)} GiB"
    return duration(value) if unit == "seconds" else f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
