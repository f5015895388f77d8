"""Routers, played: each namespace has one pod, whose agent loads at once whatever it is told and reaches everybody.

Where a scenario says what callers there are, a router counts them, too, as an Envoy does. Podium asks a router by its
pod's address, so each namespace's has one of its own, in a range that the kernel is told to take as this host's
(RFC 2544, which nobody routes): EndpointSlices take no loopback addresses.
"""

import fcntl
import ipaddress
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from podium.api import names
from podium.router.places import PORT, STATS_PORT
from podium.router.said import Said
from podium.router.state import State
from tests.cluster.progress import run
from tests.integration.rollouts.callers import Callers
from tests.integration.rollouts.kubelet import Kubelet
from tests.integration.rollouts.world import World

RANGE: Final = ipaddress.ip_network("198.18.0.0/15")
MODEL: Final = "fraud"
"""The one ModelDeployment of a scenario."""
ONE_ROUTER: Final[dict[str, Any]] = {"router_image": "podium/router:test", "router_pods": '{"minReplicas": 1}'}
"""Of an operator whose namespaces have one router each."""


class Router:
    """The agent of a namespace's router pod. While it is `stuck` it loads nothing."""

    def __init__(self, world: World, namespace: str) -> None:
        self._world = world
        self._namespace = namespace
        self._state = State(time.monotonic)
        self.stuck = False
        self.applied: dict[str, str] = {}
        self.callers: Callers | None = None
        """Whose requests it counts; without them it has no statistics."""

    def said(self) -> Said:
        """What it answers now."""
        if not self.stuck:
            self._call()
            told = self._world.all("ConfigMap", self._namespace)
            labelled = (
                one for one in told if (one["metadata"].get("labels") or {}).get(names.LABEL_ROUTER) == names.ROUTING
            )
            self._state.take(labelled)
            self.applied = self._state.texts()
        reached = {share["revision"] for text in self.applied.values() for share in json.loads(text)["split"]}
        return Said(applied=self.applied, refused=dict(self._state.refused), reached=frozenset(reached))

    def statistics(self) -> str:
        """What its Envoy counted until now. Raises HTTPNotFound where nobody calls."""
        self._call()
        if self.callers is None:
            raise web.HTTPNotFound
        return self.callers.counted()

    def _call(self) -> None:
        """Let the callers ask by the weights that were loaded until now."""
        text = self.applied.get(names.routing_name(MODEL))
        if self.callers is not None and text is not None:
            split = {share["revision"]: share["weight"] for share in json.loads(text)["split"]}
            records = self._world.all("ControllerRevision", self._namespace)
            versions = {record["metadata"]["name"]: record["data"]["version"] for record in records}
            self.callers.call(split, versions, time.monotonic())


class Routers:
    """The routers of all namespaces of a session; an asynchronous context manager. Needs the right to set a route."""

    def __init__(self, world: World, kubelet: Kubelet) -> None:
        self._world = world
        self._kubelet = kubelet
        self._subnet, self._taken = _take_subnet()
        self._addresses: Iterator[ipaddress.IPv4Address] = iter(self._subnet.hosts())
        self._by_address: dict[str, Router] = {}
        self._by_namespace: dict[str, Router] = {}
        self._runner: web.AppRunner | None = None
        self._servers: list[web.AppRunner] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            await server.cleanup()
        if self._runner is not None:
            await self._runner.cleanup()
            run(["ip", "route", "delete", "local", str(self._subnet), "dev", "lo"])
        os.close(self._taken)

    async def of(self, namespace: str) -> Router:
        """The router of a namespace, from now on."""
        if namespace not in self._by_namespace:
            (self._by_namespace[namespace],) = await self.several(namespace, 1)
        return self._by_namespace[namespace]

    async def several(self, namespace: str, count: int) -> list[Router]:
        """The routers of a namespace that has so many, from now on."""
        runner = self._runner = self._runner or await self._begin()
        mine = {str(next(self._addresses)): Router(self._world, namespace) for _ in range(count)}
        self._by_address |= mine
        for address in mine:
            # A real agent may listen there, too, at all addresses: tests/integration/router runs some.
            for port in (PORT, STATS_PORT):
                await web.TCPSite(runner, address, port, reuse_port=True).start()
        self._kubelet.place_each(namespace, names.ROUTER, list(mine))
        return list(mine.values())

    async def address(self, port: int, app: web.Application) -> str:
        """An address of its own at which the application answers."""
        self._runner = self._runner or await self._begin()
        server = web.AppRunner(app)
        self._servers.append(server)
        await server.setup()
        address = str(next(self._addresses))
        await web.TCPSite(server, address, port, reuse_port=True).start()
        return address

    async def _begin(self) -> web.AppRunner:
        # Not `add`: a run that was killed leaves its route behind.
        run(["ip", "route", "replace", "local", str(self._subnet), "dev", "lo"])
        app = web.Application()
        app.router.add_get("/applied", self._answer)
        app.router.add_get("/stats", self._count)
        runner = web.AppRunner(app)
        await runner.setup()
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).said().to_json())

    async def _count(self, request: web.Request) -> web.Response:
        return web.Response(text=self._asked(request).statistics())

    def _asked(self, request: web.Request) -> Router:
        assert request.transport is not None
        address, *_ = request.transport.get_extra_info("sockname")
        return self._by_address[address]


def _take_subnet() -> tuple[ipaddress.IPv4Network, int]:
    """One that no other process on this host has, and an open file whose lock keeps it until it is closed."""
    for number, subnet in enumerate(RANGE.subnets(new_prefix=22)):
        held = os.open(Path(tempfile.gettempdir(), f"podium-tests-subnet-{number}"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
        else:
            return subnet, held
    raise RuntimeError(f"all of {RANGE} is taken by other tests")
