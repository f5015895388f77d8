"""How long a run will take, judged by the runs before it and by the size of its input."""

import math

_CLASSES = 64
WINDOW = 256
"""Runs after which a long one begins to be forgotten, and is after as many again."""
_SPARED = 1
"""Longest runs of a window that count for nothing: any run can be held up once by something else."""


class _Recent:
    """A high quantile of the last WINDOW to 2 WINDOW runs: the longest but one of this window and the one before."""

    __slots__ = ("before", "count", "longest")

    def __init__(self) -> None:
        self.longest: list[float] = []
        self.before: list[float] = []
        self.count = 0

    def observe(self, seconds: float) -> bool:
        """Whether that changes anything."""
        self.count += 1
        longest = self.longest
        changed = len(longest) <= _SPARED or seconds > longest[-1]
        if changed:
            longest.append(seconds)
            longest.sort(reverse=True)
            del longest[_SPARED + 1 :]
        if self.count == WINDOW:
            self.before, self.longest, self.count = longest, [], 0
        return changed or not self.count

    def high(self) -> float:
        """Seconds. Of a few runs the longest but one, and of a single one that."""
        both = sorted((*self.before, *self.longest), reverse=True)
        return both[min(_SPARED, len(both) - 1)]


class Durations:
    """How long runs take in seconds, a high quantile of recent ones for each power of two of the input's size.

    A mean would take a model of which one run in fifty is long for quick, and hold up everybody with that one. One
    figure for all sizes would take 10,000 rows for as quick as the single rows before them, and a rate would take a
    single row for next to nothing after batches, whatever a run costs at the least.
    """

    def __init__(self) -> None:
        self._runs: list[_Recent | None] = [None] * (_CLASSES + 1)
        self._high: list[float | None] = [None] * (_CLASSES + 1)

    def observe(self, size: int, seconds: float) -> None:
        """A run on an input of that size took so long."""
        index = min(size.bit_length(), _CLASSES)
        recent = self._runs[index]
        if recent is None:
            recent = self._runs[index] = _Recent()
        if recent.observe(seconds):
            self._high[index] = recent.high()

    def expect(self, size: int) -> float:
        """Seconds that a run on an input of that size will hardly exceed; infinity while nothing is known.

        Between sizes that have been seen, time is taken to grow with the size: too long for a model that takes the same
        time for any input, but only until it has been seen. Below all of them, no shorter than the smallest took.
        """
        index = min(size.bit_length(), _CLASSES)
        high = self._high[index]
        return self._neighbour(index) if high is None else high

    def _neighbour(self, index: int) -> float:
        for smaller in range(index - 1, -1, -1):
            high = self._high[smaller]
            if high is not None:
                return high * 2.0 ** (index - smaller)
        return next((high for high in self._high[index:] if high is not None), math.inf)
