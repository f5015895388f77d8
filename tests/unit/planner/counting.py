"""The real measuring on the planner's clock: routers count what callers see, and a Prometheus something of its own.

Nothing of Podium is replaced but what is read over HTTP: what routers said in a round, and what Prometheus said at a
look. Counts are what was to be expected, to the request, so the same happens at each run.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from podium.analysing import Analyst
from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, Resource
from podium.metrics import counts
from podium.metrics.counts import Levels
from podium.metrics.queried import Level, Look
from podium.metrics.scraper import Ask, Round
from podium.rollout.measuring import Findings, Task
from podium.rollout.wish import Wish
from tests.unit.metrics.playing import PlayedScraper, addressed
from tests.unit.planner.world import NAME, World

FAST = 30
"""Place of an edge of the latency grid: how slow every answer is."""
TURNS = 6
"""Turns of the event loop until all that is due has been done: nothing that is played waits for anything but time."""


class Turned(asyncio.SelectorEventLoop):
    """An event loop on the world's clock."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def time(self) -> float:
        """Seconds since 1970, by the world."""
        return self.world.now.timestamp()

    def turn(self) -> None:
        """All that is due now."""
        for _ in range(TURNS):
            self.call_soon(self.stop)
            self.run_forever()


@dataclass
class Callers:
    """What callers see from now on."""

    rate: float = 200.0
    """Requests a second, of both revisions together."""
    fails: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 0.01))
    """By version the share of its answers that fail."""
    passing_by: float = 0.0
    """The share of the candidate's requests that no router sees."""


@dataclass
class Seen:
    """What became of a revision's requests, as it was: nothing of it is ever lost or read twice."""

    requests: float = 0.0
    failures: float = 0.0
    best: float = 1.0
    """The smallest share that failed at any time, and ..."""
    worst: float = 0.0
    """... the largest."""

    def add(self, requests: float, fails: float) -> None:
        """So many more, of which this share fails."""
        if requests > 0:
            self.requests, self.failures = self.requests + requests, self.failures + requests * fails
            self.best, self.worst = min(self.best, fails), max(self.worst, fails)


@dataclass(frozen=True)
class Told:
    """What one router says of itself."""

    at: float
    pod: str
    since: float
    levels: Mapping[str, Levels]

    def series(self, revision: str) -> Mapping[str, Levels]:
        """See podium.metrics.rounds.Answer."""
        return {f"{revision}.http": self.levels[revision]} if revision in self.levels else {}


class Counting(PlayedScraper):
    """Stands where `World.measuring` is: an Analyst, and the routers and the Prometheus that it reads."""

    every = 20.0
    """Seconds between looks at the Prometheus."""

    def __init__(self, world: World) -> None:
        self.world, self.loop = world, Turned(world)
        self.callers = Callers()
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        """By revision, since ever."""
        self.deaf: set[str] = set()
        """Routers that do not say what they count; "" for all."""
        self.outage = ""
        """Why Prometheus has no answer."""
        self.rounds = 0
        self._levels: dict[str, dict[str, Seen]] = {}
        self._since: dict[str, float] = {}
        self._asked: dict[str, Seen] = {}
        self._given: list[tuple[str, dict[str, int]]] = []
        self._until = world.now.timestamp()
        self._next: float | None = None
        self._job: asyncio.Task[None] | None = None
        self.analyst = self._begun()

    # --- what happens to what counts

    def restart(self, pod: str) -> None:
        """A router's Envoy starts anew, and counts from 0."""
        self._levels.pop(pod, None)
        self._since[pod] = self.world.now.timestamp()

    def restart_prometheus_s_pods(self) -> None:
        """A pod leaves the sums that Prometheus has: they go down."""
        for seen in self._asked.values():
            seen.requests, seen.failures = seen.requests // 2, seen.failures // 2

    # --- as the planner sees it

    def follow(self, key: Key, task: Task | None) -> None:
        """See Measures."""
        self.analyst.follow(key, task)
        self._next = None if task is None else self._next or self.loop.time()

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """See Measures."""
        return self.analyst.findings(key, rollout)

    def forget(self) -> None:
        """The process ends, and with it all that was not written down."""
        self._end()
        self._next = None
        self.analyst = self._begun()

    # --- as the world sees it

    def act(self) -> bool:
        """Count what has passed, and let the analyst look; it wakes the planner itself."""
        self._count()
        self.loop.turn()
        return False

    def next_change(self) -> datetime | None:
        """When the next round is."""
        if self._next is None:
            return None
        return max(self.world.now, self.world.now + timedelta(seconds=self._next - self.loop.time()))

    def close(self) -> None:
        """The end of the world."""
        self._end()
        self.loop.close()

    def _begun(self) -> Analyst:
        analyst = Analyst(
            self, _Wakes(self.world), lambda: True,
            scraper=lambda: self,
            prometheus=self,
            clock=lambda: self.world.operators_time.timestamp(),
        )  # fmt: skip
        self._job = self.loop.create_task(analyst.run())
        return analyst

    def _end(self) -> None:
        assert self._job is not None
        self._job.cancel()
        self.analyst.forget()
        self.loop.turn()

    def _count(self) -> None:
        """What routers gave since the last time they counted; from now on it goes by what they have loaded now."""
        world, now = self.world, self.loop.time()
        seconds, routers = now - self._until, world.routers.loaded
        for pod, given in self._given:
            for revision, weight in given.items():
                requests = self.callers.rate * seconds * weight / 10_000 / len(self._given)
                self._answer(pod, revision, requests)
        self._until = now
        routed = world.selector() == names.router_selector()
        weights = world.routers.weights(NAME) if routed else []
        self._given = list(zip(routers, weights, strict=True)) if routed else []
        for pod in routers:
            self._since.setdefault(pod, now)
        for pod in self._levels.keys() - routers.keys():
            del self._levels[pod]

    def _answer(self, pod: str, revision: str, requests: float) -> None:
        fails = self.callers.fails[self.version(revision)]
        passing = self.callers.passing_by if revision == self._candidate() else 0.0
        self.seen[revision].add(requests, fails)
        self._asked.setdefault(revision, Seen()).add(requests, fails)
        self._levels.setdefault(pod, {}).setdefault(revision, Seen()).add(requests * (1 - passing), fails)

    def version(self, revision: str) -> str:
        """Of the model."""
        record = self.world.live(CONTROLLER_REVISIONS, revision)
        return str(record["data"]["version"]) if record else ""

    def _candidate(self) -> str:
        return str((self.world.status.get("candidate") or {}).get("revision", ""))

    # --- as the analyst sees it

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """The router pods, with addresses."""
        return addressed(self.world, resource, namespace, model)

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        """What each router has counted until now."""
        self.rounds += 1
        self._next = self.loop.time() + interval
        at = self.world.operators_time.timestamp()
        heard = [ask.pod for ask in asks if ask.pod in self.world.routers.loaded and not self.deaf & {"", ask.pod}]
        failed = {ask.pod: f"router pod {ask.pod} did not answer within 1 s" for ask in asks if ask.pod not in heard}
        return Round(at, tuple(self._told(pod, at) for pod in heard), failed)

    def _told(self, pod: str, at: float) -> Told:
        uptime = self.loop.time() - self._since[pod]
        levels = {revision: _levels(seen, uptime) for revision, seen in self._levels.get(pod, {}).items()}
        return Told(at, pod, at - uptime - 1, levels)  # type: ignore[arg-type]

    async def look(self, wishes: Sequence[Wish], namespace: str, champion: str, candidate: str) -> Look:
        """What Prometheus says of both revisions."""
        arms: list[dict[str, Level | str]] = []
        for revision in (champion, candidate):
            seen = self._asked.setdefault(revision, Seen())
            level = Level(float(int(seen.failures)), float(int(seen.requests)))
            arms.append({wish.name: self.outage or level for wish in wishes})
        return Look(self.world.operators_time.timestamp(), *arms)


class _Wakes:
    """The queue that is now the world's: a new operator has a new one."""

    def __init__(self, world: World) -> None:
        self.world = world

    def add(self, key: Key) -> None:
        """Its pass is due."""
        self.world.wakes.add(key)


def _levels(seen: Seen, uptime: float) -> dict[str, Any]:
    requests, failures = int(seen.requests), int(seen.failures)
    zeros = dict.fromkeys((*counts.CLASSES, counts.ABANDONED), 0)
    return zeros | {
        counts.STARTED: requests, counts.FINISHED: requests, counts.ANSWERED: requests, counts.FAILED: failures,
        f"{counts.BUCKET}{FAST}": requests, counts.UPTIME: uptime, counts.LOGGED: requests,
    }  # fmt: skip
