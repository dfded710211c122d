"""When a cron expression is due next. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from apps.accounts.problems import invalid, unknown_choice

EXAMPLE = "“0 3 * * 1-5” (03:00 on weekdays)"


def next_time(cron: str, zone: str, after: datetime) -> datetime:
    """In UTC, later than `after`. Clocks that change are taken as Debian's cron does.

    Raises Problem 422 naming `cron` or `timezone`.
    """
    local = after.astimezone(_zone(zone))
    fields = cron.split()
    if len(fields) != 5:
        message = f"cron has five fields: minute, hour, day of month, month, day of week; this has {len(fields)}."
        raise invalid("cron", f"{message} For example {EXAMPLE}.", value=cron)
    try:
        return next(CronSim(cron, local)).astimezone(UTC)
    except CronSimError as error:
        message = f"{str(error).replace('Bad', 'Wrong')}. For example {EXAMPLE}."
        raise invalid("cron", message, value=cron) from None
    except StopIteration:
        raise invalid("cron", f"That time never comes. For example {EXAMPLE}.", value=cron) from None


def words(cron: str) -> str:
    """The expression as a sentence, such as “At 03:00 every day”."""
    return CronSim(cron, datetime.now(UTC)).explain()


@cache
def time_zones() -> list[str]:
    """UTC first, then by name."""
    return ["UTC", *sorted(available_timezones() - {"UTC", "localtime"})]


def _zone(name: str) -> ZoneInfo:
    known = time_zones()
    if name not in known:
        raise unknown_choice("timezone", name, known, noun="time zone")
    return ZoneInfo(name)
