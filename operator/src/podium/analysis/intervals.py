"""One interval: what both arms counted in the same window, and what about it matters for weighing it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podium.analysis.metrics import Counted

WHOLE = 10_000
"""All traffic, in the unit of weights."""


@dataclass(frozen=True)
class Interval:
    """Counts of one window, by counter and arm."""

    start: float
    """Seconds since 1970."""
    end: float
    weight: int
    """The candidate's, of 10,000, that was applied all the time (or until within it: `straddles`)."""
    step: int
    """Of the rollout, from 0."""
    counted: Counted = field(default_factory=dict)
    """By counter: the champion's count and the candidate's. One that was not read is missing: not 0."""
    pods: tuple[int, int] = (0, 0)
    """Ready pods, the champion's and the candidate's; (0, 0) where that is not known."""
    straddles: bool = False
    """Whether the weight changed within it: then it is counted in the totals alone."""
    warming: bool = False
    """Whether pods were too young for their latency to be judged."""
    resumed: bool = False
    """Whether a person resumed just before it: an alarm on the sample ratio is over, and its evidence begins anew."""

    @property
    def alike(self) -> bool:
        """Whether a candidate's pod was asked at least half as much as a champion's, or that is not known."""
        return asked_alike(self.counted.get("started") or self.counted.get("finished") or (0, 0), self.pods)

    def to_json(self) -> dict[str, object]:
        """A compact JSON object."""
        flags = [name for name in _FLAGS if getattr(self, name)]
        return {
            "t": [self.start, self.end],
            "w": self.weight,
            "s": self.step,
            "p": list(self.pods),
            "c": {name: list(pair) for name, pair in sorted(self.counted.items())},
            **({"f": flags} if flags else {}),
        }

    @staticmethod
    def from_json(data: Mapping[str, object]) -> "Interval":
        """The inverse. Raises KeyError, TypeError or ValueError for what is none."""
        start, end = _numbers(data["t"], 2)
        champion, candidate = _numbers(data["p"], 2)
        counted = data["c"]
        flags = data.get("f", [])
        if not isinstance(counted, dict) or not isinstance(flags, list) or not set(flags) <= set(_FLAGS):
            raise ValueError("an interval's counts are an object, and its flags a list of names")
        weight, step = _numbers([data["w"], data["s"]], 2)
        return Interval(
            start=start,
            end=end,
            weight=int(weight),
            step=int(step),
            counted={str(name): _pair(pair, signed=str(name).startswith("sum:")) for name, pair in counted.items()},
            pods=(int(champion), int(candidate)),
            straddles="straddles" in flags,
            warming="warming" in flags,
            resumed="resumed" in flags,
        )


def asked_alike(units: tuple[float, float], pods: tuple[int, int]) -> bool:
    """Whether, by the champion's and the candidate's, a candidate's pod got at least half as many units."""
    return 2 * units[1] * pods[0] >= units[0] * pods[1]


_FLAGS = ("straddles", "warming", "resumed")


def _pair(value: object, *, signed: bool) -> tuple[float, float]:
    champion, candidate = _numbers(value, 2)
    if not signed and min(champion, candidate) < 0:
        raise ValueError(f"{value!r} are no counts")
    return champion, candidate


def _numbers(value: object, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{value!r} is no list of {count} numbers")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float) or not number == number:
            raise ValueError(f"{number!r} is no number")
    return value
