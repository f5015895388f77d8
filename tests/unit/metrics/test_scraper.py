"""Routers are read by their addresses: all at once, on kept connections, within bounds."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from podium.metrics import scraper
from podium.metrics.routers import asks
from podium.metrics.scraper import Round, Scraper
from tests.unit.metrics.given import cluster, text

HERE = "127.0.0.1"


class Envoy:
    """The statistics' port of a router."""

    def __init__(self) -> None:
        self.text = text(cluster(total=3))
        self.status = 200
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked: list[str] = []
        self.two_are_asked = asyncio.Event()
        self.connections: Counter[object] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        if len(self.asked) == 2:
            self.two_are_asked.set()
        self.connections[request.transport] += 1
        await self.answers.wait()
        return web.Response(text=self.text, status=self.status)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is too short for a busy machine: a round may take half its interval, however long that is."""
    monkeypatch.setattr(scraper, "length", lambda interval: interval / 2)


@pytest.fixture
async def envoy() -> Envoy:
    return Envoy()


@pytest.fixture
async def port(envoy: Envoy) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/stats", envoy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    yield runner.addresses[0][1]
    envoy.answers.set()
    await runner.cleanup()


async def ask(port: int, routers: dict[str, str] | None = None, interval: float = 60.0) -> Round:
    async with Scraper(clock=lambda: 5.0) as asker:
        return await asker.round(asks(routers or {"a": HERE}, ["new", "old"], port), interval)


async def test_a_round_has_a_sample_of_each_router(port: int) -> None:
    found = await ask(port, {"a": HERE, "b": HERE})
    assert [(each.at, each.reading.pod) for each in found.samples] == [(5.0, "a"), (5.0, "b")]
    assert found.samples[0].reading.clusters["new.http"].counters["upstream_rq_total"] == 3
    assert (found.began, found.failed) == (5.0, {})


async def test_who_does_not_answer_in_time_is_left_out_and_told(port: int, envoy: Envoy) -> None:
    envoy.answers.clear()
    found = await ask(port, interval=0.1)
    assert (found.samples, found.failed) == ((), {"a": f"router pod a: {HERE}:{port} did not answer within 0.05 s"})


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [(503, "", "answered 503"), (200, "half: 1\n", "break off"), (200, "x" * (scraper.LARGEST + 1), "longer than"),
     (302, "", "answered 302")],
)  # fmt: skip
async def test_what_is_no_statistics_is_told(port: int, envoy: Envoy, status: int, said: str, why: str) -> None:
    envoy.status, envoy.text = status, said
    found = await ask(port)
    assert found.samples == ()
    assert why in found.failed["a"]
    assert found.failed["a"].startswith("router pod a: ")


async def test_where_nothing_listens_the_others_are_read_all_the_same(port: int) -> None:
    found = await ask(port, {"a": HERE, "b": "127.0.0.99", "c": "no address"})
    assert [each.reading.pod for each in found.samples] == ["a"]
    assert set(found.failed) == {"b", "c"}


async def test_no_more_are_asked_at_once_than_allowed(port: int, envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraper, "AT_ONCE", 2)
    envoy.answers.clear()
    asking = asyncio.create_task(ask(port, {str(number): HERE for number in range(5)}))
    await asyncio.wait_for(envoy.two_are_asked.wait(), 20)
    for _ in range(20):
        await asyncio.sleep(0)  # a third one would be asked within these turns of the loop
    assert len(envoy.asked) == 2
    envoy.answers.set()
    assert len((await asking).samples) == 5


async def test_rounds_of_one_scraper_share_a_connection_and_say_when_they_began(port: int, envoy: Envoy) -> None:
    clock = iter([100.0, 100.1, 102.0, 102.1, 111.0, 111.1])
    async with Scraper(clock=lambda: next(clock)) as asker:
        found = [await asker.round(asks({"a": HERE}, ["new", "old"], port), 60.0) for _ in range(3)]
    assert [each.began for each in found] == [100.0, 102.0, 111.0]
    assert list(envoy.connections.values()) == [3]
