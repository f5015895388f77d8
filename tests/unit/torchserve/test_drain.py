"""A drain loses no request, and ends."""

import asyncio
import time

import pytest

from podium_serving.settings import Settings
from tests.unit.torchserve.standing import (
    Stand,
    Streams,
    answer_of,
    echo,
    front_module,
    head_of,
    idling,
    post,
    standing,
)


async def test_a_connection_that_has_had_its_time_ends_with_its_next_answer_and_not_before() -> None:
    async with standing(echo) as stand:
        lives = [front_module.Client(stand.front).ends - time.monotonic() for _ in range(200)]
        assert 7.9 < min(lives) < max(lives) <= 12
        stand.front.life = 0.001
        reader, writer = await stand.connect()
        await asyncio.sleep(0.01)
        assert not reader.at_eof()
        writer.write(post(b"one") + post(b"two"))
        for body, wish in ((b"one", "keep-alive"), (b"two", "close")):
            _, headers, answer = await answer_of(reader)
            assert (answer, headers["connection"]) == (body, wish)
        assert await reader.read() == b""


async def test_a_drain_waits_for_what_is_in_flight_and_closes_by_the_header() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()

    async with standing(slow) as stand:
        # given a request in flight when the drain begins
        reader, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        drain = asyncio.ensure_future(stand.front.drain(30))
        await asyncio.sleep(front_module.QUIET * 1.5)
        assert not drain.done()

        # when it is answered, then the answer is whole, announces the end, and the drain is over a quiet second later
        go_on.set()
        status, headers, body = await answer_of(reader)
        assert (status, headers["connection"], body) == (200, "close", b"ok")
        assert await reader.read() == b""
        await asyncio.wait_for(drain, 5)


async def test_no_request_is_lost_while_clients_that_obey_the_header_go_on_through_a_drain() -> None:
    answers, warm, stop = [0, 0], asyncio.Event(), asyncio.Event()

    async def client(stand: Stand) -> None:
        streams: Streams | None = None
        while not stop.is_set():
            streams = streams or await stand.connect()
            streams[1].write(post(b"x"))
            _, headers, body = await answer_of(streams[0])
            assert body == b"x"
            answers[stand.front.draining] += 1
            if sum(answers) == 200:
                warm.set()
            if headers["connection"] == "close":
                streams[1].close()
                streams = None
                if stand.front.draining:
                    return  # the Service leads new connections elsewhere
        if streams:
            streams[1].close()

    async with standing(echo) as stand:
        clients = [asyncio.ensure_future(client(stand)) for _ in range(8)]
        await warm.wait()
        await asyncio.wait_for(stand.front.drain(20), 25)
        stop.set()
        await asyncio.gather(*clients)
        assert answers[1] >= 8  # each connection was told to close, by an answer


async def test_a_drain_keeps_an_idle_connection_until_its_next_request_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever closes it may meet the request that its caller sends just then."""
    monkeypatch.setattr(front_module, "QUIET", 0.05)
    async with standing(echo) as stand:
        # given a connection that idles for longer than a drain needs to be quiet
        reader, writer = await idling(stand)
        drain = asyncio.ensure_future(stand.front.drain(20))
        await asyncio.wait([drain], timeout=0.5)
        assert not drain.done()

        # when its caller asks again, then it is answered, told to go, and nothing is left to wait for
        writer.write(post(b"late"))
        _, headers, body = await answer_of(reader)
        assert (headers["connection"], body) == ("close", b"late")
        assert await reader.read() == b""
        await asyncio.wait_for(drain, 5)


async def test_a_drain_ends_connections_that_idle_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "QUIET", 0.05)
    monkeypatch.setattr(front_module, "IDLE", 0.3)
    async with standing(echo) as stand:
        reader, _ = await idling(stand)
        await asyncio.wait_for(stand.front.drain(20), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""


def test_a_drain_keeps_idle_connections_as_long_as_podiums_own_server() -> None:
    assert Settings.from_environment({"PODIUM_MODEL": "x"}).drain_idle == front_module.IDLE


async def test_a_drain_does_not_outlast_its_time() -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with standing(never) as stand:
        _, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        await asyncio.wait_for(stand.front.drain(0.5), 5)
