"""A router of known fates: its pods' servers, itself, and the callers."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from podium.router.endpoints import HTTP, Endpoint
from tests.integration.metrics.known import Callers, Router, Server
from tests.integration.router.routing_rig import HERE

_addresses = itertools.count(2)


@pytest.fixture
def callers() -> Callers:
    return Callers()


@dataclass
class Place:
    """A router, and the servers of each revision."""

    router: Router
    servers: dict[str, list[Server]]


@pytest.fixture
async def place(callers: Callers, tmp_path: Path) -> AsyncIterator[Place]:
    """A running router with two pods of each revision."""
    async with AsyncExitStack() as stack:
        servers = {revision: [Server(callers.asked, revision) for _ in range(2)] for revision in ("old", "new")}
        pods = {
            (revision, HTTP): tuple([await stack.enter_async_context(each.listening()) for each in those])
            for revision, those in servers.items()
        }
        router = Router(tmp_path / "router", f"127.0.2.{next(_addresses)}", pods)
        router.weigh(5_000)
        with router.running():
            await router.until_ready()
            yield Place(router, servers)


@pytest.fixture
def make_router(callers: Callers, tmp_path: Path) -> Callable[..., object]:
    """A running router with one pod of each revision, and with one of `old` that is listed and dead."""

    @asynccontextmanager
    async def make(*, log: bool = True) -> AsyncIterator[Router]:
        async with AsyncExitStack() as stack:
            pods = {
                (revision, HTTP): (await stack.enter_async_context(Server(callers.asked, revision).listening()),)
                for revision in ("old", "new")
            }
            pods["old", HTTP] += (Endpoint(HERE, 1),)
            router = Router(tmp_path / "router", f"127.0.2.{next(_addresses)}", pods, log=log)
            router.weigh(5_000)
            with router.running():
                await router.until_ready()
                yield router

    return make
