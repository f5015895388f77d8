"""The front of the runtime torchserve before a server that a test plays, and words to ask it with."""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.until import until

SOURCES = Path("charts/runtimes")


def load() -> Any:
    """As serve.py loads it: the folder is the first to be searched."""
    sys.path.insert(0, str(SOURCES.resolve()))
    try:
        return importlib.import_module("front")
    finally:
        del sys.path[0]


front_module = load()
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Stand:
    """A server and the front before it."""

    front: Any
    port: int
    reason: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer


@contextlib.asynccontextmanager
async def standing(handler: Handler) -> AsyncIterator[Stand]:
    """The front before a server that serves each connection by `handler`; twenty seconds, then it counts as hung."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stand: Stand

    async def state() -> str:
        return stand.reason

    front = front_module.Front(server.sockets[0].getsockname(), "digits-x", state)
    listener = await front.listen(0)
    stand = Stand(front, listener.sockets[0].getsockname()[1])
    async with asyncio.timeout(20):
        yield stand
        for writer in stand.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        for _ in range(3):  # a connection that was just made is accepted in the loop's next round
            await asyncio.sleep(0)
            await until(lambda: not any(each.transport for each in front.clients), 10)
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
    listener.close()
    server.close()


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status (0 of a request) and headers."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0, headers


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, headers = await head_of(reader)
    return status, headers, await reader.readexactly(int(headers["content-length"]))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its own body."""
    while True:
        _, headers = await head_of(reader)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        writer.write(b"HTTP/1.1 200 \r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n%b" % (len(body), body))
        await writer.drain()


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /predictions/digits HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

LARGE = bytes(4_000_000)
"""More than fits into the buffers between two: of a connection that is closed meanwhile, the answer is lost."""


async def idling(stand: Stand) -> Streams:
    """A connection that has had an answer, and may be asked again."""
    reader, writer = await stand.connect()
    writer.write(post(b"x"))
    assert (await answer_of(reader))[1]["connection"] == "keep-alive"
    return reader, writer
