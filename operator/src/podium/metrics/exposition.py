"""Sums of counters in Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details: a line `name{labels} value` for each
series, perhaps with a time behind it. Blanks and tabs may stand between all of them, and lines end with "\\n" alone.
Only the lines of the series that are asked for are looked into, and one of those that cannot be read is refused: as a 0
it would hide errors. OpenMetrics writes counters alike, and values as `12.0`.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_BLANK: Final = r"[ \t]*"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ONE: Final = rf"{_BLANK}(?:[a-zA-Z_]\w*|{_QUOTED}){_BLANK}={_BLANK}{_QUOTED}{_BLANK}(?:,|(?=\}}))"
_LINE = re.compile(
    rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:{_BLANK}\{{(?P<labels>(?:{_ONE})*{_BLANK})\}}{_BLANK}|[ \t]+)"
    r"(?P<value>[^ \t{]+)(?:[ \t].*)?"
)
_LABEL = re.compile(r'[ \t]*([a-zA-Z_]\w*|"(?:[^"\\]|\\.)*")[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(?:,|$)')
_MATCHER = re.compile(r'([a-zA-Z_]\w*)(=~?)"([^"\\]*)"')
_ESCAPED: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_ESCAPE = re.compile(r'\\[\\"n]')


class NoCount(ValueError):
    """A series that was asked for has a value that is no count, or a line that cannot be read."""


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
    number from 0 up, and for a line of theirs that cannot be read.
    """
    selectors: dict[str, list[Selector]] = {}
    for each in series:
        selector = Selector.of(each)
        selectors.setdefault(selector.name, []).append(selector)
    found = 0.0
    for match in _lines(text, selectors):
        labels = _labels(match["labels"])
        if any(one.takes(labels) for one in selectors[match["name"]]):
            found += _count(match["name"], match["value"])
    return found


def by_label(
    text: str, names: Collection[str], label: str, signed: Collection[str] = ()
) -> dict[tuple[str, str], float]:
    """The sums of the series of these names, by name and value of one of their labels.

    Raises NoCount as `total` does; those that are `signed` may be below 0.
    """
    found: dict[tuple[str, str], float] = {}
    for match in _lines(text, names):
        key = (match["name"], _labels(match["labels"]).get(label, ""))
        least = -math.inf if match["name"] in signed else 0
        found[key] = found.get(key, 0.0) + _count(match["name"], match["value"], least)
    return found


def _lines(text: str, names: Collection[str]) -> Iterator[re.Match[str]]:
    """The lines of the series of these names, taken apart. Raises NoCount for one that cannot be."""
    if not names:
        return
    for found in _begins(tuple(sorted(names))).finditer(text):
        line = found["line"].rstrip(" \t\r")
        match = _LINE.fullmatch(line)
        if match is None:
            raise NoCount(
                f"{found['name']} has a line {line[:80]!r}, not `name{{labels}} value`: correct what exports it"
            )
        yield match


@lru_cache(maxsize=1024)
def _begins(names: tuple[str, ...]) -> re.Pattern[str]:
    """Of a line that begins with one of the names; `^` is behind a "\\n" alone, where str.splitlines cuts labels."""
    one = "|".join(map(re.escape, names))
    return re.compile(rf"^[ \t]*(?P<line>(?P<name>{one})(?![a-zA-Z0-9_:])[^\n]*)", re.MULTILINE)


def _labels(text: str | None) -> dict[str, str]:
    return {name: _ESCAPE.sub(lambda found: _ESCAPED[found[0]], value) for name, value in _LABEL.findall(text or "")}


def _count(name: str, text: str, least: float = 0) -> float:
    try:
        # Python alone reads 1_0, and digits of other scripts.
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise NoCount(f"{name} is {text[:50]!r}, no count")
    return value
