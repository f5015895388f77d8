"""Whole rollouts, thousands at once: worlds that draw what is counted, and what is decided in them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from podium.analysis.plan import BLOCK_SECONDS, Metric
from podium.analysis.restarts import Start
from tests.analysis.twin import Rows, Twin, log_weighted

Random = np.random.Generator
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Look:
    """One interval of all rollouts: when, how many requests each arm gets, and at which step."""

    number: int
    candidate: int
    champion: int
    step: int = 0

    @property
    def after(self) -> float:
        """Seconds since the start."""
        return self.number * LOOK_SECONDS


Who = npt.NDArray[np.intp]
"""Which rollouts go on, by number."""
Draw = Callable[[Look, Random, Who], tuple[Rows, Rows]]
"""(candidate's events, champion's events), of each rollout that goes on."""


@dataclass(frozen=True)
class World:
    """Looks, and what is counted at each for each metric."""

    looks: Sequence[Look]
    draws: Mapping[str, Draw]


@dataclass
class Result:
    """What many rollouts came to. Units are the candidate's."""

    runs: int
    rolled_back: Rows = field(default_factory=lambda: np.zeros(0))
    """Units of each that was rolled back."""
    promoted: Rows = field(default_factory=lambda: np.zeros(0))

    @property
    def back(self) -> float:
        """Share that was rolled back."""
        return len(self.rolled_back) / self.runs

    @property
    def up(self) -> float:
        """Share that was promoted."""
        return len(self.promoted) / self.runs


def simulate(
    world: World,
    metrics: Sequence[Metric],
    runs: int,
    seed: int,
    *,
    starts: Sequence[Start] = (Start(step=0),),
    alpha: float = 0.05,
    promote: bool = True,
) -> Result:
    """Every look may roll back or, with `promote` and at the last step, promote: then a rollout is over."""
    random = np.random.default_rng(seed)
    twins = {metric.name: Twin(metric, len(starts), runs) for metric in metrics}
    result, units, needed = Result(runs), 0, -math.log(alpha)
    begun: set[int] = set()
    block, last, who = None, world.looks[-1].step, np.arange(runs)
    for look in world.looks:
        now = (math.floor(look.after / BLOCK_SECONDS), look.step, look.candidate, look.champion)
        due = {place for place, start in enumerate(starts) if start.due(look.step, look.after)} - begun
        for twin in twins.values():
            if block not in (None, now):
                twin.end_block()
            for place in sorted(due):
                twin.restart(place)
            s1, s0 = world.draws[twin.metric.name](look, random, who)
            twin.add(np.float64(look.candidate), s1, np.float64(look.champion), s0)
        begun |= due
        block = now
        units += look.candidate
        back = _harm(list(twins.values())) >= needed
        up = np.zeros_like(back)
        if promote and look.step == last:
            up = ~back & np.all([twin.log_better() >= needed for twin in twins.values()], axis=0)
        result.rolled_back = np.append(result.rolled_back, np.full(back.sum(), units))
        result.promoted = np.append(result.promoted, np.full(up.sum(), units))
        who = who[~(back | up)]
        _keep(list(twins.values()), ~(back | up))
        if not len(who):
            break
    return result


def _harm(twins: list[Twin]) -> Rows:
    return log_weighted([1 / len(twins)] * len(twins), [twin.log_harm() for twin in twins])


def _keep(twins: list[Twin], which: npt.NDArray[np.bool_]) -> None:
    if not which.all():
        for twin in twins:
            twin.keep(which)


def looks(count: int, candidate: int, champion: int) -> list[Look]:
    """The same at each."""
    return [Look(number, candidate, champion) for number in range(count)]


def ramp(total: int, weights: Sequence[int], each: int, last: int) -> list[Look]:
    """A share of `total` requests that grows: `each` looks at each weight (percent), `last` at the last."""
    counts = [each] * (len(weights) - 1) + [last]
    steps = [step for step, count in enumerate(counts) for _ in range(count)]
    found = []
    for number, step in enumerate(steps):
        candidate = round(total * weights[step] / 100)
        found.append(Look(number, candidate, total - candidate, step))
    return found


def rates(candidate: float, champion: float) -> Draw:
    """Independent requests at two constant rates."""
    return moving(lambda look: (candidate, champion))


def moving(at: Callable[[Look], tuple[float, float]]) -> Draw:
    """Independent requests at rates that follow the clock: (candidate's, champion's)."""

    def draw(look: Look, random: Random, who: Who) -> tuple[Rows, Rows]:
        p1, p0 = at(look)
        return _binomial(random, look.candidate, p1, len(who)), _binomial(random, look.champion, p0, len(who))

    return draw


def bursts(base: float, chance: float, high: float) -> Draw:
    """In an interval, with that chance, both arms fail at the higher rate."""

    def draw(look: Look, random: Random, who: Who) -> tuple[Rows, Rows]:
        rate = np.where(random.random(len(who)) < chance, high, base)
        return (
            random.binomial(look.candidate, rate).astype(float),
            random.binomial(look.champion, rate).astype(float),
        )

    return draw


def pods(share: float, sigma: float, candidate: int, champion: int, runs: int, seed: int) -> "Pods":
    """Arms of so many pods, each with a share of slow answers of its own: lognormal around `share`."""
    random = np.random.default_rng(seed)
    drawn = [np.minimum(share * random.lognormal(0, sigma, (runs, count)), 1) for count in (candidate, champion)]
    return Pods(drawn[0], drawn[1])


@dataclass
class Pods:
    """Rates by pod, a row each rollout."""

    candidate: Rows
    champion: Rows

    def __call__(self, look: Look, random: Random, who: Who) -> tuple[Rows, Rows]:
        """Requests are spread evenly over an arm's pods."""
        return _spread(random, look.candidate, self.candidate[who]), _spread(random, look.champion, self.champion[who])


def _spread(random: Random, units: int, by_pod: Rows) -> Rows:
    each = np.full(by_pod.shape[1], units // by_pod.shape[1])
    each[: units % by_pod.shape[1]] += 1
    return random.binomial(each, by_pod).sum(axis=1).astype(float)


def _binomial(random: Random, units: int, rate: float, runs: int) -> Rows:
    return random.binomial(units, rate, runs).astype(float)
