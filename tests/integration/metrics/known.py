"""A router's Envoy whose log counts how requests end, servers of known fates, and callers who note what they saw.

Envoy is started by the pod's own command, and its files are what the router's own code renders. Who would otherwise
write the files, the agent, is played (it needs an API server, and nothing here does).
"""

import asyncio
import itertools
import json
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp

from podium.manifests.router import ENVOY, router_objects
from podium.router.admin import Admin, Unreachable
from podium.router.bootstrap import bootstrap
from podium.router.discovery import Discovery
from podium.router.documents import Pods
from podium.router.endpoints import Endpoint
from podium.router.files import Files, NotLoaded
from podium.router.places import BOOTSTRAP, FOLDER, POLLED, SOCKET, XDS
from podium.router.routes import REVISION_HEADER
from podium.router.routing import Routing, Share
from podium.router.xds import render
from tests.cluster import binaries
from tests.cluster.progress import tail
from tests.integration.router.routing_rig import HERE, POD

PORT = 20_000
GIVES_UP, SLOW, TIME_OUT = 0.2, 0.35, 0.5
"""Seconds: callers who give up, a slow answer, and the router's patience, 100 ms apart from one another."""
OVERDUE = 0.1
"""Seconds by which whoever gives up may be late: with more, the router's patience might end in the same moment."""
SECONDS = 30.0


class Router:
    """An Envoy as a router's pod runs it; `log` False: as one did that did not count how requests end."""

    def __init__(self, folder: Path, address: str, pods: Pods, *, log: bool = True) -> None:
        self.address, self.pods, self.log = address, pods, log
        self.folder = folder
        (folder / XDS).mkdir(parents=True)
        self._admin = Admin(folder / SOCKET)
        self._discovery = Discovery(folder / XDS)
        self._files = Files(folder / XDS, None, linger=600)

    def weigh(self, weight: int) -> None:
        """Give `new` this weight; returns when Envoy has it."""
        self.tell(Routing("fraud", PORT, (Share("new", weight), Share("old", 10_000 - weight)), timeout=TIME_OUT))

    def tell(self, routing: Routing) -> None:
        """What the operator would; returns when Envoy has it."""
        config = render([routing], self.pods, address=self.address, ready=True)
        if not self.log:
            manager = config.listeners[routing.model]["filter_chains"][0]["filters"][0]["typed_config"]
            del manager["access_log"]
        end = time.monotonic() + SECONDS
        while True:
            try:
                self._files.put(config)
                return
            except NotLoaded:  # the agent tries again, too
                if time.monotonic() > end:
                    raise

    @contextmanager
    def running(self, **bounds: int) -> Iterator[None]:
        """From being ready until SIGKILL; `bounds`: other ones than a pod's."""
        start = bootstrap(self.folder, address=self.address, node="router", **bounds)
        (self.folder / BOOTSTRAP).write_text(json.dumps(start))
        (template,) = (each["spec"]["template"] for each in router_objects("ml", POD, replicas=1)
                       if each["kind"] == "Deployment")  # fmt: skip
        (words,) = (each["command"] for each in template["spec"]["containers"] if each["name"] == ENVOY)
        command = [str(binaries.envoy()), *(word.replace(FOLDER, str(self.folder)) for word in words[1:])]
        with (self.folder / "envoy.log").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            self._discovery.serve(self.folder / POLLED)
            self._files = Files(self.folder / XDS, self._admin.loaded, linger=600, discovery=self._discovery)
            yield
        finally:
            process.kill()
            process.wait(SECONDS)

    async def until_ready(self) -> None:
        """Until it answers callers; AssertionError with its log."""
        for _ in range(int(SECONDS / 0.02)):
            with suppress(Unreachable, OSError):
                if self._admin.loaded():
                    _, writer = await asyncio.open_connection(self.address, PORT)
                    writer.close()
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(tail(self.folder / "envoy.log"))


class Server:
    """HTTP/1.1: the path is the fate of a request and its number, and which ones came is noted."""

    def __init__(self, asked: "Asked", revision: str) -> None:
        self._asked, self._revision = asked, revision
        self._has: set[int] = set()
        self._talking: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Endpoint]:
        """Where."""
        await self._start(0)
        try:
            yield Endpoint(HERE, self._port)
        finally:
            self._listening.close()
            for task in list(self._talking):
                task.cancel()

    async def crash(self, seconds: float) -> None:
        """As a container that is killed: its connections are reset, and it listens again after so long.

        Not in the moment in which a caller gives up what it has: the router might hear of either first.
        """
        while leaving := self._has & self._asked.given_up.keys():
            await self._asked.given_up[min(leaving)].wait()
        self._asked.lost |= self._has
        self._listening.close()
        for writer in self._talking.values():
            writer.transport.abort()
        await asyncio.sleep(seconds)
        await self._start(self._port)

    async def _start(self, port: int) -> None:
        self._listening = await asyncio.start_server(self._talk, HERE, port, backlog=1024, reuse_address=True)
        self._port = self._listening.sockets[0].getsockname()[1]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._answers(reader, writer))
        self._talking[task] = writer
        task.add_done_callback(self._talking.pop)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                _, fate, number = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().split("/")
                self._asked[int(number)] = self._revision
                self._has.add(int(number))
                try:
                    if not await _answer(fate, reader, writer):
                        break
                finally:
                    self._has.discard(int(number))
                    if heard := self._asked.given_up.pop(int(number), None):
                        heard.set()
        writer.close()


async def _answer(fate: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection stays open."""
    code, _, how = fate.partition("-")
    if how == "reset":
        return False
    if how == "hang":
        await reader.read()
        return False
    if how == "slow":
        await asyncio.sleep(SLOW)
    length = "transfer-encoding: chunked" if how == "chunk" else f"content-length: {2 if how in ('', 'slow') else 200}"
    writer.write(f"HTTP/1.1 {code} X\r\n{length}\r\n\r\n{'2' + chr(13) + chr(10) if how == 'chunk' else ''}ok".encode())
    await writer.drain()
    if how == "half":
        await reader.read()
    return how in ("", "slow")


class Asked(dict[int, str]):
    """By number of a request: the revision whose server got it.

    `times`: how often servers got each. `lost`: those that a server had when it crashed. `given_up`: those whose caller
    gave up, with what says that the server has heard of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[int] = Counter()
        self.lost: set[int] = set()
        self.given_up: dict[int, asyncio.Event] = {}
        self._came: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    def __setitem__(self, number: int, revision: str) -> None:
        super().__setitem__(number, revision)
        self.times[number] += 1
        self._came[number].set()

    async def came(self, number: int) -> None:
        """Until a server got it."""
        await self._came[number].wait()


class Callers:
    """What callers saw, in the classes of the analysis: from nothing but what came back to them."""

    def __init__(self) -> None:
        self.asked = Asked()
        self._saw: dict[int, str] = {}
        self._fates: dict[int, str] = {}
        self._drawn: dict[int, str] = {}
        self._took: dict[int, float] = {}
        self._numbers = itertools.count()

    async def ask(self, http: aiohttp.ClientSession, url: str, fate: str, patience: float = SECONDS) -> None:
        """One request; who has no patience gives up so long after a server got it: before, nobody knows whose it is."""
        number, begun = next(self._numbers), asyncio.get_running_loop().time()
        self._fates[number] = fate
        try:
            async with asyncio.timeout(SECONDS) as limit:
                giving_up = asyncio.create_task(self._give_up(limit, number, begun, patience))
                try:
                    async with http.post(f"{url}/{fate}/{number}") as answer:
                        # Which revision was drawn for it is said even where none of its servers could be reached.
                        self._drawn[number] = answer.headers.get(REVISION_HEADER, "")
                        self._saw[number] = _class(answer.status, await answer.text())
                        self._took[number] = asyncio.get_running_loop().time() - begun
                finally:
                    giving_up.cancel()
        except TimeoutError:
            self._saw[number] = "abandoned"
        except aiohttp.ClientError:
            self._saw[number] = "timeout" if fate.endswith("half") else "reset"

    async def _give_up(self, limit: asyncio.Timeout, number: int, begun: float, patience: float) -> None:
        """Unless an answer of the router may be under way: who gives up just then sees none, and was sent one."""
        await self.asked.came(number)
        due = asyncio.get_running_loop().time() + patience
        await asyncio.sleep(patience)
        now = asyncio.get_running_loop().time()
        # The router's patience began after `begun`, and perhaps long before the server's turn came.
        early = now < due + OVERDUE and now < begun + TIME_OUT - OVERDUE
        if number not in self.asked.lost and early:
            self.asked.given_up[number] = asyncio.Event()
            limit.reschedule(now)

    def unserved(self) -> Counter[str]:
        """What callers saw of requests that came to no server, though routers try again at other pods: see `saw`."""
        return Counter(kind for number, kind in self._saw.items() if number not in self.asked)

    def repeated(self) -> Counter[str]:
        """How many requests of each fate came to a server more than once."""
        return Counter(self._fates[number] for number, times in self.asked.times.items() if times > 1)

    def saw(self, revision: str) -> Counter[str]:
        """By class, of one revision; "answered": whole answers of its servers; "slow": those that took them `SLOW`."""
        seen = Counter(kind for number, kind in self._saw.items() if self._revision(number) == revision)
        seen["answered"] = self.slower(revision, 0)
        seen["slow"] = sum(
            kind == "whole" and self._fates[number] == "200-slow" and self._revision(number) == revision
            for number, kind in self._saw.items()
        )
        return seen

    def _revision(self, number: int) -> str:
        return self.asked[number] if number in self.asked else self._drawn[number]

    def slower(self, revision: str, seconds: float) -> int:
        """Whole answers of its servers that took longer, as their callers saw it."""
        return sum(
            took > seconds
            for number, took in self._took.items()
            if self._revision(number) == revision and self._saw[number] not in ("reset", "timeout")
        )


def _class(status: int, text: str) -> str:
    if "podium-router: " in text:
        return "timeout" if status == 504 else "reset"
    if status == 429:
        return "429"
    if status >= 500:
        return "5xx"
    return "4xx" if status >= 400 and status not in (408, 499) else "whole"
