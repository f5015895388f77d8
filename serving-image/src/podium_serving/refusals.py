"""Requests like those that ended the probe's process: refused for as long as this one lives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from podium_serving.inference import Misfit

Feeds = Mapping[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class Case:
    """A kind of request: by its shapes, or by values of a datatype beyond what the model has survived.

    `beyond` is the last value that it survived on the way up (or down, if `downwards`), None for NaN. Or, with
    `least_in`: the least value of its datatype in that input, while another one of that datatype has a -1.
    """

    name: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    dtype: str = ""
    beyond: float | int | None = None
    downwards: bool = False
    least_in: str = ""

    def covers(self, feeds: Feeds) -> bool:
        """Whether the request is of this kind."""
        if self.shapes:
            return all(feeds[name].shape == shape for name, shape in self.shapes)
        if self.least_in:
            return self._least_over_minus_one(feeds)
        return any(self._has(tensor) for tensor in feeds.values() if tensor.dtype.name == self.dtype)

    def _least_over_minus_one(self, feeds: Feeds) -> bool:
        least = feeds[self.least_in]
        others = (each for name, each in feeds.items() if name != self.least_in and each.dtype == least.dtype)
        return bool((least == np.iinfo(least.dtype).min).any()) and any(bool((each == -1).any()) for each in others)

    def _has(self, tensor: "np.ndarray[Any, Any]") -> bool:
        if self.dtype == "object":
            return any(len(text) > (self.beyond or 0) for text in tensor.flat)
        if self.beyond is None:
            return bool(np.isnan(tensor).any())
        return bool((tensor < self.beyond).any() if self.downwards else (tensor > self.beyond).any())


@dataclass(frozen=True)
class Refusal:
    """What has ended the probe, and by which signal."""

    case: Case
    signal: str

    def check(self, feeds: Feeds) -> None:
        """Raises Misfit for a request of the kind."""
        if self.case.covers(feeds):
            raise Misfit(
                f"requests like this one are refused: when the model was probed with {self.case.name}, {self.signal} "
                "ended the process"
            )
