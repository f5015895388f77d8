"""The steps of a rollout that gives its candidate weight bit by bit, as they are frozen at its start. Pure values."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

MOST = 100
"""Percent, of a weight."""
LONGEST = 10**9
"""Seconds, of a step: thirty years."""


@dataclass(frozen=True)
class Step:
    """Either a weight that holds for a time, or a pause that a person ends."""

    weight: int | None = None
    """Percent of the requests; None for a pause."""
    holds: timedelta = timedelta(0)
    """How long the weight holds at least, from when it was applied."""

    @property
    def pauses(self) -> bool:
        """Whether a person's `resume` ends it."""
        return self.weight is None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the rollout's record."""
        if self.weight is None:
            return {"pause": True}
        return {"weight": self.weight, "holds": self.holds.total_seconds()}


def read_steps(value: object) -> tuple[Step, ...]:
    """The inverse, of all steps; ValueError for what is no list of steps."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list of steps")
    return tuple(_read(one) for one in value)


def _read(value: object) -> Step:
    if value == {"pause": True}:
        return Step()
    fields = value if isinstance(value, dict) else {}
    weight, holds = fields.get("weight"), fields.get("holds", 0)
    numbers = (weight, holds)
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers) or not isinstance(weight, int):
        raise ValueError(f"{value!r} is no step")
    if not (0 < weight < MOST and 0 <= holds <= LONGEST):
        raise ValueError(f"{value!r} is no step")
    return Step(weight, timedelta(seconds=holds))


def weight_at(steps: Iterable[Step], index: int) -> int:
    """Percent that the candidate is to have at that step: a pause keeps what was before it, at first nothing."""
    given = [step.weight for place, step in enumerate(steps) if place <= index and step.weight is not None]
    return given[-1] if given else 0
