"""Callers that take too much are ended or refused; others are served, and whoever asks for readiness and statistics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest

from podium.router.bounds import HEADERS_SECONDS
from podium.router.endpoints import HTTP, Endpoint
from podium.router.places import READY_PORT, STATS_PORT
from podium.router.routing import Routing, Share
from tests.integration.metrics.known import PORT, SECONDS, Asked, Router, Server
from tests.integration.router.routing_rig import HERE, OLD, Pod

ADDRESSES = iter(range(2, 250))
OWN = {READY_PORT: "/ready", STATS_PORT: "/stats?filter=server.uptime"}
"""By port of its own, what is asked there."""


@asynccontextmanager
async def router(folder: Path, **bounds: int) -> AsyncIterator[Router]:
    async with AsyncExitStack() as stack:
        pods = {(OLD, HTTP): (await stack.enter_async_context(Server(Asked(), OLD).listening()),)}
        made = Router(folder / "router", f"127.0.5.{next(ADDRESSES)}", pods)
        await asyncio.to_thread(made.tell, Routing("fraud", PORT, (Share(OLD, 10_000),)))
        stack.enter_context(made.running(**bounds))
        await made.until_ready()
        yield made


async def asked(made: Router, port: int = PORT, path: str = "/200/1") -> tuple[int, str]:
    """The answer to a request on a connection of its own."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{made.address}:{port}{path}") as answer:
        return answer.status, await answer.text()


class Kept:
    """A connection that a caller keeps."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def sends(self, text: str) -> None:
        """Without waiting."""
        self._writer.write(text.encode())

    async def says(self) -> str:
        """The next answer's first line; empty where the connection is closed."""
        try:
            found = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\nok"), SECONDS)
        except asyncio.IncompleteReadError as error:
            found = error.partial
        except ConnectionError:
            return ""
        return found.decode().partition("\r\n")[0]

    async def answers(self) -> bool:
        """Whether a request on it is answered; False where it is closed."""
        self.sends("GET /200/1 HTTP/1.1\r\nhost: x\r\n\r\n")
        return await self.says() == "HTTP/1.1 200 OK"

    def close(self) -> None:
        """Leave."""
        self._writer.close()


Connect = Callable[..., Awaitable[Kept]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes connections that end with the test."""
    with ExitStack() as stack:

        async def to(made: Router, port: int = PORT) -> Kept:
            return stack.enter_context(closing(Kept(*await asyncio.open_connection(made.address, port))))

        yield to


async def test_a_head_that_does_not_come_to_an_end_is_ended_and_others_are_served(
    tmp_path: Path, connect: Connect
) -> None:
    async with router(tmp_path) as made:
        slow = [await connect(made, port) for port in (PORT, *OWN)]
        begun = time.monotonic()
        for each in slow:
            each.sends("GET /200/1 HTTP/1.1\r\nhost: x\r\n")
        ends = asyncio.gather(*(each.says() for each in slow))
        while not ends.done():
            assert await asked(made) == (200, "ok")
            await asyncio.wait([ends], timeout=0.5)

        assert await ends == ["HTTP/1.1 408 Request Timeout"] * 3
        assert HEADERS_SECONDS - 1 < time.monotonic() - begun < HEADERS_SECONDS + 30


async def test_a_connection_beyond_the_limit_is_refused_and_those_within_it_serve_on(
    tmp_path: Path, connect: Connect
) -> None:
    async with router(tmp_path, connections=20) as made:

        async def another() -> Kept:
            """One that is within the limit, as soon as one is free."""
            end = time.monotonic() + SECONDS
            while not await (each := await connect(made)).answers():
                assert time.monotonic() < end
            return each

        kept = [await another() for _ in range(20)]
        for _ in range(3):
            assert not await (await connect(made)).answers()
        for port, path in OWN.items():
            assert (await asked(made, port, path))[0] == 200
        assert all([await each.answers() for each in kept])

        kept.pop().close()
        kept.append(await another())
        assert all([await each.answers() for each in kept])


async def test_without_memory_requests_are_refused_and_its_own_ports_answer(tmp_path: Path) -> None:
    async with router(tmp_path, memory=2**20) as made:
        await until_answered(made, 503)

        assert (await asked(made))[1].startswith('{"error":"podium-router: ')
        for port, path in OWN.items():
            assert (await asked(made, port, path))[0] == 200


async def test_requests_are_refused_while_others_hold_the_memory_and_answered_when_they_have_gone(
    tmp_path: Path, connect: Connect
) -> None:
    async with router(tmp_path, memory=128 * 2**20) as made:
        assert await asked(made) == (200, "ok")
        kept = []
        for _ in range(1_000):
            kept.append(await connect(made))
            kept[-1].sends(f"GET /200-hang/1 HTTP/1.1\r\nhost: x\r\nx: {'x' * 50_000}\r\n\r\n")
        await until_answered(made, 503)

        for each in kept:
            each.close()
        await until_answered(made, 200)


async def test_a_body_of_1_MiB_is_sent_again_where_the_first_pod_is_dead(tmp_path: Path) -> None:
    async with Pod(OLD) as pod:
        pods = {(OLD, HTTP): (Endpoint(HERE, 1), Endpoint(HERE, int(pod.address.rpartition(":")[2])))}
        made = Router(tmp_path / "router", f"127.0.5.{next(ADDRESSES)}", pods)
        await asyncio.to_thread(made.tell, Routing("fraud", PORT, (Share(OLD, 10_000),)))
        with made.running():
            await made.until_ready()
            async with aiohttp.ClientSession() as http:
                for _ in range(20):
                    async with http.post(f"http://{made.address}:{PORT}/", data=b"x" * 2**20) as answer:
                        assert (answer.status, (await answer.json())["bytes"]) == (200, 2**20)


async def until_answered(made: Router, status: int) -> None:
    """AssertionError where no answer has this code."""
    end = time.monotonic() + SECONDS
    while (answer := await asked(made))[0] != status:
        assert time.monotonic() < end, answer
