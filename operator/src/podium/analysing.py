"""Measures the rollouts that are analysed: one course each, a round of those that count at each interval.

Metrics of type Prometheus are asked for beside the rounds, at their own pace: whatever becomes of that, rounds go on.

The planner says what is to be measured (`follow`) and asks what has come of it (`findings`); news that matter wake
it. Only the leader measures. What a ledger in the cluster says is taken up by whoever leads next.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from podium.keys import Key
from podium.metrics import course as courses
from podium.metrics.access import Access
from podium.metrics.course import Course
from podium.metrics.prometheus import Prometheus
from podium.metrics.queried import Look
from podium.metrics.scraper import Scraper
from podium.metrics.source import View
from podium.metrics.sources import source
from podium.rollout.measuring import Findings, Snapshot, Task
from podium.rollout.wish import Wish

log = logging.getLogger(__name__)

CHECKPOINT: Final = 10.0
"""Seconds from one checkpoint to the next; longer where many are analysed."""
IDLE: Final = 1.0
"""Seconds until it is looked again whether this replica leads."""
MOST_INTERVALS: Final = 30
"""Since the last checkpoint, where evidence goes to and fro and is published more often than that."""
WRITES: Final = 4.0
"""Checkpoints a second at the most: each is a write of the ledger and one of status."""


class Source(Protocol):
    """Where the counts of metrics of type Prometheus come from."""

    every: float
    """Seconds from one look to the next, at the least."""

    async def look(self, wishes: Sequence[Wish], namespace: str, champion: str, candidate: str) -> Look:
        """The counts of both revisions at one instant; never fails, and says what is missing."""
        ...


class Queue(Protocol):
    """The work queue: takes the key of each ModelDeployment that there is news of."""

    def add(self, key: Key) -> None:
        """Its pass is due."""
        ...


@dataclass
class _Measured:
    """One rollout."""

    task: Task
    course: Course
    published: Snapshot | None
    at: float
    """When that was, in seconds since 1970."""
    said: tuple[object, ...] = ()
    """What the planner knows that may decide: other than this wakes it."""
    jobs: "tuple[asyncio.Task[None], ...]" = ()


class Analyst:
    """Measures; `run` for as long as the process lives."""

    def __init__(
        self,
        cache: View,
        queue: Queue,
        leading: Callable[[], bool],
        *,
        scraper: Callable[[], Scraper] = Scraper,
        prometheus: Source | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._leading = leading
        self._scraper = scraper
        self._prometheus = prometheus or Prometheus(Access())
        self._clock = clock
        self._measured: dict[Key, _Measured] = {}
        self._news = asyncio.Event()

    def follow(self, key: Key, task: Task | None) -> None:
        """What is to be measured of a ModelDeployment from now on; None: nothing."""
        known = self._measured.get(key)
        if task is None:
            self._drop(key)
        elif known is not None and known.task.rollout == task.rollout and known.task.champion == task.champion:
            known.course = courses.told(known.course, known.task, task, self._clock())
            known.task = task
        else:
            ledger = task.stored
            if known is not None and known.task.rollout == task.rollout and known.published is not None:
                ledger = known.published.ledger  # beside another champion it goes on from what is written down
            self._drop(key)
            now = self._clock()
            course = courses.begun(task, now, ledger)
            self._measured[key] = _Measured(task, course, course.live, now)
            self._news.set()

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """What measuring that rollout has come to; None while it is not measured."""
        known = self._measured.get(key)
        if known is None or known.task.rollout != rollout:
            return None
        return courses.found(known.course, known.task, known.published, self._clock())

    def analysed(self) -> dict[Key, tuple[Task, Snapshot | None]]:
        """By ModelDeployment what is measured now, and what that has come to so far."""
        return {key: (each.task, each.course.live) for key, each in self._measured.items()}

    def forget(self) -> None:
        """Another operator measures from now on."""
        for key in list(self._measured):
            self._drop(key)

    async def run(self) -> None:
        """Begin to measure whatever is followed."""
        try:
            async with self._scraper() as scraper:
                while True:
                    if not self._leading():
                        self.forget()
                    for key, each in self._measured.items():
                        each.jobs = each.jobs or self._begun(scraper, key, each)
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(IDLE):  # wait_for would lose a cancellation beside news
                            await self._news.wait()
        finally:
            for each in self._measured.values():
                for job in each.jobs:
                    job.cancel()
                each.jobs = ()

    def _begun(self, scraper: Scraper, key: Key, measured: _Measured) -> "tuple[asyncio.Task[None], ...]":
        create = asyncio.get_running_loop().create_task
        jobs = (create(self._measure(scraper, key, measured)),)
        return (*jobs, create(self._ask(key, measured))) if _asked(measured.task) else jobs

    async def _measure(self, scraper: Scraper, key: Key, measured: _Measured) -> None:
        due = self._clock()
        while True:
            task = measured.task
            try:
                targets = source(task.asked).targets(self._cache, key, task)
                found = await scraper.round(targets.asks, task.asked.interval)
                now = self._clock()
                measured.course = courses.after(
                    measured.course, measured.task, found, targets.known, targets.needed, now
                )
                self._tell(key, measured, now)
            except Exception:
                log.exception("a round of %s/%s came to nothing", key.namespace, key.name)
                now = self._clock()
            # A clock that was put back does not keep anybody waiting until it is as late again.
            due = min(max(due + task.asked.interval, now), now + task.asked.interval)
            await asyncio.sleep(due - now)

    async def _ask(self, key: Key, measured: _Measured) -> None:
        while True:
            task, began = measured.task, self._clock()
            every = max(self._prometheus.every, task.asked.interval)
            try:
                look = await self._prometheus.look(_asked(task), key.namespace, task.champion, task.candidate)
                now = self._clock()
                measured.course = courses.looked(measured.course, measured.task, look, every, now)
                self._tell(key, measured, now)
            except Exception:
                log.exception("a look at Prometheus for %s/%s came to nothing", key.namespace, key.name)
            await asyncio.sleep(max(began + every - self._clock(), 0))

    def _tell(self, key: Key, measured: _Measured, now: float) -> None:
        """Publish what is due, and wake the planner where something may be decided, or written."""
        said = self._said(measured, now)
        measured.at = min(measured.at, now)  # a clock may be put back
        due = measured.at + max(CHECKPOINT, len(self._measured) / WRITES)
        if said == measured.said and now < due:
            return
        live = measured.course.live
        if now >= due or (live is not None and len(live.ledger.intervals) >= MOST_INTERVALS):
            measured.course = courses.checkpointed(measured.course)
        if measured.course.live is not None and (now >= due or measured.published is None or said != measured.said):
            measured.published, measured.at = measured.course.live, now
        measured.said = said
        self._queue.add(key)

    def _said(self, measured: _Measured, now: float) -> tuple[object, ...]:
        live = measured.course.live
        found = courses.found(measured.course, measured.task, None, now)
        told = (live is not None, bool(found.holds), bool(found.unreachable), bool(found.silent), found.unread_since)
        if live is None:
            return (*told, found.holds)
        return (*told, live.decision.call)

    def _drop(self, key: Key) -> None:
        known = self._measured.pop(key, None)
        for job in known.jobs if known is not None else ():
            job.cancel()


def _asked(task: Task) -> list[Wish]:
    """What Prometheus is to be asked for."""
    return [wish for wish in task.asked.wishes if wish.queried]
