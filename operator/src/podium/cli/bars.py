"""Evidence as a bar and as words. Pure."""

import math
from dataclasses import dataclass

WIDTH = 10


@dataclass(frozen=True)
class Glyphs:
    """What a bar is drawn with."""

    full: str
    empty: str


BLOCKS = Glyphs("█", "░")
LETTERS = Glyphs("#", ".")
"""For what is no terminal."""


def share(evidence: str, needed: str) -> float:
    """How far evidence is towards what is needed, from 0 to 1, on a log scale: evidence multiplies, it does not add.

    Evidence of 1 or less, which says nothing or the contrary, is 0. What cannot be read is 0.
    """
    found, most = log(evidence), log(needed)
    if found is None or most is None or most <= 0:
        return 0.0
    return min(max(found / most, 0.0), 1.0)


def log(text: str) -> float | None:
    """Natural logarithm of `0.02`, `8.1`, `130` or `10^12` (podium.analysis.decision.told); None for anything else.

    `400 (approximate)` is 400.
    """
    base, _, power = text.partition(" ")[0].partition("^")
    try:
        if power:
            return float(power) * math.log(float(base))
        value = float(base)
        return math.log(value) if value > 0 else -math.inf
    except ValueError:
        return None


def bar(part: float, glyphs: Glyphs) -> str:
    """WIDTH characters, of which as many are full as the part (0 to 1) has reached: all of them at 1 alone."""
    full = math.floor(part * WIDTH)
    return glyphs.full * full + glyphs.empty * (WIDTH - full)


def count(number: float) -> str:
    """A count as people read it: 9,012."""
    return f"{number:,.0f}"
