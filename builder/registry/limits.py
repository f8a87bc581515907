"""What a registry says of its limits: how much of them is left, and when to come again.

Docker Hub counts GET requests for manifests, not HEAD ones, and where nothing is left says
`ratelimit-remaining: 0;w=21600`, for a window of so many seconds
(docs.docker.com/docker-hub/usage/pulls). Others send Retry-After, in seconds or as a date
(RFC 9110, 10.2.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["is_used_up", "limit_words", "retry_after"]

_LIMIT = re.compile(r"(?P<count>\d{1,9})(?:\s*;\s*w=(?P<seconds>\d{1,9}))?", re.ASCII)
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds after which to come again, as an answer has it; None if it has nothing.

    A date is compared with the answer's own, as the clock here may be another.

    >>> retry_after({"Retry-After": "7"})
    7.0
    >>> retry_after({"Retry-After": "Sat, 28 Nov 2026 12:01:00 GMT",
    ...     "Date": "Sat, 28 Nov 2026 12:00:00 GMT"})
    60.0
    """
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said[:9])
    again = _date(said)
    if again is None:
        return None
    now = _date(headers.get("Date", "")) or datetime.now(timezone.utc)
    return max(0.0, (again - now).total_seconds())


def is_used_up(headers: Mapping[str, str]) -> bool:
    """Whether nothing is left of a limit: to ask again soon is in vain, and may count as well."""
    left = _LIMIT.fullmatch(headers.get("RateLimit-Remaining", "").strip())
    return left is not None and int(left["count"]) == 0 and left["seconds"] is not None


def limit_words(headers: Mapping[str, str]) -> str:
    """How much is left, and when to come again; empty if an answer has nothing of it.

    >>> limit_words({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"})
    '0 of 100 pulls in 6 hours are left'
    >>> limit_words({"Retry-After": "86400"})
    'come again in 1 day'
    """
    words = []
    left = _LIMIT.fullmatch(headers.get("RateLimit-Remaining", "").strip())
    most = _LIMIT.fullmatch(headers.get("RateLimit-Limit", "").strip())
    if left:
        window = left["seconds"] or (most and most["seconds"])
        of = f" of {int(most['count'])}" if most else ""
        within = f" in {_span(int(window))}" if window else ""
        words.append(f"{int(left['count'])}{of} pulls{within} are left")
    again = retry_after(headers)
    if again is not None:
        words.append(f"come again in {_span(round(again))}")
    return "; ".join(words)


def _date(text: str) -> datetime | None:
    with suppress(ValueError, TypeError, OverflowError):
        found = parsedate_to_datetime(text)
        return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return None


def _span(seconds: int) -> str:
    """Seconds in the largest unit that says them whole.

    >>> _span(21600), _span(90), _span(1)
    ('6 hours', '90 seconds', '1 second')
    """
    whole = [each for each in _UNITS if seconds and seconds % each[1] == 0]
    unit, length = whole[0] if whole else ("second", 1)
    count = seconds // length
    return f"{count} {unit}{'' if count == 1 else 's'}"
