"""A reverse proxy between one operator and the API server, which counts, fails, delays, cuts and silences.

The operator speaks plain HTTP to the proxy; the proxy speaks TLS to the API server with the client certificate of a
kubeconfig. One proxy stands for one user, so the API server's audit log still says who wrote. The proxy runs in a
thread of its own; all its methods may be called from anywhere.

    with Proxy(plane.kubeconfig("operator")) as proxy:
        operator = Operator(folder, proxy.kubeconfig(folder))
        proxy.cut_after_write(3)
        ...
        proxy.wait_until_cut(seconds=10)   # the third write was made; its answer, and all else, is lost
        operator.kill()
        proxy.mend()
"""

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import yaml
from aiohttp import web

from tests.integration.connector import Connector

T = TypeVar("T")

WRITES = ("POST", "PUT", "PATCH", "DELETE")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}


@dataclass(frozen=True)
class Call:
    """One request of the operator."""

    method: str
    path: str
    query: Mapping[str, str]
    agent: str
    body: bytes = field(repr=False, default=b"")

    @property
    def is_watch(self) -> bool:
        """Whether it is a watch."""
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.method in WRITES

    @property
    def resource(self) -> str:
        """The plural of the kind: `pods`; empty for discovery."""
        parts = self.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if len(parts) >= 3 and parts[0] == "namespaces":
            parts = parts[2:]
        return parts[0] if parts else ""


@dataclass(frozen=True)
class Answered:
    """A write and how it was answered, whether or not the operator got to hear it."""

    call: Call
    status: int
    at: float
    """Seconds of time.monotonic()."""


Match = Callable[[Call], bool]


def anything(_: Call) -> bool:
    """Every request."""
    return True


def writes(call: Call) -> bool:
    """Every write but those for the Lease and for Events, whose number depends on time."""
    return call.is_write and call.resource not in ("leases", "events")


def watches(call: Call) -> bool:
    """Every watch."""
    return call.is_watch


def of(*resources: str) -> Match:
    """Requests about these kinds (plurals)."""
    return lambda call: call.resource in resources


@dataclass
class Fault:
    """What is done to requests that match, until `times` of them were hit (None: until removed)."""

    match: Match
    status: int | None = None
    """Answer with this status instead of asking the API server."""
    message: str = ""
    """What it says then; a sentence of the proxy's own if empty."""
    page: str = ""
    """Answer 200 with this HTML instead, as a proxy or a login page on the way would."""
    delay: float = 0.0
    """Seconds before the request is passed on or answered."""
    delays: int | None = None
    """How many requests wait for that long; None: all of them."""
    lose_answer: bool = False
    """Pass the request on, then cut the connection instead of answering."""
    retry_after: int | None = None
    times: int | None = None
    hits: int = 0
    """How many requests it was done to."""


class Proxy:
    """See the module."""

    def __init__(self, upstream: Path) -> None:
        config = yaml.safe_load(Path(upstream).read_text())
        self._server = config["clusters"][0]["cluster"]["server"].rstrip("/")
        self._ssl = _client_context(config)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._answered: list[Answered] = []
        self._cut_at: tuple[int, Match] | None = None
        self._counted = 0
        self._cut = threading.Event()
        self.on_cut: Callable[[], None] = lambda: None
        """Called in the proxy's thread at the moment of a cut."""
        self._open: set[asyncio.Transport] = set()
        self._watching: set[asyncio.Transport] = set()
        self._expire: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that leads through the proxy; it holds no credentials, the proxy has them."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"kubeconfig-{self.port}"
        file.write_text(json.dumps(config))
        return file

    # What has been seen.

    def answered(self, match: Match = writes) -> list[Answered]:
        """The writes that the API server has answered so far and that match."""
        with self._lock:
            return [one for one in self._answered if match(one.call)]

    # Cutting.

    def cut_after_write(self, number: int, *, match: Match = writes) -> None:
        """After the `number`-th matching write from now on has been made, cut everything: its answer is lost too."""
        with self._lock:
            self._cut.clear()
            self._counted, self._cut_at = 0, (number, match)

    def wait_until_cut(self, seconds: float) -> bool:
        """Whether the cut came within so many seconds."""
        return self._cut.wait(seconds)

    def mend(self) -> None:
        """No cut any more, neither past nor planned, and no faults."""
        with self._lock:
            self._cut_at = None
            self._cut.clear()
            self._faults.clear()
            self._expire.clear()

    # Failing.

    def fault(self, fault: Fault) -> Fault:
        """Add a fault; it stays until `mend`, until its `times`, or until `remove`."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault away."""
        with self._lock:
            self._faults.remove(fault)

    def drop_watches(self) -> int:
        """Cut all watches; answers how many there were. They may come back at once."""
        return self._do(self._abort(self._watching))

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watching)

    def expire_watches(self, *resources: str) -> None:
        """Cut all watches, and answer the next watch of each of these kinds with 410 Expired."""
        with self._lock:
            self._expire.update(resources)
        self.drop_watches()

    @property
    def expiring(self) -> bool:
        """Whether some of the kinds of `expire_watches` have not been watched again yet."""
        with self._lock:
            return bool(self._expire)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Inside, the API server refuses connections, and all that were open are cut."""
        self._do(self._deaf())
        try:
            yield
        finally:
            self._do(self._listen(self.port))

    # The inside; everything below runs in the proxy's own thread.

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _start(self) -> None:
        self._connector = Connector(limit=0, ssl=self._ssl)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=60),
            read_bufsize=2**21,
        )
        self._writing = asyncio.Lock()
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await self._listen(0)

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await self._site.start()
        server = self._site._server
        assert isinstance(server, asyncio.Server)
        self._sockets = server.sockets
        self.port = self._sockets[0].getsockname()[1]

    async def _accept_no_more(self) -> None:
        """Python 3.11 loses, socket and all, what it accepts in the turn of its loop in which the server is closed."""
        for socket in self._sockets:
            self._loop.remove_reader(socket.fileno())
        for _ in range(3):  # what was accepted in this turn gets its transport, and the transport its protocol
            await asyncio.sleep(0)

    async def _deaf(self) -> None:
        await self._accept_no_more()
        await self._site.stop()
        await self._abort(self._open)

    async def _end(self) -> None:
        await self._accept_no_more()
        await self._abort(self._open)
        await self._runner.cleanup()
        # What was still being passed on: the loop is the proxy's own, so all of its tasks are.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._connector.abort()
        await self._session.close()

    async def _abort(self, transports: set[asyncio.Transport]) -> int:
        count = len(transports)
        for transport in list(transports):
            transport.abort()
        transports.clear()
        return count

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        try:
            return await self._handle(request, transport)
        except (ConnectionError, aiohttp.ClientError):
            # Cut by us, or by one of both ends: nobody is there to be answered.
            transport.abort()
            return web.Response(status=502)

    async def _handle(self, request: web.Request, transport: asyncio.Transport) -> web.StreamResponse:
        self._open = {one for one in self._open if not one.is_closing()} | {transport}
        call = Call(
            request.method,
            request.path,
            dict(request.query),
            request.headers.get("User-Agent", ""),
            await request.read(),
        )
        if self._cut.is_set():
            raise _cut(transport)
        fault = self._hit(call)
        if fault is not None:
            await asyncio.sleep(fault.delay if fault.delays is None or fault.hits <= fault.delays else 0)
            if fault.page:
                return web.Response(text=fault.page, content_type="text/html")
            if fault.status is not None:
                return _refusal(fault)
        if call.is_watch:
            with self._lock:
                expired = call.resource in self._expire
                self._expire.discard(call.resource)
            if expired:
                return web.Response(text=_EXPIRED + "\n", content_type="application/json")
            return await self._watch(request, transport)
        lose_answer = fault is not None and fault.lose_answer
        # What the operator has sent the API server gets, even if the operator is killed this very moment.
        return await asyncio.shield(self._pass_on(request, call, transport, lose_answer=lose_answer))

    def _hit(self, call: Call) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if (fault.times is None or fault.hits < fault.times) and fault.match(call):
                    fault.hits += 1
                    return fault
        return None

    async def _pass_on(
        self, request: web.Request, call: Call, transport: asyncio.Transport, *, lose_answer: bool
    ) -> web.Response:
        # With a cut planned, one write at a time: none may be under way beside the one that is the last.
        one_by_one = self._writing if call.is_write and self._cut_at is not None else contextlib.nullcontext()
        async with one_by_one:
            if self._cut.is_set():
                raise _cut(transport)
            async with self._session.request(
                call.method, self._server + request.raw_path, data=call.body or None, headers=_headers(request.headers)
            ) as response:
                content = await response.read()
                status, headers = response.status, _headers(response.headers, keep={"content-encoding"})
            if call.is_write and self._count(call, status):
                await self._abort(self._open)
        if lose_answer or self._cut.is_set():
            raise _cut(transport)
        return web.Response(status=status, body=content, headers=headers)

    def _count(self, call: Call, status: int) -> bool:
        """Note an answered write; whether it is the one after which everything is cut."""
        with self._lock:
            self._answered.append(Answered(call, status, time.monotonic()))
            if self._cut_at is None or self._cut.is_set() or not self._cut_at[1](call):
                return False
            self._counted += 1
            if self._counted < self._cut_at[0]:
                return False
            self._cut.set()
            self.on_cut()
            return True

    async def _watch(self, request: web.Request, transport: asyncio.Transport) -> web.StreamResponse:
        async with self._session.get(self._server + request.raw_path, headers=_headers(request.headers)) as response:
            answer = web.StreamResponse(
                status=response.status, headers=_headers(response.headers, keep={"content-encoding"})
            )
            await answer.prepare(request)
            self._watching.add(transport)
            try:
                async for chunk in response.content.iter_any():
                    await answer.write(chunk)
            finally:
                self._watching.discard(transport)
            return answer


_EXPIRED = json.dumps(
    {
        "type": "ERROR",
        "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "The resourceVersion for the provided watch is too old.",
        },
    }
)  # fmt: skip


def _cut(transport: asyncio.Transport) -> Exception:
    transport.abort()
    return ConnectionResetError("cut")


_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    504: "Timeout",
}


def _refusal(fault: Fault) -> web.Response:
    reason = _REASONS.get(fault.status or 0, "")
    status: dict[str, Any] = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "code": fault.status, "message": fault.message or f"the proxy answers {fault.status}",
    }  # fmt: skip
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(status, status=fault.status or 500, headers=headers)


def _headers(headers: Mapping[str, str], keep: set[str] | None = None) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP - (keep or set())}


def _client_context(config: dict[str, Any]) -> ssl.SSLContext | bool:
    """What the kubeconfig's server is spoken to with; the key is on the disk for a moment only."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    if not cluster["server"].startswith("https:"):
        return True
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
