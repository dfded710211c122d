"""A time that somebody sends, such as that the database can give it back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime

EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _storable(moment: datetime) -> datetime:
    # Postgres keeps years that Python cannot read again: one such row makes every list with it fail.
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"must lie between the years {EARLIEST:%Y} and {LATEST:%Y}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_storable)]
