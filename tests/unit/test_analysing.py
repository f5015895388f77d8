"""Whoever leads measures the rollouts that are analysed, and wakes the planner when something may be decided."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from podium import analysing
from podium.analysing import Analyst, Source
from podium.analysis.decision import Call
from podium.analysis.ledger import Ledger, digest, read
from podium.analysis.metrics import Kind
from podium.analysis.plan import Plan, metric
from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS, Resource
from podium.metrics.access import Access
from podium.metrics.prometheus import Prometheus
from podium.metrics.queried import Level, Look
from podium.metrics.rounds import Sample
from podium.metrics.scraper import Ask, Round
from podium.rollout.asked import Asked
from podium.rollout.measuring import UNREAD, Findings, Task, restored
from podium.rollout.wish import Wish
from tests.unit.metrics.given import cluster, ended, reading
from tests.unit.metrics.playing import ADDRESS, PlayedScraper

KEY = MODEL_DEPLOYMENTS.key("ml", "fraud")
EVERY = 2.0
ERRORS = Wish("errors", Kind.ERROR_RATE, 1.5, 1.0, 0.001)
TASK = Task(
    rollout="r1", champion="old", candidate="new", asked=Asked((ERRORS,), interval=EVERY), weights=1, longest=3600.0,
    weight=5_000, applied=True, applied_since=None, step=0, begins=True, pods=(1, 1), warm_at=0.0,
)  # fmt: skip


class Routers(PlayedScraper):
    """One router of the namespace ml, its statistics, and a clock that its rounds turn."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.answered = {"old": 5_000, "new": 0}
        self.failed = 0
        self.fails_all = False
        self.silent = False
        self.rounds = 0
        self.asked = asyncio.Event()

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        if (resource, namespace, model) != (PODS, "ml", names.ROUTER):
            return []
        status = {"phase": "Running", "podIP": ADDRESS, "conditions": [{"type": "Ready", "status": "True"}]}
        return [{"metadata": {"name": "a", "namespace": "ml"}, "status": status}]

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        """100 requests of each revision since the last one."""
        assert [(ask.pod, ask.address) for ask in asks] == [("a", ADDRESS)]
        await asyncio.sleep(0)
        self.now += interval
        self.rounds += 1
        self.asked.set()
        if self.silent:
            return Round(self.now - 0.1, (), {"a": "a did not answer"})
        self.answered["old"] += 100
        if self.fails_all:
            self.failed += 100
        else:
            self.answered["new"] += 100
        parts = [ended(200, count=self.answered["old"], name="old.http"), cluster("old.http", total=1, times={5: 1})]
        parts += [ended(200, count=self.answered["new"])] if self.answered["new"] else []
        parts += [ended(500, count=self.failed)] if self.failed else []
        parts += [cluster("new.http", total=1, times={5: 1})]
        return Round(self.now - 0.1, (Sample(self.now, reading(*parts, pod="a", uptime=int(self.now))),), {})


class Woken:
    """The queue."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.keys: list[Key] = []
        self.at: list[float] = []

    def add(self, key: Key) -> None:
        self.keys.append(key)
        self.at.append(self.clock())


class Scene:
    """An analyst that runs."""

    def __init__(self, prometheus: Source | None = None) -> None:
        self.routers, self.leads = Routers(), True
        self.queue = Woken(lambda: self.routers.now)
        self.analyst = Analyst(
            self.routers, self.queue, lambda: self.leads,
            scraper=lambda: self.routers,
            prometheus=prometheus,
            clock=lambda: self.routers.now,
        )  # fmt: skip

    @property
    def found(self) -> Findings | None:
        return self.analyst.findings(KEY, "r1")

    async def until(self, what: Callable[[], object]) -> None:
        """Rounds go by until something holds."""
        for _ in range(2_000):
            if what():
                return
            self.routers.asked.clear()
            await asyncio.wait_for(self.routers.asked.wait(), 5)
        raise AssertionError("2,000 rounds went by")


@asynccontextmanager
async def running(prometheus: Source | None = None) -> AsyncIterator[Scene]:
    scene = Scene(prometheus)
    job = asyncio.create_task(scene.analyst.run())
    try:
        yield scene
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


class Counting:
    """Stands for podium.metrics.prometheus, by the clock of the routers; it may hang."""

    every = 60.0

    def __init__(self) -> None:
        self.clock: Callable[[], float] = float
        self.answers = asyncio.Event()
        self.asked: list[tuple[str, str, str]] = []

    async def look(self, wishes: Sequence[Wish], namespace: str, champion: str, candidate: str) -> Look:
        self.asked.append((namespace, champion, candidate))
        await self.answers.wait()
        level = {wish.name: Level(0, 10 * self.clock()) for wish in wishes}
        return Look(self.clock(), level, level)


def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose rounds turn the clock: what would sleep goes on at once."""
    sleep = asyncio.sleep

    async def at_once(seconds: float) -> None:
        await sleep(0)

    monkeypatch.setattr(analysing.asyncio, "sleep", at_once)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is turned by the rounds."""
    nobody_waits(monkeypatch)


def test_however_many_are_analysed_they_share_four_checkpoints_a_second() -> None:
    now = [1_000.0]
    woken = Woken(lambda: now[0])
    analyst = Analyst(Routers(), woken, lambda: True, scraper=Routers, clock=lambda: now[0])
    stored = Ledger.begin(Plan(now[0], (metric("errors", Kind.ERROR_RATE),)))
    for number in range(100):
        key = MODEL_DEPLOYMENTS.key("ml", f"fraud-{number}")
        analyst.follow(key, replace(TASK, stored=stored))
    for _ in range(300):
        now[0] += 1
        for key, measured in analyst._measured.items():
            analyst._tell(key, measured, now[0])
    later = [at for at in woken.at if at > 1_100]  # until then each has been told of once that nothing is read
    assert 0 < len(later) <= analysing.WRITES * 200
    assert set(woken.keys) == set(analyst.analysed())


async def test_what_is_followed_is_measured_and_the_planner_is_woken_as_evidence_begins() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        assert scene.found is not None
        assert scene.found.live is None
        await scene.until(lambda: scene.found and scene.found.live)
        assert scene.queue.keys == [KEY]


async def test_between_checkpoints_evidence_grows_and_wakes_nobody() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: len(scene.queue.keys) == 4)
        apart = [after - before for before, after in itertools.pairwise(scene.queue.at)]
        assert min(apart) >= analysing.CHECKPOINT
        assert scene.found is not None
        assert scene.found.published is not None
        assert not scene.found.published.ledger.intervals, "a checkpoint has folded all of them"


async def test_what_may_decide_is_published_and_wakes_at_once() -> None:
    async with running() as scene:
        scene.routers.fails_all = True
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: len(scene.queue.keys) == 2)
        found = scene.found
        assert found is not None
        assert found.live is not None
        assert found.published is not None
        assert found.live.state.counted["5xx"] == found.published.state.counted["5xx"] > (0, 0)
        assert scene.routers.now < 1_000 + 12


async def test_routers_that_fall_silent_hold_and_wake() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.live)
        scene.routers.silent = True
        woken = len(scene.queue.keys)
        await scene.until(lambda: len(scene.queue.keys) > woken and scene.found and scene.found.holds)
        assert scene.found is not None
        assert "a did not answer" in scene.found.holds[0]


async def test_who_no_longer_leads_measures_nothing() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.live)
        scene.analyst.forget()
        assert scene.found is None
        rounds = scene.routers.rounds
        for _ in range(20):
            await asyncio.sleep(0)
        assert scene.routers.rounds <= rounds + 1, "the one that was under way"


async def test_whoever_leads_next_goes_on_from_the_ledger() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.live and scene.found.live.state.intervals >= 5)
        assert scene.found is not None
        assert scene.found.live is not None
        stored = read(scene.found.live.ledger.to_text())
        counted = scene.found.live.state.counted["finished"]
        scene.analyst.forget()
        scene.analyst.follow(KEY, replace(TASK, stored=stored))
        assert scene.found is not None
        assert scene.found.holds == (UNREAD,)
        assert scene.found.live is not None
        assert scene.found.live.state.counted["finished"] == counted
        await scene.until(lambda: scene.found and scene.found.live and scene.found.live.state.intervals >= 8)
        assert scene.found.live.state.counted["finished"] > counted


async def test_another_rollout_is_another_analysis() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.live)
        scene.analyst.follow(KEY, replace(TASK, rollout="r2"))
        assert scene.found is None
        assert scene.analyst.findings(KEY, "r2") is not None


def test_a_ledger_that_cannot_be_read_is_none_to_go_on_from() -> None:
    found = restored("{}", digest("{}", "r1"), "r1")
    assert (found.live, found.stored) == (None, None)
    assert found.changed == "it holds no ledger: 'version'"


async def test_beside_another_champion_the_same_rollout_goes_on_from_what_is_written_down() -> None:
    async with running() as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.published)
        assert scene.found is not None
        assert scene.found.published is not None
        written = scene.found.published.ledger
        scene.analyst.follow(KEY, replace(TASK, champion="older"))
        assert scene.found is not None
        assert scene.found.live is not None
        assert scene.found.live.ledger == written


async def test_a_clock_that_is_put_back_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async with running() as scene:
        monkeypatch.setattr(analysing.asyncio, "sleep", noted)
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.routers.rounds >= 3)
        scene.routers.now -= 500
        await scene.until(lambda: scene.routers.rounds >= 6)
    assert max(waits) <= EVERY


async def test_pods_that_cannot_be_read_end_no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as scene:
        owned = scene.routers.owned
        monkeypatch.setattr(scene.routers, "owned", lambda *_: [{}])
        scene.analyst.follow(KEY, TASK)
        for _ in range(20):
            await asyncio.sleep(0)
        monkeypatch.setattr(scene.routers, "owned", owned)
        await scene.until(lambda: scene.found and scene.found.live)


CHECKOUT = Wish("checkout", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events="e", total="t")
BOTH = replace(TASK, asked=Asked((ERRORS, CHECKOUT), interval=EVERY))


async def test_prometheus_is_asked_beside_the_rounds_and_what_it_says_is_counted() -> None:
    counting = Counting()
    counting.answers.set()
    async with running(counting) as scene:
        counting.clock = lambda: scene.routers.now
        scene.analyst.follow(KEY, BOTH)
        await scene.until(
            lambda: scene.found and scene.found.live and "total:checkout" in scene.found.live.state.weighed
        )
    assert set(counting.asked) == {("ml", "old", "new")}


async def test_an_operator_that_is_told_where_prometheus_is_begins_what_the_one_before_it_could_not() -> None:
    async with running(Prometheus(Access())) as scene:
        scene.analyst.follow(KEY, BOTH)
        await scene.until(lambda: scene.found and "set prometheus.url of its chart" in "".join(scene.found.holds))
        assert scene.found is not None
        assert scene.found.live is None
    counting = Counting()
    counting.answers.set()
    async with running(counting) as scene:
        counting.clock = lambda: scene.routers.now
        scene.analyst.follow(KEY, BOTH)
        await scene.until(lambda: scene.found and scene.found.live and not scene.found.holds)


async def test_without_metrics_of_that_type_it_is_never_asked() -> None:
    counting = Counting()
    async with running(counting) as scene:
        scene.analyst.follow(KEY, TASK)
        await scene.until(lambda: scene.found and scene.found.live and scene.found.live.state.intervals > 20)
    assert counting.asked == []


async def test_harm_by_what_callers_see_is_found_while_prometheus_hangs() -> None:
    counting = Counting()
    counting.answers.set()
    async with running(counting) as scene:
        counting.clock = lambda: scene.routers.now
        scene.analyst.follow(KEY, BOTH)
        await scene.until(lambda: scene.found and scene.found.live)
        counting.answers.clear()
        scene.routers.fails_all = True
        await scene.until(lambda: scene.found and scene.found.live and scene.found.live.decision.call is Call.ROLL_BACK)
        assert scene.found is not None
        await scene.until(lambda: scene.found and scene.found.holds)
        assert "Prometheus has not been asked for minutes" in scene.found.holds[0]
