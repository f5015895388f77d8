"""The course of one rollout's measuring: what each round of readings makes of it. Pure; time is an argument.

before evidence is counted   figures of the champion are collected
the first weight is near     they are frozen, the ledger begins
from then on                 rounds become intervals, intervals are folded into the state

A Prometheus is looked at beside that, at a pace of its own. What a look brings is an interval that takes no time, at
the end of the last round's: its counts are of the time between two looks, the same for both arms.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from podium.analysis.expect import Traffic
from podium.analysis.intervals import Interval, asked_alike
from podium.analysis.ledger import Ledger, replay
from podium.analysis.metrics import STARTED, Kind
from podium.analysis.odds import MaxRatioUnreachable
from podium.analysis.state import fold
from podium.metrics import counts, freezing, heard, queried
from podium.metrics.counts import Levels
from podium.metrics.heard import LATE, PATIENCE, Heard
from podium.metrics.queried import Look, Queried
from podium.metrics.rounds import AT, Rounds, Situation, Taken, take
from podium.metrics.scraper import Round
from podium.rollout.measuring import NO_TRAFFIC, UNREAD, Findings, Snapshot, Task

APART = 120.0
"""Seconds by which two operators' clocks may differ: a `resume` that may be older than an alarm does not end it."""
EXPECTED = 10.0
"""Expected requests, by the weight, from which on their absence is reported (NoTraffic)."""
_SHORTEST = 5.0
"""Seconds of counting after which the traffic before the first weight is known."""
_RATES = 60.0
"""Seconds over which the present traffic is averaged."""


@dataclass(frozen=True)
class Course:
    """What is kept from round to round."""

    began: float
    """When measuring began, in seconds since 1970."""
    heard: Heard
    """When pods were read last, and why others were not."""
    rounds: Rounds = field(default_factory=Rounds)
    figures: Levels = field(default_factory=dict)
    """What the champion's counters grew by since."""
    totals: Levels = field(default_factory=dict)
    """What they stood at in the last round."""
    live: Snapshot | None = None
    trouble: str = ""
    """Why evidence cannot be counted at all."""
    weight: tuple[int, float] = (0, 0.0)
    """The weight that routers keep to, and since when that is known."""
    resumed: str | None = None
    """The last `resume` that an interval told of, or that was there before evidence began."""
    recent: tuple[Interval, ...] = ()
    """Of the last minute."""
    changed: str = ""
    """Why evidence does not go on from the ledger that there was."""
    queried: Queried = field(default_factory=Queried)
    """What Prometheus was asked for metrics of that type."""
    quiet: tuple[float, float] = (0.0, 0.0)
    """Since when no request of the champion, of the candidate, has come although some were expected; 0: they come."""


def begun(task: Task, now: float, ledger: Ledger | None) -> Course:
    """Measuring begins, or goes on from a stored ledger."""
    course = Course(began=now, heard=Heard(now), weight=(task.weight, now), resumed=task.resumed, changed=task.changed)
    if ledger is None:
        return course
    state = replay(ledger)
    if state.alarmed and state.alarmed_at is not None and task.resumed_at > state.alarmed_at + APART:
        course = replace(course, resumed=None)  # it was given while nobody measured, or noted by no ledger yet
    last = ledger.intervals[-1].weight if ledger.intervals else state.block.weight if state.block else 0
    since = task.applied_since if task.applied and task.weight == last and task.applied_since else now
    rounds = Rounds(began=ledger.plan.started_at, until=state.until, weight=last, seen=ledger.seen)
    known = queried.restored(ledger.seen)
    return replace(course, rounds=rounds, live=Snapshot(ledger, state), weight=(task.weight, since), queried=known)


def told(course: Course, before: Task, task: Task, now: float) -> Course:
    """The course once the planner knows more: a weight is kept to from when it says so, not from the next round."""
    if before.applied and task.applied and task.weight == course.weight[0]:
        return course
    return replace(course, weight=(task.weight, now))


def after(
    course: Course, task: Task, read: Round, routers: Collection[str], needed: Mapping[str, str], now: float
) -> Course:
    """The course after one more round.

    `routers`: pods that exist and may have counted something; `needed`: those of them that requests go to, and of
    which revision they are, routers of none.
    """
    course = _by_this_clock(course, read.began)
    weight = _weight(course, task, now)
    taken = take(course.rounds, _situation(course, task, weight, routers, now), read.began, read.samples,
                 task.asked.interval)  # fmt: skip
    watched = task.asked.watched
    said = heard.after(course.heard, read.failed, needed, (task.champion, task.candidate), now, may_be_none=watched)
    whole = not said.failed and (bool(needed) or watched)
    course = replace(
        course,
        rounds=taken.rounds,
        weight=weight,
        heard=said,
        resumed=task.resumed
        if course.live is None or any(each.resumed for each in taken.intervals)
        else course.resumed,
    )
    if course.live is not None:
        return _weighed(course, task, taken, now)
    figures = counts.total([course.figures, taken.champion]) if taken.champion and course.figures else taken.champion
    course = replace(course, figures=figures or course.figures, totals=freezing.totals(task.champion, read.samples))
    # Errors of the other pods count, although one pod cannot be read.
    ready = (whole or watched) and course.rounds.began is not None
    ready = ready and queried.known(course.queried, _asked(task))
    return _frozen(course, task, now) if task.begins and ready else course


def looked(course: Course, task: Task, look: Look, every: float, now: float) -> Course:
    """The course after one more look at a Prometheus, `every` seconds after the one before."""
    weight = _weight(course, task, now)
    taken = queried.take(course.queried, look, weight[1], every)
    course = replace(course, weight=weight, queried=taken.queried)
    if course.live is None:
        return course
    ledger, state = course.live.ledger, course.live.state
    seen = queried.after(taken.queried, course.rounds.seen)
    if state.until < ledger.plan.started_at:
        return replace(course, live=replace(course.live, ledger=replace(ledger, seen=seen)))  # no round has ended yet
    for counted, straddles in ((taken.straddling, True), (taken.weighed, False)):
        if counted:
            at = state.until
            interval = Interval(at, at, weight[0], task.step, counted, straddles=straddles)
            ledger, state = ledger.record(interval, seen), fold(ledger.plan, state, interval)
    return replace(course, live=Snapshot(replace(ledger, seen=seen), state, course.live.traffic))


def _weight(course: Course, task: Task, now: float) -> tuple[int, float]:
    return (task.weight, now) if not task.applied or task.weight != course.weight[0] else course.weight


def _asked(task: Task) -> list[str]:
    """The metrics that a Prometheus counts."""
    return [wish.name for wish in task.asked.wishes if wish.queried]


def _by_this_clock(course: Course, now: float) -> Course:
    """The same with no time after now: the last operator's clock may have been ahead, or this one was put back."""
    course = replace(course, queried=queried.before(course.queried, now))
    rounds, (weight, since) = course.rounds, course.weight
    if rounds.until <= now and since <= now:
        return course
    seen = {
        name: {each: min(value, now) if each == AT else value for each, value in levels.items()}
        for name, levels in rounds.seen.items()
    }
    began = None if rounds.began is None else min(rounds.began, now)
    rounds = replace(rounds, began=began, until=min(rounds.until, now), seen=seen)
    return replace(course, rounds=rounds, weight=(weight, min(since, now)), heard=course.heard.before(now))


def _situation(
    course: Course, task: Task, weight: tuple[int, float], routers: Collection[str], now: float
) -> Situation:
    plan = course.live.ledger.plan if course.live else None
    return Situation(
        champion=task.champion,
        candidate=task.candidate,
        weight=weight[0],
        since=weight[1],
        step=task.step,
        routers=routers,
        edges={each.name: each.edge for each in plan.metrics if each.edge is not None} if plan else {},
        rewards=[wish.name for wish in task.asked.wishes if wish.kind is Kind.REWARD],
        pods=task.pods,
        warming=min(now, course.rounds.until) < task.warm_at,  # the interval begins where the last one ended
        resumed=bool(task.resumed) and task.resumed != course.resumed,
    )


def _frozen(course: Course, task: Task, now: float) -> Course:
    """Figures are frozen and the ledger begins; earlier counts are not evidence."""
    try:
        plan = freezing.plan(task, course.figures, {**course.totals, **course.queried.totals}, now)
    except (MaxRatioUnreachable, ValueError) as error:
        return replace(course, trouble=str(error))
    ledger = replace(Ledger.begin(plan), seen=queried.after(course.queried, course.rounds.seen))
    seconds = now - course.began
    rate = course.figures.get(STARTED, 0) / seconds if seconds >= _SHORTEST else 0.0
    live = Snapshot(ledger, replay(ledger), Traffic(rate, 0))
    return replace(course, live=live, trouble="", quiet=(0.0, 0.0))


def _weighed(course: Course, task: Task, taken: Taken, now: float) -> Course:
    assert course.live is not None
    ledger, state = course.live.ledger, course.live.state
    for interval in taken.intervals:
        if not state.until <= interval.start <= interval.end:
            # By another clock, which was ahead, the last one ended later than this one began: it takes no time then.
            start = max(interval.start, state.until)
            interval = replace(interval, start=start, end=max(interval.end, start))
        ledger = ledger.record(interval, queried.after(course.queried, taken.rounds.seen))
        state = fold(ledger.plan, state, interval)
    recent = tuple(each for each in (*course.recent, *taken.intervals) if each.end > now - _RATES)
    live = Snapshot(ledger, state, _traffic(recent))
    return replace(course, live=live, recent=recent, quiet=_quiet(course, task, taken, now))


def _quiet(course: Course, task: Task, taken: Taken, now: float) -> tuple[float, float]:
    if not task.applied:
        return 0.0, 0.0
    found = []
    for arm, since in enumerate(course.quiet):
        came = sum(each.counted.get(STARTED, (0, 0))[arm] for each in taken.intervals)
        others = sum(each.counted.get(STARTED, (0, 0))[1 - arm] for each in taken.intervals)
        share = task.weight / 10_000 if arm else 1 - task.weight / 10_000
        if came or not share:
            found.append(0.0)
        else:
            found.append(since or (now if others else 0.0))
    return found[0], found[1]


def checkpointed(course: Course) -> Course:
    """The same with all intervals folded into the ledger's checkpoint: the state stays as it is."""
    if course.live is None:
        return course
    return replace(course, live=replace(course.live, ledger=course.live.ledger.checkpointed()))


def found(course: Course, task: Task, published: Snapshot | None, now: float) -> Findings:
    """What the planner is told."""
    said = course.heard
    waited, why = now - said.since, said.why(now)
    none = "there are none"
    alone = said.unread is not None and now - said.unread >= PATIENCE
    holds = [course.trouble] if course.trouble else []
    who = "pods" if task.asked.watched else "routers and pods" if task.asked.labelled else "routers"
    if not said.fresh and waited <= LATE + task.asked.interval:
        holds.append(UNREAD)
    if waited > LATE + task.asked.interval:
        holds.append(f"not all {who} have been read for {waited // 10 * 10:.0f} s: {why or none}")
    unreachable = (why or none) if waited >= PATIENCE else why if alone else ""
    silent = "" if task.asked.watched else _silent(course, task, now)
    holds += [silent] if silent else []
    holds += queried.holds(course.queried, _asked(task), now, begun=course.live is not None)
    return Findings(
        course.live, published, tuple(holds), unreachable, silent, unread_since=said.unread, changed=course.changed
    )


def _silent(course: Course, task: Task, now: float) -> str:
    rates = _traffic(course.recent)
    for arm, since in enumerate(course.quiet):
        share = task.weight / 10_000 if arm else 1 - task.weight / 10_000
        expected = (rates.champion + rates.candidate) * share * PATIENCE
        if since and now - since >= PATIENCE and expected >= EXPECTED:
            who = "the candidate" if arm else "the champion"
            return (
                f"{who} has had no request for {now - since:.0f} s, where about {expected:.0f} were expected: callers "
                "may bypass the routers, or read pod addresses from DNS"
            )
    return ""


def _traffic(recent: tuple[Interval, ...]) -> Traffic:
    seconds = sum(each.end - each.start for each in recent)
    if seconds <= 0:
        return NO_TRAFFIC
    pairs = [each.counted.get(STARTED) or each.counted.get(counts.FINISHED, (0, 0)) for each in recent]
    champion, candidate = (sum(pair[arm] for pair in pairs) / seconds for arm in (0, 1))
    return Traffic(champion, candidate, alike=asked_alike((champion, candidate), recent[-1].pods))
