"""Measuring as in the operator, down to the HTTP answers of the router pods: these alone are played.

`measuring.py` stands for all of it, and says what a test has it say. Here the sentences are the operator's own.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.metrics import course as courses
from podium.metrics.course import Course
from podium.metrics.scraper import Scraper
from podium.metrics.sources import source
from podium.rollout.measuring import Findings, Task
from tests.unit.metrics.given import cluster, ended, text
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import START, World, model

BEFORE = 5_000
"""Answers of the champion that each router has counted before the rollout."""
RATE = 20.0
"""Requests a second at each router."""
FIRST_ADDRESS = 7
"""Router pod podium-router-1 has 10.0.0.7, the next one 10.0.0.8."""


class Answer:
    """A router pod's answer as aiohttp has it; None: it does not come in time."""

    status = 200

    def __init__(self, body: str | None) -> None:
        self._body = body

    @property
    def content(self) -> Self:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield (self._body or "").encode()

    async def __aenter__(self) -> Self:
        if self._body is None:
            raise TimeoutError
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Scraped:
    """What World.measuring is: real targets, scraper and course; a round at each interval of the rollout's analysis."""

    def __init__(self, world: World) -> None:
        self.silent: set[str] = set()
        """Addresses of router pods that do not answer the operator."""
        self.bypassed: set[str] = set()
        """Revisions whose requests do not pass the routers."""
        self._world = world
        self._scraper = Scraper(clock=self._now)
        self._scraper._session = self  # type: ignore[assignment]
        self._task: Task | None = None
        self._course: Course | None = None
        self._answered: defaultdict[str, float] = defaultdict(float)
        """By revision, at each router."""
        self._last = 0.0
        """When the last round was."""

    def _now(self) -> float:
        return self._world.now.timestamp()

    # --- as the planner sees it

    def follow(self, key: Key, task: Task | None) -> None:
        """See Measures."""
        if task is not None and self._task is not None and self._course is not None:
            self._course = courses.told(self._course, self._task, task, self._now())
        elif task is not None:
            self._course, self._last = courses.begun(task, self._now(), task.stored), self._now()
        self._task = task

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """See Measures."""
        if self._task is None or self._course is None or self._task.rollout != rollout:
            return None
        return courses.found(self._course, self._task, self._course.live, self._now())

    def forget(self) -> None:
        """See Measures."""
        self._task = self._course = None

    def next_change(self) -> datetime | None:
        """When the next round is."""
        if self._task is None:
            return None
        return self._world.now + timedelta(seconds=self._task.asked.interval)

    def act(self) -> bool:
        """A round, if it is due; whether that is news."""
        task, now = self._task, self._now()
        if task is None or self._course is None or now - self._last < task.asked.interval:
            return False
        for revision, share in ((task.champion, 10_000 - task.weight), (task.candidate, task.weight)):
            if revision not in self.bypassed:
                self._answered[revision] += RATE * (now - self._last) * share / 10_000
        self._last = now
        key = Key("ModelDeployment", self._world.md["metadata"]["namespace"], self._world.md["metadata"]["name"])
        targets = source(task.asked).targets(self, key, task)
        read = asyncio.run(self._scraper.round(targets.asks, task.asked.interval))
        self._course = courses.checkpointed(courses.after(self._course, task, read, targets.known, targets.needed, now))
        return True

    # --- what the operator's cache and an HTTP client say

    def owned(self, resource: Resource, namespace: str, name: str) -> list[Object]:
        """The router pods, with addresses."""
        pods = self._world.cache.owned(resource, namespace, name)
        return [pod | {"status": pod["status"] | {"podIP": _address(pod["metadata"]["name"])}} for pod in pods]

    def get(self, url: Any, **_: object) -> Answer:
        """What the router at that address has counted."""
        assert self._task is not None
        if url.host in self.silent:
            return Answer(None)
        parts = []
        for revision, before in ((self._task.champion, BEFORE), (self._task.candidate, 0)):
            name, count = f"{revision}.http", before + int(self._answered[revision])
            parts += [ended(200, count=count, name=name)] if count else []
            parts.append(cluster(name, total=count, times={5: count}))
        return Answer(text(*parts, uptime=int(self._now() - START.timestamp()) + 500))


def _address(router: str) -> str:
    return f"10.0.0.{FIRST_ADDRESS - 1 + int(router.rpartition('-')[2])}"


def scraped() -> tuple[World, Scraped]:
    """Version 2 has its first weight beside version 1, and the routers' counts are read."""
    world = routed(rollout={"strategy": "Canary", "steps": [{"weight": 10, "for": "10m"}]}, replicas=4)
    measuring = Scraped(world)
    world.measuring = measuring
    world.restart_operator()
    world.edit(model=model("2"))
    world.until(lambda: (world.status.get("candidate") or {}).get("weight"))
    world.advance(60)
    return world, measuring
