"""Sums of counters in Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details: a line `name{labels} value` for each
series, perhaps with a time behind it. Only the lines of the series that are asked for are looked into. OpenMetrics
writes counters alike, and values as `12.0`.
"""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_LINE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(?P<value>\S+)(?:\s.*)?'
)
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_MATCHER = re.compile(r'([a-zA-Z_]\w*)(=~?)"([^"\\]*)"')
_ESCAPED: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_ESCAPE = re.compile(r'\\[\\"n]')


class NoCount(ValueError):
    """A series that was asked for has a value that is no count."""


@dataclass(frozen=True)
class Selector:
    """The series of one name whose labels match."""

    name: str
    equal: tuple[tuple[str, str], ...]
    like: tuple[tuple[str, re.Pattern[str]], ...]
    """Patterns that match the whole of a label's value; a label that is missing is an empty text, as in PromQL."""

    @staticmethod
    def of(text: str) -> "Selector":
        """A series as a ModelRuntime names it: `name`, `name{label="value",other=~"pattern"}`."""
        return _selector(text)

    def takes(self, labels: dict[str, str]) -> bool:
        """Whether a series with these labels is one of them."""
        return all(labels.get(name, "") == value for name, value in self.equal) and all(
            pattern.fullmatch(labels.get(name, "")) for name, pattern in self.like
        )


@lru_cache(maxsize=1024)
def _selector(text: str) -> Selector:
    name, _, matchers = text.partition("{")
    found = _MATCHER.findall(matchers)
    return Selector(
        name,
        tuple((label, value) for label, sign, value in found if sign == "="),
        tuple((label, re.compile(value)) for label, sign, value in found if sign == "=~"),
    )


def total(text: str, series: Iterable[str]) -> float:
    """The sum of all series that any of these selects, each once.

    One that is not there is 0: servers do not export what never happened. Raises NoCount for a value that is no finite
    number from 0 up.
    """
    selectors: dict[str, list[Selector]] = {}
    for each in series:
        selector = Selector.of(each)
        selectors.setdefault(selector.name, []).append(selector)
    found = 0.0
    for line in text.splitlines():
        wanted = selectors.get(_name(line))
        match = _LINE.fullmatch(line) if wanted else None
        if wanted and match and any(one.takes(labels) for labels in (_labels(match["labels"]),) for one in wanted):
            found += _count(match["name"], match["value"])
    return found


def by_label(
    text: str, names: Collection[str], label: str, signed: Collection[str] = ()
) -> dict[tuple[str, str], float]:
    """The sums of the series of these names, by name and value of one of their labels.

    Raises NoCount as `total` does; those that are `signed` may be below 0.
    """
    found: dict[tuple[str, str], float] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line) if _name(line) in names else None
        if match:
            key = (match["name"], _labels(match["labels"]).get(label, ""))
            least = -math.inf if match["name"] in signed else 0
            found[key] = found.get(key, 0.0) + _count(match["name"], match["value"], least)
    return found


def _name(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0].strip()


def _labels(text: str | None) -> dict[str, str]:
    return {name: _ESCAPE.sub(lambda found: _ESCAPED[found[0]], value) for name, value in _LABEL.findall(text or "")}


def _count(name: str, text: str, least: float = 0) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise NoCount(f"{name} is {text[:50]!r}, no count")
    return value
