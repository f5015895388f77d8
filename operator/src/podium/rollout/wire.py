"""What stands in annotations, read and written: each reader raises ValueError with what is wrong.

Anybody may have edited them.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from podium.texts import read_json

MOST_PODS = 2**31 - 1
LONGEST, SHOWN = 1024, 40
"""Characters of a text, and of one that is too long in a message."""
FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Times outside are nobody's: nothing can be added to the last of all, nor another zone's be told of the first."""

EARLIEST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
LATEST = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)


def format_time(at: datetime) -> str:
    """RFC 3339 with microseconds, in UTC: sorts as text in the order of time."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The inverse of `format_time`; also reads the API server's times in whole seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def others_time(text: str) -> datetime:
    """A time in an object of the cluster's, between the years 1970 and 9000.

    Who writes a pod's status may write the year 1 or 9999, and the next sum with it would be no date any more.
    """
    return min(max(parse_time(text), EARLIEST), LATEST)


def read_time(value: object) -> datetime:
    """A time with its zone, of the years 1970 to 9000."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no time")
    at = parse_time(value)
    if at.tzinfo is None or not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise ValueError(f"{value!r} has no time zone, or is not of the years {FIRST_YEAR} to {LAST_YEAR}")
    return at


def read_text(value: object, most: int = LONGEST) -> str:
    """A text of at most so many characters: status, which repeats it, takes no more."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    if len(value) > most:
        raise ValueError(f"{value[:SHOWN]!r} and so on has {len(value)} characters, and may have {most}")
    return value


def read_pods(value: object) -> int:
    """A number of pods."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_PODS:
        raise ValueError(f"{value!r} is no number of pods")
    return value


def read_seconds(value: object) -> timedelta:
    """A time span, of a number of seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST_PODS:
        raise ValueError(f"{value!r} is no number of seconds")
    return timedelta(seconds=value)


def read_index(value: object, most: int) -> int:
    """A place among `most`, from 0; `most` itself is beyond the last."""
    found = read_pods(value)
    if found > most:
        raise ValueError(f"there is no step {found} of {most}")
    return found


def read_flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def read_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    data = read_json(text)
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return data
