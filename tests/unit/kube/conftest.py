"""A very small API server over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from podium.kube.connect import Connection
from podium.kube.transport import Transport


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = Callable[[Asked], Awaitable[web.Response]]


@dataclass
class Server:
    """Answers by `answer`, and remembers what it was asked."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Every request."""
        text = await request.text()
        asked = Asked(
            request.method, request.path, dict(request.query), dict(request.headers), json.loads(text) if text else None
        )
        self.asked.append(asked)
        if self.answer is None:
            return web.json_response({"metadata": {}} | (asked.body or {}))
        return await self.answer(asked)


def says(content: Any, status: int = 200, **headers: str) -> Answer:
    """The same answer to everything."""

    async def answer(_: Asked) -> web.Response:
        return web.json_response(content, status=status, headers=headers)

    return answer


def refuses(status: int, reason: str, message: str = "no", **details: Any) -> dict[str, Any]:
    """A Status object."""
    return {"kind": "Status", "code": status, "reason": reason, "message": message, "details": details}


def sends(text: bytes, content_type: str = "text/html", status: int = 200) -> Answer:
    """The same bytes to everything, as a proxy or a login page would."""

    async def answer(_: Asked) -> web.Response:
        return web.Response(body=text, status=status, content_type=content_type)

    return answer


class Configuration:
    """What a Connection reads of kubernetes.aio's."""

    proxy = None
    api_key: dict[str, str]

    def __init__(self) -> None:
        self.api_key = {}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listening = site._server
    assert isinstance(listening, asyncio.Server)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    await runner.cleanup()


@pytest.fixture
async def transport(server: Server) -> AsyncIterator[Transport]:
    async def read() -> None: ...

    connection = Connection(f"http://127.0.0.1:{server.port}", "podium/test (me)", None, Configuration(), read)
    transport = Transport(connection)
    yield transport
    await transport.close()
