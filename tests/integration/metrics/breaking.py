"""A server of gRPC that answers nobody well: HTTP/2 by frames (RFC 9113), since no library breaks off on purpose."""

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from podium.router.endpoints import Endpoint
from tests.integration.router.routing_rig import HERE

DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0x0, 0x1, 0x3, 0x4, 0x6
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
INTERNAL_ERROR = struct.pack(">I", 2)
NO_STATUS = "a status that is none"
WAYS = ("reset", "reset in the middle", "closed in the middle", "without trailers", NO_STATUS)


@asynccontextmanager
async def breaking(ways: Iterable[str]) -> AsyncIterator[Endpoint]:
    """Its address; calls are treated in these ways, one after the other."""
    talking: set[asyncio.Task[None]] = set()
    following = itertools.cycle(ways)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_talk(reader, writer, following))
        talking.add(task)
        task.add_done_callback(talking.discard)

    listening = await asyncio.start_server(talk, HERE, 0)
    try:
        yield Endpoint(HERE, listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for task in list(talking):
            task.cancel()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ways: Iterable[str]) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        await reader.readexactly(24)
        writer.write(_frame(SETTINGS))
        while True:
            head = await reader.readexactly(9)
            kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind in (SETTINGS, PING) and not flags & ACK:
                writer.write(_frame(kind, ACK, payload=payload if kind == PING else b""))
            elif kind == DATA and flags & END_STREAM and await _break(writer, stream, next(iter(ways))):
                break
    writer.close()


async def _break(writer: asyncio.StreamWriter, stream: int, way: str) -> bool:
    """Whether the connection is to be closed."""
    fields = [(":status", "200"), ("content-type", "application/grpc")]
    if way == NO_STATUS:
        writer.write(_frame(HEADERS, END_HEADERS | END_STREAM, stream, _block([*fields, ("grpc-status", "x")])))
    elif way != "reset":
        block = _block(fields)
        writer.write(_frame(HEADERS, END_HEADERS, stream, block))
        whole = way == "without trailers"
        writer.write(_frame(DATA, END_STREAM if whole else 0, stream, b"\x00\x00\x00\x00\x02ok"))
        await writer.drain()
        await asyncio.sleep(0.02)  # the router passes the head on before it sees the end
    if way.startswith("reset"):
        writer.write(_frame(RST_STREAM, 0, stream, INTERNAL_ERROR))
    return way == "closed in the middle"


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _block(fields: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()
