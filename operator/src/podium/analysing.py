"""Measures the rollouts that are analysed: one course each, a round of its routers at each interval.

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

from podium.analysis.ledger import Ledger, LedgerUnreadable, read
from podium.analysis.metrics import Kind
from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.pods import address_of, is_ready
from podium.kube.resources import PODS, Resource
from podium.metrics import course as courses
from podium.metrics.course import Course
from podium.metrics.prometheus import Access, Prometheus
from podium.metrics.queried import Look
from podium.metrics.scraper import Scraper
from podium.rollout.measuring import Findings, Snapshot, Task
from podium.rollout.wish import Wish

log = logging.getLogger(__name__)

CHECKPOINT: Final = 10.0
"""Seconds from one checkpoint to the next; longer where many are analysed."""
IDLE: Final = 1.0
"""Seconds until it is looked again whether this replica leads."""
WRITES: Final = 4.0
"""Checkpoints a second at the most: each is a write of the ledger and one of status."""


class View(Protocol):
    """What is read of the cache."""

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that are found by a name."""
        ...


class Source(Protocol):
    """Where the counts of metrics of type Prometheus come from."""

    every: float
    """Seconds from one look to the next, at the least."""

    async def look(self, wishes: Sequence[Wish], namespace: str, champion: str, candidate: str) -> Look:
        """The counts of both revisions at one instant; never fails, and says what is missing."""
        ...


class Queue(Protocol):
    """Where the keys of those go whom news concern."""

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
            known.task = task
        else:
            self._drop(key)
            now = self._clock()
            course = courses.begun(task, now, _stored(task))
            self._measured[key] = _Measured(task, course, course.live, now)
            self._news.set()

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """What measuring that rollout has come to; None while it is not measured."""
        known = self._measured.get(key)
        if known is None or known.task.rollout != rollout:
            return None
        return courses.found(known.course, known.task, known.published, self._clock())

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
            routers, needed = self._routers(key.namespace)
            try:
                found = await scraper.round(routers, (task.champion, task.candidate), task.asked.interval)
                now = self._clock()
                measured.course = courses.after(measured.course, measured.task, found, routers, needed, now)
                self._tell(key, measured, now)
            except Exception:
                log.exception("a round of %s/%s came to nothing", key.namespace, key.name)
                now = self._clock()
            due = max(due + task.asked.interval, now)
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
        due = measured.at + max(CHECKPOINT, len(self._measured) / WRITES)
        if said == measured.said and now < due:
            return
        measured.course = courses.checkpointed(measured.course) if now >= due else measured.course
        if measured.course.live is not None and (now >= due or measured.published is None or said != measured.said):
            measured.published, measured.at = measured.course.live, now
        measured.said = said
        self._queue.add(key)

    def _said(self, measured: _Measured, now: float) -> tuple[object, ...]:
        live = measured.course.live
        found = courses.found(measured.course, measured.task, None, now)
        told = (live is not None, bool(found.holds), bool(found.unreachable), bool(found.silent))
        if live is None:
            return (*told, found.holds)
        return (*told, live.decision.call)

    def _routers(self, namespace: str) -> tuple[dict[str, str], set[str]]:
        """Router pods that may have counted something, addresses by pod; and those that requests go to."""
        found, needed = {}, set()
        for pod in self._cache.owned(PODS, namespace, names.ROUTER):
            meta, at = pod["metadata"], address_of(pod)
            if at is not None:
                found[meta["name"]] = at
                if is_ready(pod) and "deletionTimestamp" not in meta:
                    needed.add(meta["name"])
        return found, needed

    def _drop(self, key: Key) -> None:
        known = self._measured.pop(key, None)
        for job in known.jobs if known is not None else ():
            job.cancel()


def _asked(task: Task) -> list[Wish]:
    """What Prometheus is to be asked for."""
    return [wish for wish in task.asked.wishes if wish.kind is Kind.PROMETHEUS]


def _stored(task: Task) -> Ledger | None:
    """The ledger to go on from. One that cannot be read is as none: evidence begins anew."""
    if not task.stored:
        return None
    try:
        return read(task.stored)
    except LedgerUnreadable as error:
        log.warning("the ledger of %s begins anew: %s", task.candidate, error)
        return None
