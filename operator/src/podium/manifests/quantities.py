"""Kubernetes quantities (`500m`, `10Gi`, `1e3`) as exact numbers."""

import functools
import math
import re
from fractions import Fraction
from typing import Final

_SUFFIXES: Final = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY: Final = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i))?")


@functools.lru_cache(maxsize=1024)  # thousands of specs name the same few
def parse_quantity(value: str | int | float) -> Fraction:
    """The number that a resource quantity stands for; ValueError names what is none (negative ones included)."""
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        raise ValueError(
            f"{value!r} is not a quantity: write a number, with a unit if need be, such as 500m, 2 or 10Gi"
        )
    number, exponent, suffix = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return Fraction(number) * scale


def whole(value: str | int | float) -> int:
    """A quantity rounded up to a whole number: cores of a CPU, bytes of memory."""
    return math.ceil(parse_quantity(value))
