"""The table that `make bench` prints: what was measured, the figure, and what the project aims at."""

import math
import os
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

WIDEST = 64
"""Letters of a figure in one line."""


@dataclass(frozen=True)
class Row:
    """One figure. `aim` is empty where nothing was promised."""

    what: str
    figure: str
    aim: str = ""


def show(rows: Sequence[Row]) -> None:
    """Print the rows, and the machine that they are of."""
    head = Row("what", "figure", "aim")
    what = max(len(row.what) for row in (head, *rows))
    figures = [textwrap.wrap(row.figure, WIDEST) for row in (head, *rows)]
    figure = max(len(line) for lines in figures for line in lines)
    for row, (first, *more) in zip((head, *rows), figures, strict=True):
        print(f"{row.what:{what}}  {first:{figure}}  {row.aim}".rstrip())
        for line in more:
            print(f"{'':{what}}  {line}")
        if row is head:
            print("-" * (what + figure + 16))
    print(f"\nOn {len(os.sched_getaffinity(0))} cores, which the benchmark's own programs share.")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and most of some seconds, as text."""
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"median {middle} s ({least} to {most}, {len(values)} times)"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed; the values need no order."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
