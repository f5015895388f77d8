"""From rounds of readings to the analysis' intervals. Pure: time is an argument.

In a round every router, or every pod where pods count, is read once, all within min(1 s, interval/2). What its
counters grew by since it was read last goes into this round's interval, for both arms alike:

    round      1      2      3      4                      each cell: what is new in router a or b
    router a   .--a2--.--a3--.--a4--.
    router b   .--b2--x-----b4------.    x: missed         intervals: a2+b2, a3, a4+b4
                                                           a weight that changed in round 3: b4 is counted, not weighed

What a pod counted before the first round belongs to nobody. Pods that come count from their start; what a pod counted
after it was read last is lost with it. What was seen last is the ledger's `seen`: after a restart of the operator the
next round's interval is one coarse one, or, if the weight changed meanwhile, one that straddles.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from podium.analysis.intervals import Interval
from podium.analysis.metrics import Counted
from podium.metrics import counts
from podium.metrics.counts import Levels
from podium.metrics.reading import Reading
from podium.router.documents import cluster_name
from podium.router.endpoints import GRPC, HTTP

LONGEST_ROUND: Final = 1.0
BEHIND: Final = 1.0
"""Seconds: Envoy merges histograms, and counts its uptime, once in `stats_flush_interval` (bootstrap)."""
AT: Final = "at"
"""In `seen`, of a pod: when it was read last."""


class Answer(Protocol):
    """What one pod that counts said in a round."""

    @property
    def at(self) -> float:
        """When it said so, seconds since 1970."""
        ...

    @property
    def pod(self) -> str:
        """Its name."""
        ...

    @property
    def since(self) -> float:
        """From when on it has counted, seconds since 1970."""
        ...

    def series(self, revision: str) -> Mapping[str, Levels]:
        """What it has counted of a revision; by names that are one pod's own, and the same in every round."""
        ...


@dataclass(frozen=True)
class Sample:
    """One router's statistics, and when it told them."""

    at: float
    """Seconds since 1970."""
    reading: Reading

    @property
    def pod(self) -> str:
        """See Answer."""
        return self.reading.pod

    @property
    def since(self) -> float:
        """See Answer."""
        return self.at - self.reading.uptime - BEHIND

    def series(self, revision: str) -> Mapping[str, Levels]:
        """See Answer: by cluster."""
        clusters = (cluster_name(revision, port) for port in (HTTP, GRPC))
        found = {name: counts.levels(self.reading, name) for name in clusters}
        return {name: levels for name, levels in found.items() if levels is not None}


@dataclass(frozen=True)
class Situation:
    """What the operator knows at a round."""

    champion: str
    """Revisions."""
    candidate: str
    weight: int
    """The candidate's, of 10,000, that all routers have loaded."""
    since: float
    """Since when they have: seconds since 1970."""
    step: int = 0
    routers: Collection[str] = ()
    """Pods that exist, read or not: what was seen of others is forgotten."""
    edges: Mapping[str, float] = field(default_factory=dict)
    """By metric of latency: the edge (seconds, one of analysis.edges) above which an answer is an event."""
    rewards: Collection[str] = ()
    """Metrics of that type."""
    pods: tuple[int, int] = (0, 0)
    """Ready pods: champion's, candidate's."""
    warming: bool = False
    resumed: bool = False


@dataclass(frozen=True)
class Rounds:
    """What the next round is counted from."""

    began: float | None = None
    """When the first round was; None before it."""
    until: float = 0.0
    """When the last interval ended."""
    weight: int = 0
    """Of the last interval."""
    seen: Mapping[str, Levels] = field(default_factory=dict)
    """The ledger's: by `POD/CLUSTER` the levels seen last, and by `POD` when that was."""


class Taken(NamedTuple):
    """What one round comes to."""

    rounds: Rounds
    intervals: tuple[Interval, ...]
    """None, one, or two: what is counted alone, and what is weighed as well."""
    champion: Levels
    """What the champion's counters grew by, buckets included: figures are frozen from their sum."""


@dataclass(frozen=True)
class _Grown:
    """What is new at one router."""

    since: float
    champion: tuple[Levels, ...]
    candidate: tuple[Levels, ...]


def length(interval: float) -> float:
    """Seconds that a round may take."""
    return min(LONGEST_ROUND, interval / 2)


def take(rounds: Rounds, situation: Situation, began: float, samples: Iterable[Answer], interval: float) -> Taken:
    """A round that began at `began`, of an analysis that looks every `interval` seconds.

    A sample that is late, or older than the one before, is as if its router had not answered.
    """
    present = [each for each in samples if 0 <= each.at - began <= length(interval)]
    seen = {name: levels for name, levels in rounds.seen.items() if name.split("/")[0] in situation.routers}
    found: list[_Grown] = []
    for sample in present:
        grown = _grown(rounds, situation, sample, seen)
        if grown is not None:
            found.append(grown)
    if not present:
        return Taken(replace(rounds, seen=seen), (), {})
    until = max(sample.at for sample in present)
    after = Rounds(rounds.began if rounds.began is not None else began, until, situation.weight, seen)
    if not found:
        # Nothing was counted: the first round, or routers that nobody knew.
        return Taken(after if rounds.began is None else replace(after, until=rounds.until), (), {})
    champion = counts.total(part for each in found for part in each.champion)
    return Taken(after, _intervals(rounds, situation, until, found), champion)


def _grown(rounds: Rounds, situation: Situation, sample: Answer, seen: dict[str, Levels]) -> _Grown | None:
    """What is new at one router, which is then seen; None where it cannot be told since when."""
    pod = sample.pod
    known = rounds.seen.get(pod)
    if known is not None and sample.at <= known[AT]:
        return None
    # It began after the last round, though it may have counted more by now than that saw.
    anew = known is not None and sample.since > known[AT]
    new: dict[str, list[Levels]] = {situation.champion: [], situation.candidate: []}
    for revision, parts in new.items():
        for name, levels in sample.series(revision).items():
            part, seen[f"{pod}/{name}"] = counts.grown(None if anew else rounds.seen.get(f"{pod}/{name}"), levels)
            parts.append(part)
    seen[pod] = {AT: sample.at}
    since = known[AT] if known is not None else sample.since
    if known is None and (rounds.began is None or since < rounds.began):
        return None
    return _Grown(since, tuple(new[situation.champion]), tuple(new[situation.candidate]))


def _intervals(rounds: Rounds, situation: Situation, until: float, found: list[_Grown]) -> tuple[Interval, ...]:
    settled = situation.since if situation.weight == rounds.weight else max(situation.since, rounds.until)
    same = [each for each in found if settled <= each.since - BEHIND]
    across = [each for each in found if each not in same]
    made: list[Interval] = []
    if across:
        # Beside an interval that is weighed it takes no time of its own.
        end = rounds.until if same else until
        made.append(
            Interval(
                rounds.until, end, rounds.weight, situation.step, _counted(situation, across), situation.pods,
                straddles=True,
            )
        )  # fmt: skip
    if same:
        made.append(
            Interval(
                rounds.until, until, situation.weight, situation.step, _counted(situation, same), situation.pods,
                warming=situation.warming, resumed=situation.resumed,
            )
        )  # fmt: skip
    return tuple(made)


def _counted(situation: Situation, found: list[_Grown]) -> Counted:
    """By counter: the champion's and the candidate's. A router without a revision's cluster has sent it nothing."""
    champion = counts.total(part for each in found for part in each.champion)
    candidate = counts.total(part for each in found for part in each.candidate)
    made = {
        name: (champion[name], candidate[name])
        for name in (*counts.COUNTED, *counts.RATED)
        if name in champion and name in candidate
    }
    if counts.ANSWERED in made:
        for metric, edge in situation.edges.items():
            made[f"above:{metric}"] = (counts.slower(champion, edge), counts.slower(candidate, edge))
    if counts.VALUES in champion and counts.VALUES in candidate:
        for metric in situation.rewards:
            for name in (counts.VALUES, counts.SUM, counts.SQUARES):
                made[f"{name}:{metric}"] = (champion[name], candidate[name])
    return made
