"""The day, in UTC, so that one command means the same wherever it runs."""

from __future__ import annotations

import datetime

__all__ = ["today"]


def today() -> datetime.date:
    """The day that it is."""
    return datetime.datetime.now(tz=datetime.timezone.utc).date()
