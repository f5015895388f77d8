"""How long a run will take, judged by the runs before it and by the size of its input."""

import math

_CLASSES = 64


class Durations:
    """Means of recent runs in seconds, one for each power of two of the input's size.

    One mean for all would take 10,000 rows for as quick as the single rows before them, and a rate would take a single
    row for next to nothing after batches, whatever a run costs at the least.
    """

    def __init__(self) -> None:
        self._means: list[float | None] = [None] * (_CLASSES + 1)

    def observe(self, size: int, seconds: float) -> None:
        """A run on an input of that size took so long."""
        index = min(size.bit_length(), _CLASSES)
        mean = self._means[index]
        self._means[index] = seconds if mean is None else mean + (seconds - mean) / 8

    def expect(self, size: int) -> float:
        """Seconds that a run on an input of that size will take; infinity while nothing is known.

        Between sizes that have been seen, time is taken to grow with the size: too long for a model that takes the same
        time for any input, but only until it has been seen. Below all of them, no shorter than the smallest took.
        """
        index = min(size.bit_length(), _CLASSES)
        mean = self._means[index]
        return self._neighbour(index) if mean is None else mean

    def _neighbour(self, index: int) -> float:
        for smaller in range(index - 1, -1, -1):
            mean = self._means[smaller]
            if mean is not None:
                return mean * 2.0 ** (index - smaller)
        return next((mean for mean in self._means[index:] if mean is not None), math.inf)
