"""From the answers of a Prometheus to the analysis' counts. Pure: time is an argument.

A look asks for two counts of each revision, events and total, all for one instant. What is new between two looks that
were answered in full is counted, for both arms over the same time:

    look        1      2      3      4      5
    champion    900    950    -      1050   400      3: no answer. Neither good nor bad; 2 to 4 is one longer interval
    candidate   10     12     14     16     18       5: a count went down, since a pod left the sum: 4 to 5 is dropped
    counted            50,2          100,4

A pod that left the sum may come back with all that it has ever counted (a scrape that failed once does that). So for
each loss, the first time that a total grows by as much is dropped as well.

Looks are as far apart as scrapes (`every`), or an interval would hold a scrape of one arm alone, which says nothing. A
look says what had been scraped until its instant, so an interval may hold requests that are older than its beginning by
one scrape interval. One that begins sooner than that after a change of weight straddles it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from podium.analysis.metrics import Counted
from podium.metrics.counts import Levels
from podium.rollout.measuring import UNASKED

LATE: Final = 120.0
"""Seconds after two intervals from which on a query of Prometheus is overdue."""
MOST_LOST: Final = 8
"""Losses of an arm that are remembered: a ledger is bounded."""
_AT: Final = "at"
_ARMS: Final = ("champion", "candidate")
_COUNTS: Final = ("events", "total")


class Level(NamedTuple):
    """What a revision's two queries of one metric came to."""

    events: float
    total: float


Answers = Mapping[str, Level | str]
"""By metric: the counts, or why there are none."""


@dataclass(frozen=True)
class Look:
    """What Prometheus said of all metrics at one instant."""

    at: float
    """Seconds since 1970: the samples' own timestamps."""
    champion: Answers
    candidate: Answers


@dataclass(frozen=True)
class Queried:
    """What is kept from look to look."""

    seen: Mapping[str, Levels] = field(default_factory=dict)
    """The ledger's, by `key(METRIC)`: the counts that the next interval is counted from."""
    totals: Levels = field(default_factory=dict)
    """`events:METRIC` and `total:METRIC` of the champion as last seen: base rates are frozen from them."""
    last: Look | None = None
    """By this operator."""
    overdue: float = 0.0
    """When that is too old, in seconds since 1970."""


class Taken(NamedTuple):
    """What one look comes to."""

    queried: Queried
    weighed: Counted
    straddling: Counted
    """Counted alone: the weight changed within the interval."""


def key(metric: str) -> str:
    """Key of a metric in a ledger's `seen`; it can be no pod's name."""
    return f"prometheus:{metric}"


def restored(seen: Mapping[str, Levels]) -> Queried:
    """From a ledger's `seen`."""
    return Queried({name: levels for name, levels in seen.items() if name.startswith(key(""))})


def before(queried: Queried, now: float) -> Queried:
    """The same with no look after now (seconds since 1970): a clock was put back."""
    last = queried.last
    ahead = max(0.0, last.at - now) if last else 0.0
    seen = {
        name: {each: min(value, now) if each == _AT else value for each, value in levels.items()}
        for name, levels in queried.seen.items()
    }
    last = replace(last, at=last.at - ahead) if last else None
    return replace(queried, seen=seen, last=last, overdue=queried.overdue - ahead)


def take(queried: Queried, look: Look, since: float, every: float) -> Taken:
    """One look more. `since`: from when on the present weight was in force (seconds since 1970)."""
    if queried.last is not None and look.at <= queried.last.at:
        return Taken(queried, {}, {})
    seen, totals = dict(queried.seen), dict(queried.totals)
    weighed: dict[str, tuple[float, float]] = {}
    straddling: dict[str, tuple[float, float]] = {}
    for metric, champion in look.champion.items():
        if isinstance(champion, str):
            continue
        totals |= {f"events:{metric}": champion.events, f"total:{metric}": champion.total}
        candidate = look.candidate.get(metric, "")
        if isinstance(candidate, str):
            continue
        before = seen.get(key(metric))
        new, seen[key(metric)] = _grown(before, _levels(look.at, (champion, candidate)))
        if before is not None and new is not None:
            # By another operator's clock, which was ahead, the last look may seem to be still to come.
            into = weighed if since + every <= before[_AT] < look.at else straddling
            into |= {f"{name}:{metric}": (new[f"{name}:champion"], new[f"{name}:candidate"]) for name in _COUNTS}
    return Taken(Queried(seen, totals, look, look.at + 2 * every + LATE), weighed, straddling)


def holds(queried: Queried, metrics: Iterable[str], now: float, *, begun: bool) -> tuple[str, ...]:
    """Why figures are missing, a sentence each. Before evidence is counted (`begun`) a candidate may have none yet."""
    last = queried.last
    if last is None:
        return (UNASKED,) if any(True for _ in metrics) else ()
    if now > queried.overdue:
        return ("Prometheus has not been asked for minutes: see the operator's log",)
    found: dict[str, None] = {}
    for metric in metrics:
        for answers in (last.champion, last.candidate) if begun else (last.champion,):
            why = answers.get(metric, UNASKED)
            if isinstance(why, str):
                found.setdefault(why)
                break  # what fails for both has one cause
    return tuple(found)


def known(queried: Queried, metrics: Iterable[str]) -> bool:
    """Whether all of the metrics have been answered for the champion, by this operator."""
    return all(f"total:{metric}" in queried.totals for metric in metrics)


def _levels(at: float, arms: tuple[Level, Level]) -> dict[str, float]:
    found = {_AT: at}
    for arm, level in zip(_ARMS, arms, strict=True):
        found |= {f"events:{arm}": level.events, f"total:{arm}": level.total}
    return found


def _grown(before: Levels | None, now: Levels) -> tuple[Levels | None, Levels]:
    """What is new, or None where that cannot be told; and what is kept as seen."""
    if before is None:
        return None, now
    new = {name: count - before.get(name, 0.0) for name, count in now.items() if name != _AT}
    lost = {arm: _lost(before, arm) for arm in _ARMS}
    if any(count < 0 for count in new.values()):
        lost = {arm: [*lost[arm], max(0.0, -new[f"total:{arm}"])] for arm in _ARMS}
        return None, {**now, **_remembered(lost)}
    left = {arm: _still_away(lost[arm], new[f"total:{arm}"]) for arm in _ARMS}
    return (new if left == lost else None), {**now, **_remembered(left)}


def _lost(before: Levels, arm: str) -> list[float]:
    return sorted((count for name, count in before.items() if name.startswith(f"lost:{arm}")), reverse=True)


def _still_away(lost: list[float], grown: float) -> list[float]:
    """Without those that may be back: the largest that fit into what is new."""
    away = []
    for count in lost:
        if count <= grown:
            grown -= count
        else:
            away.append(count)
    return away


def _remembered(lost: Mapping[str, list[float]]) -> Levels:
    """The smallest losses: growth that brings back a larger one is dropped for their sake, too."""
    kept = {
        arm: sorted((count for count in counts if count), reverse=True)[-MOST_LOST:] for arm, counts in lost.items()
    }
    return {f"lost:{arm}:{number}": count for arm, counts in kept.items() for number, count in enumerate(counts)}


def after(queried: Queried, seen: Mapping[str, Levels]) -> Mapping[str, Levels]:
    """What a ledger is to keep as seen: the routers' levels, and these beside them."""
    return {**seen, **queried.seen}
