"""Durations as people write them: `90s`, `1h30m`, `250ms`."""

import re
from typing import Final

PATTERN: Final = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""One to four numbers with a unit. The subset of Go's durations that Gateway API uses (GEP-2257), so that the API
server's CEL `duration()`, Go tools and this module read the same text alike."""

MAX_LENGTH: Final = 28
HELP: Final = "must be a duration: whole numbers with the units h, m, s or ms, such as 10m or 1h30m"

_PART = re.compile(r"([0-9]+)(ms|h|m|s)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `10m` or `1h30m`; ValueError names the text and shows a right one."""
    if len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} {HELP}")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
