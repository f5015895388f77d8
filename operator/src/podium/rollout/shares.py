"""How many pods the champion and the candidate of a Canary have at a weight. Pure arithmetic."""

import math
from dataclasses import dataclass

HALF = 50
"""Percent up to which the candidate's pods come beside all of the champion's."""
BEYOND = 20
"""Points by which the candidate's share may exceed the weight before people are told of it."""


@dataclass(frozen=True)
class Pods:
    """Numbers of pods of both, at one weight."""

    champion: int
    candidate: int

    @property
    def share(self) -> float:
        """Percent of the pods that are the candidate's; without any pod 0."""
        total = self.champion + self.candidate
        return 100 * self.candidate / total if total else 0.0


def exact_pods(weight: int, size: int, *, beside: bool) -> Pods:
    """The pods that carry `weight` percent of the requests of `size` pods, where the router keeps weights."""
    candidate = max(1, math.ceil(weight * size / 100))
    return Pods(size, candidate) if beside else _exchanged(candidate, size)


def pods_by_share(weight: int, size: int, *, beside: bool, kept: bool) -> Pods:
    """The pods whose numbers come nearest to `weight` percent, at least one of each.

    `beside`: the candidate's come next to the champion's `size`, and above 50 % these give way, unless they are `kept`.
    Else each takes the place of one of the champion's.
    """
    if not beside:
        return min((_exchanged(n, size) for n in _around(weight * size / 100)), key=lambda pods: _off(pods, weight))
    if weight > HALF and not kept:
        most = (Pods(min(size, n), size) for n in _around(size * (100 - weight) / weight))
        return min(most, key=lambda pods: _off(pods, weight))
    some = (Pods(size, min(size, n)) for n in _around(weight * size / (100 - weight)))
    return min(some, key=lambda pods: _off(pods, weight))


def enough_replicas(weight: int, *, beside: bool) -> int:
    """The fewest pods of which one is no more than `weight` percent."""
    smaller = min(weight, 100 - weight)
    return math.ceil((100 - smaller) / smaller) if beside else math.ceil(100 / smaller)


def enough_in_place(weight: int) -> int:
    """The fewest pods of which `weight` percent (at most 99), rounded up to whole pods, leave one to the champion."""
    return math.ceil(100 / (100 - weight))


def _exchanged(candidate: int, size: int) -> Pods:
    taken = min(candidate, max(1, size - 1))
    return Pods(max(1, size - taken), taken)


def _around(ideal: float) -> tuple[int, int]:
    """The whole numbers next to it, at least 1."""
    return max(1, math.floor(ideal)), max(1, math.ceil(ideal))


def _off(pods: Pods, weight: int) -> float:
    return abs(pods.share - weight)
