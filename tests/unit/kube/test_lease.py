"""The Lease's promises, with short terms and a server that keeps one Lease the way the API server does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from podium.kube.client import NotLeader
from podium.kube.lease import LONGEST_TERM, Lease
from podium.kube.transport import Transport
from podium.settings import Settings
from tests.unit.kube.conftest import Asked, Server, refuses, sends
from tests.until import until


class Shelf:
    """Keeps one Lease, with optimistic locking."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.away = False
        self.slow = 0.0

    async def __call__(self, asked: Asked) -> web.Response:
        if self.away:
            return web.json_response(refuses(503, "ServiceUnavailable"), status=503)
        if asked.method == "GET":
            return web.json_response(self.lease) if self.lease else _status(404)
        if asked.method == "POST":
            if self.lease is not None:
                return _status(409)
        elif self.lease is None:
            return _status(404)
        elif asked.body["metadata"].get("resourceVersion") != str(self.version):
            return _status(409)
        await asyncio.sleep(self.slow)
        self.put(asked.body["spec"], asked.body["metadata"])
        return web.json_response(self.lease)

    def put(self, spec: dict[str, Any], meta: dict[str, Any] | None = None) -> None:
        self.version += 1
        self.lease = {"metadata": (meta or {"name": "podium"}) | {"resourceVersion": str(self.version)}, "spec": spec}

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""


def _status(code: int) -> web.Response:
    return web.json_response(refuses(code, "NotFound" if code == 404 else "Conflict"), status=code)


class Clock:
    """The loop's clock, which may be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


@pytest.fixture
async def shelf(server: Server) -> Shelf:
    shelf = Shelf()
    server.answer = shelf
    return shelf


LONG: dict[str, Any] = {"lease_duration": 60.0, "lease_write_deadline": 40.0}
"""So long that nothing in a test can be owed to its end, however busy the machine is."""


def lease(transport: Transport, identity: str, clock: Clock | None = None, **settings: Any) -> Lease:
    given = {
        "lease_duration": 1.0,
        "lease_write_deadline": 0.5,
        "lease_renew_interval": 0.1,
        "lease_poll_interval": 0.05,
    }
    return Lease(transport, Settings(identity=identity, **given | settings), clock=clock or Clock())


@contextlib.asynccontextmanager
async def running(*leases: Lease) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in leases]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def closed(one: Lease) -> bool:
    try:
        one.fence()
    except NotLeader:
        return True
    return False


async def test_the_first_one_takes_it_and_keeps_it(shelf: Shelf, transport: Transport) -> None:
    clock = Clock()
    one, two = lease(transport, "one", clock, **LONG), lease(transport, "two", clock, **LONG)

    async def step() -> None:
        """A quarter of a term passes; then it is renewed, and the other one looks."""
        clock.ahead += 15.0
        now, version = clock(), shelf.version
        # The first may be one that was under way.
        await until(lambda: shelf.version >= version + 2 and two.ticked >= now)

    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        async with running(two):
            for _ in range(6):
                await step()

            assert shelf.holder == "one"
            assert (one.leading, two.leading) == (True, False)
            assert not closed(one)
            assert closed(two)
            assert one.term == 1


async def test_a_given_up_lease_is_taken_at_the_next_look(shelf: Shelf, transport: Transport) -> None:
    one, two = lease(transport, "one", **LONG), lease(transport, "two", **LONG)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
    async with running(two):
        await until(lambda: two._live is not None)
        assert not two.holding

        await one.release()

        assert closed(one)
        await asyncio.wait_for(two.gained(), 20)
        assert shelf.holder == "two"


async def test_nobody_takes_it_before_the_holders_term_is_over(shelf: Shelf, transport: Transport) -> None:
    shelf.put({"holderIdentity": "dead", "leaseDurationSeconds": 1, "leaseTransitions": 4})
    loop = asyncio.get_running_loop()
    start = loop.time()
    two = lease(transport, "two", **LONG)
    async with running(two):
        await asyncio.wait_for(two.gained(), 30)

    assert 1.0 <= loop.time() - start < 30, "the term that counts is the one that the holder wrote"
    assert shelf.lease is not None
    assert shelf.lease["spec"]["leaseTransitions"] == 5


async def test_ones_own_lease_is_taken_back_without_waiting(shelf: Shelf, transport: Transport) -> None:
    shelf.put({"holderIdentity": "one", "leaseDurationSeconds": 100, "leaseTransitions": 4})
    one = lease(transport, "one")
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)

    assert shelf.lease is not None
    assert shelf.lease["spec"]["leaseTransitions"] == 4


async def test_the_fence_closes_at_the_deadline_whatever_the_renewals_do(shelf: Shelf, transport: Transport) -> None:
    clock = Clock()
    one = lease(transport, "one", clock, **LONG)
    lost = asyncio.Event()
    one.on_lost = lost.set
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        shelf.away = True
        await asyncio.sleep(0.2)  # a renewal under way is over

        clock.ahead = 30.0
        assert not closed(one)
        assert 25 < one.left() < 30
        clock.ahead = 40.0

        assert closed(one)
        await asyncio.wait_for(lost.wait(), 20)
        assert one.left() == 0


async def test_after_the_outage_it_leads_in_a_new_term(shelf: Shelf, transport: Transport) -> None:
    one = lease(transport, "one")
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        shelf.away = True
        await asyncio.wait_for(one.lost(), 20)
        shelf.away = False
        await asyncio.wait_for(one.gained(), 20)

        assert one.term == 2


async def test_a_process_that_was_stopped_finds_its_fence_closed_at_once(shelf: Shelf, transport: Transport) -> None:
    clock = Clock()
    one = lease(transport, "one", clock)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)

        clock.ahead = 100.0  # and not a single step of the event loop in between

        assert closed(one)


async def test_a_pass_from_an_earlier_term_may_not_write_in_the_next(shelf: Shelf, transport: Transport) -> None:
    clock = Clock()
    one = lease(transport, "one", clock, **LONG)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        with one.pinned():
            clock.ahead = 100.0
            await until(lambda: one.term == 2 and one.leading)

            assert closed(one)
        assert not closed(one)


async def test_who_finds_another_holder_at_renewal_stops_leading(shelf: Shelf, transport: Transport) -> None:
    one = lease(transport, "one", **LONG)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)

        shelf.put({"holderIdentity": "two", "leaseDurationSeconds": 100})

        await asyncio.wait_for(one.lost(), 20)
        assert closed(one)
        await asyncio.sleep(0.3)
        assert shelf.holder == "two"


async def test_a_lease_that_somebody_deleted_is_made_anew(shelf: Shelf, transport: Transport) -> None:
    one = lease(transport, "one")
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)

        shelf.lease = None

        await until(lambda: shelf.holder == "one")


async def test_of_two_that_reach_for_it_at_once_one_gets_it(shelf: Shelf, transport: Transport) -> None:
    shelf.slow = 0.02
    contenders = [lease(transport, f"c{number}", **LONG) for number in range(5)]
    async with running(*contenders):
        await until(lambda: any(one.leading for one in contenders))
        await asyncio.sleep(0.3)

        assert sum(one.leading for one in contenders) == 1


@pytest.mark.parametrize("text", [b"<html>Sign in</html>", b"[]", b'{"error":"no"}', b'{"metadata":[],"spec":{}}'])
async def test_an_answer_that_is_no_lease_ends_nothing(
    shelf: Shelf, server: Server, transport: Transport, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one = lease(transport, "one", **LONG)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        server.answer = sends(text)
        await until(lambda: "can neither be read nor renewed" in caplog.text)
        assert one.leading, "as long as it is surely held"

        server.answer = shelf
        version = shelf.version
        await until(lambda: shelf.version > version)
    assert "NotKubernetes" in caplog.text


async def test_an_error_that_nobody_expected_ends_nothing_and_is_counted(
    shelf: Shelf, transport: Transport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, failed = lease(transport, "one", **LONG), []
    one.on_failure = lambda: failed.append(True)
    request = transport.request

    async def fails(*given: Any, **named: Any) -> Any:
        raise KeyError("what is this")

    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        monkeypatch.setattr(transport, "request", fails)
        await until(lambda: failed)
        monkeypatch.setattr(transport, "request", request)
        version = shelf.version
        await until(lambda: shelf.version > version)
    assert "Traceback" in caplog.text


async def test_a_lease_that_was_taken_as_often_as_can_be_counted_can_be_taken(
    shelf: Shelf, transport: Transport
) -> None:
    shelf.put({"holderIdentity": "", "leaseTransitions": 2**31 - 1})
    one = lease(transport, "one", **LONG)

    async with running(one):
        await asyncio.wait_for(one.gained(), 20)

    assert shelf.lease is not None
    assert shelf.lease["spec"]["leaseTransitions"] == 2**31 - 1


async def test_a_term_of_68_years_is_not_believed(shelf: Shelf, transport: Transport) -> None:
    shelf.put({"holderIdentity": "stranger", "leaseDurationSeconds": 2**31 - 1})
    clock = Clock()
    one = lease(transport, "one", clock, **LONG)
    async with running(one):
        await until(lambda: one._live is not None)
        assert not one.holding
        clock.ahead += LONGEST_TERM

        await asyncio.wait_for(one.gained(), 20)


async def test_an_older_version_of_the_lease_is_told(shelf: Shelf, transport: Transport) -> None:
    one, older = lease(transport, "one", **LONG), []
    one.on_older = lambda: older.append(True)
    async with running(one):
        await asyncio.wait_for(one.gained(), 20)
        await until(lambda: shelf.version > 3)
        assert older == []

        shelf.version = 0
        shelf.put({"holderIdentity": "two", "leaseDurationSeconds": 60})

        await until(lambda: older)
        await asyncio.wait_for(one.lost(), 20)
    assert older == [True]
