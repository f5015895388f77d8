"""How Podium's sentences are put together: versions before hashes, numbers with their nouns. Pure.

docs/messages.md has every sentence; a test plays each of them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation

_COMMAND = re.compile(r"\bkubectl (annotate|delete)\b[^:]*$")
_WORD = re.compile(r"[a-z]+[,:;]?(\s|$)")
"""What gets a capital letter: not a field, a file or an object's name."""
_TIMES = {1: "once", 2: "twice"}


def named(revision: RevisionState, situation: Situation) -> str:
    """`version 4`, or `version 4 (fraud-6f9c4d2b7k)` where another of the present revisions has that version."""
    if not revision.version:
        return f"revision {revision.name}"
    shown = (situation.champion, situation.candidate, situation.rejected, situation.warm, *situation.losers)
    others = [each for each in shown if each is not None and each.name != revision.name]
    alike = any(each.version == revision.version for each in others)
    return f"version {revision.version} ({revision.name})" if alike else f"version {revision.version}"


def count(number: int, noun: str) -> str:
    """`1 pod`, `3 pods`, `0 pods`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def per_second(rate: float) -> str:
    """`1 request/s`, `12.5 requests/s`: three digits of a rate."""
    number = f"{rate:.3g}"
    return f"{number} request{'' if number == '1' else 's'}/s"


def available(ready: int, wanted: int) -> str:
    """`1 of 1 pod available`, `0 of 3 pods available`."""
    return f"{ready} of {count(wanted, 'pod')} available"


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return _TIMES.get(number, f"{number} times")


def span(seconds: float) -> str:
    """94 s, 12 min, 3 h."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def lasted(time: timedelta) -> str:
    """The same, of a timedelta."""
    return span(time.total_seconds())


def sentences(*parts: str) -> str:
    """The parts that are not empty as sentences of their own; a command at the end gets no full stop, to be copied."""
    return " ".join(_sentence(part) for part in parts if part)


def _sentence(part: str) -> str:
    stopped = part.endswith((".", "!", "?", "…")) or _COMMAND.search(part) is not None
    first = part[0].upper() if _WORD.match(part) else part[0]
    return f"{first}{part[1:]}{'' if stopped else '.'}"
