"""How long callers suffer: from the first bad answer to the ConfigMap that takes the candidate's weight away.

The planner and the measuring are the real ones. Time is played, a tenth of a second at a time: routers count what
callers see, load what they are told, and are read every `interval`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from podium.analysing import Analyst
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.metrics.rounds import Sample
from podium.metrics.scraper import Ask, Round
from podium.rollout.measuring import Findings, Task
from tests.unit.metrics.given import cluster, ended, reading
from tests.unit.metrics.playing import PlayedScraper, addressed
from tests.unit.planner.test_canary import one, two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import NAME, START, World, model
from tests.unit.test_analysing import nobody_waits

TICK = 0.1
"""Seconds of the clock that is played."""
RATE = 100.0
"""Requests a second, both revisions together."""
NOT_PLAYED = 2.0
"""Seconds for what takes no time here: reading the routers, asking them what they have loaded, the API server."""
BEFORE = 5_000
"""Answers of the champion that each router has counted before the rollout."""


class Played(PlayedScraper):
    """Callers, of whom all that reach version 2 get a 500; the scraper, whose rounds turn the clock."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: defaultdict[tuple[str, str], float] = defaultdict(float)
        """By router and version, whole and in parts."""
        self.first_bad: datetime | None = None
        self.taken_away: datetime | None = None
        self.over = asyncio.Event()
        self.analyst = Analyst(
            self, world.wakes, lambda: True,
            scraper=lambda: self,
            clock=lambda: world.now.timestamp(),
        )  # fmt: skip

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """The router pods, with addresses."""
        return addressed(self.world, resource, namespace, model)

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        await asyncio.sleep(0)
        for _ in range(round(interval / TICK)):
            self._tick()
        at = self.world.now.timestamp()
        return Round(at, tuple(self._sample(ask.pod, at) for ask in asks), {})

    def _tick(self) -> None:
        world = self.world
        world.now += timedelta(seconds=TICK)
        for pod, given in zip(world.routers.loaded, world.routers.weights(NAME), strict=True):
            for version, revision in (("1", one(world)), ("2", two(world))):
                share = given.get(revision, 0) / 10_000
                self.requests[pod, version] += RATE * TICK * share / len(world.routers.loaded)
        if self.first_bad is None and any(int(self.requests[pod, "2"]) for pod in world.routers.loaded):
            self.first_bad = world.now
        world.step()
        if self.first_bad is not None and self.taken_away is None and shares(world)[1] == 0:
            self.taken_away = world.now
            self.over.set()

    def _sample(self, pod: str, at: float) -> Sample:
        good, bad = BEFORE + int(self.requests[pod, "1"]), int(self.requests[pod, "2"])
        old, new = f"{one(self.world)}.http", f"{two(self.world)}.http"
        parts = [ended(200, count=good, name=old), cluster(old, total=good, times={5: good})]
        parts += [cluster(new, total=bad, times={5: bad})] + ([ended(500, count=bad, name=new)] if bad else [])
        return Sample(at, reading(*parts, pod=pod, uptime=int(at - START.timestamp()) + 500))

    # --- as the planner sees it

    def follow(self, key: Key, task: Task | None) -> None:
        self.analyst.follow(key, task)

    def findings(self, key: Key, rollout: str) -> Findings | None:
        return self.analyst.findings(key, rollout)

    def forget(self) -> None:
        self.analyst.forget()

    def act(self) -> bool:
        return False

    def next_change(self) -> datetime | None:
        return None


@asynccontextmanager
async def playing(world: World) -> AsyncIterator[Played]:
    """Version 2 is on its way, and measured."""
    played = Played(world)
    world.measuring = played
    world.restart_operator()
    world.edit(model=model("2"))
    world.step()
    job = asyncio.create_task(played.analyst.run())
    try:
        yield played
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is turned by the rounds."""
    nobody_waits(monkeypatch)


@pytest.mark.parametrize("late", [0.2, 0.7, 1.2, 1.7, 2.2])
async def test_a_candidate_that_fails_always_has_no_weight_10_s_after_its_first_answer(late: float) -> None:
    world = routed(rollout={"strategy": "Canary"}, replicas=4)
    first, second = world.routers.loaded
    world.routers.late = {first: 0.1, second: late}
    async with playing(world) as played, asyncio.timeout(60):
        await played.over.wait()
    assert played.first_bad is not None
    assert played.taken_away is not None
    took = (played.taken_away - played.first_bad).total_seconds()
    assert took + NOT_PLAYED < 10, f"{took:.1f} s"
    assert world.rule(two(world)) == "harm: errors"
