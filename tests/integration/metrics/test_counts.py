"""The ledger's counts are the callers': by revision and class, however a request ended, while the weights change.

Meanwhile one operator takes over from the other, which finds the ledger as it was stored and nothing else.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import aiohttp
import pytest

from podium.analysis.edges import next_edge
from podium.analysis.intervals import Interval
from podium.analysis.ledger import read, replay
from podium.analysis.metrics import Kind
from podium.metrics import course as courses
from podium.metrics.routers import asks
from podium.metrics.scraper import Scraper
from podium.rollout.asked import Asked
from podium.rollout.measuring import Task
from podium.rollout.wish import Wish
from podium.router.documents import Pods
from tests.integration.metrics.known import GIVES_UP, PORT, SECONDS, SLOW, Callers, Router

MakeRouter = Callable[..., AbstractAsyncContextManager[Router]]
EVERY, AT_ONCE = 0.5, 24
EDGE = next_edge(SLOW - 0.1)
WEIGHTS = (5_000, 1_500, 8_000)
LISTED = 40
STORED, TAKEN_OVER = 3, 7
"""After so many rounds the intervals are folded into the checkpoint, and another operator goes on."""
LATENCY = Wish("latency", Kind.LATENCY, 1.5, 1.5, 0.0, threshold=SLOW - 0.1)
TASK = Task(
    rollout="r1", champion="old", candidate="new", asked=Asked((LATENCY,), interval=EVERY), weights=len(WEIGHTS),
    longest=3600.0, weight=WEIGHTS[0], applied=True, applied_since=None, step=0, begins=True, pods=(1, 1), warm_at=0.0,
)  # fmt: skip
COUNTED = ("429", "4xx", "5xx", "reset", "timeout", "abandoned")

SEEN_AT_ALL = {"200": 1500, "400": 200, "429": 150, "500": 150, "200-reset": 100, "200-slow": 60}
GIVEN_UP = {"200-hang": 90}
LATE = {"200-hang": 40}
BROKEN = {"200-broken": 80, "200-chunk": 80, "400-broken": 20, "429-broken": 20, "500-broken": 20}
HALF_GIVEN_UP, HALF_LATE = {"200-half": 40}, {"200-half": 40}


class Measuring:
    """What operators would do beside the load: a round at each interval."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._course = courses.begun(TASK, time.time(), None)
        self._task, self._rounds = TASK, 0
        self.intervals: list[Interval] = []

    async def round(self, scraper: Scraper) -> bool:
        """Whether evidence is counted: from the first round on that could read the router."""
        before = self._course.live
        found = await scraper.round(asks({"router": self._router.address}, ["old", "new"]), EVERY)
        self._course = courses.after(self._course, self._task, found, ("router",), {"router": ""}, time.time())
        if self._course.live is None:
            return False
        self.intervals += self._course.live.ledger.intervals[len(before.ledger.intervals) if before else 0 :]
        self._rounds += 1
        if self._rounds % STORED == 0:
            self._course = courses.checkpointed(self._course)
        if self._rounds % TAKEN_OVER == 0:
            self._course = courses.begun(self._task, time.time(), read(self._stored()))
        return True

    def weighs(self, weight: int) -> None:
        """From now on routers keep to that weight."""
        now = time.time()
        task = replace(self._task, weight=weight, applied_since=now)
        self._course, self._task = courses.told(self._course, self._task, task, now), task

    def sums(self, place: int) -> Counter[str]:
        """Of the ledger as it is stored, by counter: place 0 is the champion's."""
        counted = replay(read(self._stored())).counted
        return Counter({name: round(pair[place]) for name, pair in counted.items()})

    def _stored(self) -> str:
        assert self._course.live is not None
        return self._course.live.ledger.to_text()


async def loaded(
    router: Router, callers: Callers, todo: list[tuple[str, float]], *, listings: Sequence[Pods] = ()
) -> Measuring:
    """After all requests, in rounds until nothing is under way; the weights change as they go.

    `listings`: pods that are listed in turn meanwhile, LISTED times in all.
    """
    measuring = Measuring(router)
    telling = asyncio.Lock()
    turns = itertools.cycle(listings)
    random.Random(1).shuffle(todo)
    waiting = iter(todo)
    per_weight = len(todo) // len(WEIGHTS)
    changes = {per_weight * number: weight for number, weight in enumerate(WEIGHTS)}
    asked, told = 0, WEIGHTS[0]

    async with Scraper() as scraper, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        async with asyncio.timeout(SECONDS):
            while not await measuring.round(scraper):  # what is counted is counted from it on
                pass

        async def caller() -> None:
            nonlocal asked, told
            for fate, patience in waiting:
                asked += 1
                async with telling:
                    if weight := changes.pop(asked - 1, None):
                        await asyncio.to_thread(router.weigh, weight)
                        measuring.weighs(weight)
                        told = weight
                    if listings and asked % (len(todo) // LISTED) == 0:
                        router.pods = next(turns)
                        await asyncio.to_thread(router.weigh, told)
                await callers.ask(http, f"http://{router.address}:{PORT}", fate, patience)

        calling = asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        while not calling.done():
            await measuring.round(scraper)
            await asyncio.wait([calling], timeout=EVERY)
        await calling
        end = time.monotonic() + SECONDS / 3
        while not _over(measuring, callers) and time.monotonic() < end:
            await measuring.round(scraper)
            await asyncio.sleep(EVERY / 2)
    return measuring


def _over(measuring: Measuring, callers: Callers) -> bool:
    """Whether all is counted: Envoy merges its histograms once a second."""
    sums = [measuring.sums(0), measuring.sums(1)]
    return all(
        each["answered"] == callers.saw(revision)["answered"]
        and each["started"] == each["finished"] + each["abandoned"]
        for each, revision in zip(sums, ("old", "new"), strict=True)
    )


def requests(patience: float = SECONDS, **fates: int) -> list[tuple[str, float]]:
    return [(fate, patience) for fate, count in fates.items() for _ in range(count)]


@pytest.mark.parametrize("pods_change", [False, True], ids=["the pods stay", "pods come and go"])
async def test_each_request_is_counted_once_as_its_caller_saw_it(
    make_router: MakeRouter, callers: Callers, pods_change: bool
) -> None:
    """A cluster whose pods change is loaded anew: its counters and what is under way go on."""
    todo = [
        *requests(**SEEN_AT_ALL), *requests(**LATE), *requests(**BROKEN), *requests(**HALF_LATE),
        *requests(GIVES_UP, **GIVEN_UP), *requests(GIVES_UP, **HALF_GIVEN_UP),
    ]  # fmt: skip
    async with make_router() as router:
        fewer = {key: pods[:1] for key, pods in router.pods.items()}
        measuring = await loaded(router, callers, todo, listings=[fewer, router.pods] if pods_change else [])

    for place, revision in enumerate(("old", "new")):
        counted, saw = measuring.sums(place), callers.saw(revision)
        assert {name: counted[name] for name in COUNTED} == {name: saw[name] for name in COUNTED}, revision
        assert all(saw[name] > 5 for name in COUNTED), saw
        assert counted["started"] == sum(saw[name] for name in (*COUNTED, "whole"))
        assert counted["finished"] == counted["started"] - saw["abandoned"]
        assert counted["answered"] == saw["answered"]
        assert saw["slow"] <= counted["above:latency"] <= callers.slower(revision, EDGE * 0.9)
    unserved = callers.unserved()  # it met nothing but the dead pod, and the router said so
    assert unserved.keys() <= {"reset"}
    assert unserved.total() <= len(todo) / 100


async def test_no_request_that_a_pod_got_is_sent_again_however_it_ends(
    make_router: MakeRouter, callers: Callers
) -> None:
    """One of the pods is dead: what was not delivered to it goes to another one."""
    fates = ("200", "500", "200-reset", "200-hang", "200-half", "500-broken")
    async with make_router() as router, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        for _ in range(4):
            await asyncio.gather(*(callers.ask(http, f"http://{router.address}:{PORT}", fate) for fate in fates * 25))

    assert callers.repeated() == {}
    assert callers.asked.times.total() == 600


async def test_the_weights_that_intervals_are_weighed_at_were_applied_throughout(
    make_router: MakeRouter, callers: Callers
) -> None:
    async with make_router() as router:
        measuring = await loaded(router, callers, requests(**{"200": 2400, "200-slow": 600}))

    weighed: Counter[tuple[int, str]] = Counter()
    for interval in measuring.intervals:
        if not interval.straddles:
            champion, candidate = interval.counted["started"]
            weighed.update({(interval.weight, "all"): champion + candidate, (interval.weight, "new"): candidate})
    assert any(interval.straddles for interval in measuring.intervals)
    for weight in WEIGHTS:
        units, share = weighed[weight, "all"], weight / 10_000
        assert units > 50, measuring.intervals
        assert abs(weighed[weight, "new"] - share * units) < 5 * (units * share * (1 - share)) ** 0.5


async def test_without_the_log_all_but_answers_that_break_off_is_the_same(
    make_router: MakeRouter, callers: Callers
) -> None:
    """By Envoy's cluster statistics, among them attempts at a pod that is dead."""
    todo = [*requests(**SEEN_AT_ALL), *requests(**LATE), *requests(GIVES_UP, **GIVEN_UP)]
    async with make_router(log=False) as router:
        measuring = await loaded(router, callers, todo)

    for place, revision in enumerate(("old", "new")):
        counted, saw = measuring.sums(place), callers.saw(revision)
        by_code = {name: saw[name] for name in ("429", "4xx", "abandoned")}
        by_code["5xx"] = saw["5xx"] + saw["reset"] + saw["timeout"]
        assert {name: counted[name] for name in by_code} == by_code, revision
        assert counted["started"] == sum(saw[name] for name in (*COUNTED, "whole"))
        assert counted["answered"] == saw["answered"]
