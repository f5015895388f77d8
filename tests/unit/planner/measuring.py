"""Measuring as the planner sees it: it is told what to measure, and answers with what the test had callers see."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from podium.analysis.expect import Traffic
from podium.analysis.intervals import Interval
from podium.analysis.ledger import Ledger, replay
from podium.analysis.metrics import Kind
from podium.keys import Key
from podium.metrics import freezing
from podium.rollout.measuring import Findings, Snapshot, Task, unread

EVERY = 5.0
"""Seconds of an interval."""


@dataclass
class Callers:
    """What callers see each second: requests of both revisions together, and the share of each that fails."""

    rate: float = 200.0
    champion: float = 0.01
    candidate: float = 0.01
    checkout: tuple[float, float] = (0.01, 0.01)
    """Of the champion and the candidate: the share of what Prometheus counts that fails."""
    slow: tuple[float, float] = (0.0, 0.0)
    """Of the champion and the candidate: the share of answers that are slower than a metric's threshold."""
    preview: float = 0.0
    """Requests by the preview Service, which the candidate's pods alone count."""


@dataclass
class Measuring:
    """Stands for podium.analysing: the ledger is the real one, the counts are what was expected, to the request."""

    clock: Callable[[], datetime]
    callers: Callers = field(default_factory=Callers)
    task: Task | None = None
    live: Snapshot | None = None
    holds: tuple[str, ...] = ()
    unreachable: str = ""
    silent: str = ""
    unread_since: float | None = None
    deaf: bool = False
    """Whether no router can be read."""
    _until: float = 0.0
    _fresh: bool = False
    _resumed: str = ""
    _changed: str = ""

    def follow(self, key: Key, task: Task | None) -> None:
        """See Measures."""
        if task is None or (self.task is not None and self.task.rollout != task.rollout):
            self.task = self.live = None
        if task is not None and self.task is None:
            self._changed = task.changed
        if task is not None and self.task is None and task.stored:
            self.live = Snapshot(task.stored, replay(task.stored))
        self.task = task

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """See Measures."""
        if self.task is None or self.task.rollout != rollout:
            return None
        holds = self.holds if self._fresh or (self.deaf and self.holds) else unread(self.task.asked)
        return Findings(
            self.live,
            self.live,
            holds,
            self.unreachable,
            self.silent,
            changed=self._changed,
            unread_since=self.unread_since,
        )

    def forget(self) -> None:
        """See Measures."""
        self.task = self.live = None
        self._fresh = False

    def alarm(self) -> None:
        """Requests are found to be split otherwise than the weight says."""
        assert self.live is not None
        assert self.task is not None
        self._resumed = self.task.resumed
        checkpoint = replace(self.live.state, alarmed=True)
        self.live = Snapshot(replace(self.live.ledger, checkpoint=checkpoint, intervals=()), checkpoint)

    def next_change(self) -> datetime | None:
        """When the next round is."""
        return None if self.live is None else self.clock() + timedelta(seconds=EVERY)

    def act(self) -> bool:
        """Count what has passed since the last call; whether that is news."""
        now = self.clock().timestamp()
        task = self.task
        if task is None or self.deaf:
            self._until = now
            return False
        if self.live is None:
            if not task.begins:
                return False
            ledger = Ledger.begin(freezing.plan(task, {}, {}, now))
            self.live = Snapshot(ledger, replay(ledger), Traffic(self.callers.rate, 0))
            self._until, self._fresh = now, True
            return True
        if now - self._until < EVERY:
            return False
        self._count(task, now)
        self._fresh = True
        return True

    def _count(self, task: Task, now: float) -> None:
        assert self.live is not None
        seconds, share = now - self._until, task.weight / 10_000
        units = [self.callers.rate * seconds * (1 - share), self.callers.rate * seconds * share]
        units[1] += self.callers.preview * seconds
        failed = [units[0] * self.callers.champion, units[1] * self.callers.candidate]
        start = max(self._until, self.live.state.until)
        zero = (0.0, 0.0)
        counted = {
            "started": tuple(units), "finished": tuple(units), "answered": tuple(units), "abandoned": zero,
            "5xx": tuple(failed), "4xx": zero,
        }  # fmt: skip
        for wish in task.asked.wishes:
            if wish.kind is Kind.PROMETHEUS and not self.holds:
                rates = self.callers.checkout
                counted[f"total:{wish.name}"] = tuple(units)
                counted[f"events:{wish.name}"] = (units[0] * rates[0], units[1] * rates[1])
            if wish.kind is Kind.LATENCY:
                rates = self.callers.slow
                counted[f"above:{wish.name}"] = (units[0] * rates[0], units[1] * rates[1])
        interval = Interval(
            start, max(now, start), task.weight, task.step, counted, task.pods, straddles=not task.applied,
            resumed=bool(task.resumed) and task.resumed != self._resumed,
        )  # fmt: skip
        self._resumed = task.resumed
        ledger = self.live.ledger.record(interval, {})
        ledger = ledger.checkpointed()
        traffic = Traffic(units[0] / seconds, units[1] / seconds, alike=interval.alike)
        self.live, self._until = Snapshot(ledger, replay(ledger), traffic), now
