"""Evidence that starts anew: E = sum_s w_s E_s, where E_s runs from its start to now and is 1 before it.

A weighted mean of e-processes is one, as long as starts and weights are fixed beforehand. So a late regression is found
sooner, and a healthy candidate outlives an incident that both arms shared. Only the cumulative log evidence at each
start is kept: the difference from it is log E_s.
"""

from dataclasses import dataclass

MOST = 8
MOST_WHERE_MANY = 4
"""Starts where there are many metrics: each start keeps three numbers per grid point and metric in the ledger."""
MANY_METRICS = 10
_HOUR = 3600.0


@dataclass(frozen=True)
class Start:
    """When evidence starts anew: with a step of the rollout, or so many seconds after its start."""

    step: int | None = None
    after: float | None = None

    def due(self, step: int, elapsed: float) -> bool:
        """Whether an interval at that step, so many seconds after the start of the rollout, comes after it."""
        return (self.step is not None and step >= self.step) or (self.after is not None and elapsed >= self.after)


def starts(steps: int, longest: float, metrics: int) -> tuple[Start, ...]:
    """The starts of a rollout, in the order of their weights: its beginning, its steps, then 1, 2, 4, 8 ... hours.

    `steps`: how many weights it goes through; `longest`: maxDuration in seconds.
    """
    most = MOST if metrics <= MANY_METRICS else MOST_WHERE_MANY
    listed = [Start(step=step) for step in range(max(steps, 1))]
    after = _HOUR
    while after < longest and len(listed) < most:
        listed.append(Start(after=after))
        after *= 2
    return tuple(listed[:most])


def weights(count: int) -> tuple[float, ...]:
    """w_s = 1/(s (s + 1)), s = 1 .. count, divided by their sum 1 - 1/(count + 1): evidence begins at 1."""
    return tuple((count + 1) / (count * s * (s + 1)) for s in range(1, count + 1))
