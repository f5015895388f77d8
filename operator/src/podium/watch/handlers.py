"""kopf's registry: one handler per kind, which only stores and enqueues.

`on.event` is kopf's plain informer: its other handlers keep state in annotations and finalizers of people's
objects. An event handler that fails is not called again, so nothing that can fail is done here.

For each object of each kind kopf keeps a queue and a task, and for each event it prepares what its other handlers
would need (bodies, patches, diffs, loggers, the state of progress): several times the cost of storing and enqueuing.
`short_cut` takes the events from kopf's stream of a kind, before any of that. kopf does not promise this seam; where
it looks different from 1.45.2, the handlers get the events as ever.

`read_everything` takes the place of how kopf reads lists and watches: one object that it cannot read would end all
watches, at every start anew (podium.kube.reading).
"""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import aiohttp
import kopf
from kopf._cogs.clients import api, watching
from kopf._core.reactor import queueing

from podium.kube.connect import Connection
from podium.kube.reading import NODES, read_event, read_page
from podium.kube.resources import BY_KIND, Resource
from podium.kube.transport import TooLong, read_body
from podium.settings import Settings
from podium.watch.feed import Feed
from podium.watch.kinds import KINDS

BACKOFFS = (0.2, 0.5, 1.0, 2.0)
LAST_BACKOFF = 5.0
"""Seconds between attempts while the API server does not answer; the last one repeats for ever."""

PAGE: Final = 500
"""Objects in one page of a list, of which the answer may have so many bytes; else the page is made smaller."""

PAGE_BYTES: Final = 8 * 2**20

READ_AT_ONCE: Final = 2**20
"""Bytes of a list's page beyond which a thread reads it, while the event loop goes on."""

REQUEST_TIMEOUT = 60.0
CONNECT_TIMEOUT = 5.0


class _Backoffs:
    """Delays without an end: a watch never gives up, and so never takes kopf down with it."""

    def __iter__(self) -> Any:
        yield from BACKOFFS
        while True:
            yield LAST_BACKOFF


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf copies and diffs every object of every event for handlers that Podium does not have; this does not."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """There are no handlers with progress, so nothing is kept, and nothing is copied to keep it out of diffs."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class Login:
    """Gives kopf its HTTP sessions, and closes what kopf leaves open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sessions: list[aiohttp.ClientSession] = []

    async def __call__(self, **_: Any) -> kopf.AiohttpSession:
        """kopf's login handler; the session refreshes its token itself."""
        session = self._connection.session(connections=0)
        self._sessions.append(session)
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)

    async def close(self) -> None:
        """Close every session that was given out."""
        for session in self._sessions:
            await session.close()


def registry(feed: Feed, login: Login) -> kopf.OperatorRegistry:
    """Everything that kopf is asked to call: the login, and one event handler for each watched kind."""
    found = kopf.OperatorRegistry()

    kopf.on.login(id="login", registry=found)(login.__call__)
    for resource in KINDS:
        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=found)(
            _handler(feed, resource)
        )
    return found


def short_cut(feed: Feed) -> bool:
    """Lead every event of a watched kind straight into the feed; false if this kopf has no such seam."""
    original = getattr(queueing.watcher, "podium_original", queueing.watcher)
    if {"namespace", "settings", "resource", "operator_paused"} - inspect.signature(original).parameters.keys():
        return False

    async def watcher(*, resource: Any, **given: Any) -> None:
        known = BY_KIND.get(resource.kind)
        if known is None or known not in KINDS or (known.group, known.plural) != (resource.group, resource.plural):
            await original(resource=resource, **given)
            return
        scope = {name: given.get(name) for name in ("namespace", "settings", "operator_paused")}
        async for event in watching.infinite_watch(resource=resource, **cast(Any, scope)):
            if isinstance(event, watching.Bookmark):
                feed.listed(known)
            elif event["type"] != "BOOKMARK":
                feed.seen(known, event["type"], cast(Any, event["object"]))

    watcher.podium_original = original  # type: ignore[attr-defined]
    queueing.watcher = cast(Any, watcher)
    return True


class _Line(bytes):
    """A line of a watch. kopf decodes what it reads, and bytes that are no UTF-8 would end it."""

    def decode(self, *_: Any, **__: Any) -> Any:
        """Itself."""
        return self


class _Json:
    """Stands where kopf's client has the module json, to read the lines of watches."""

    @staticmethod
    def loads(line: bytes | str) -> Any:
        """One event; NotJson ends kopf, which starts anew a little later."""
        return read_event(line.encode() if isinstance(line, str) else bytes(line))

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)


async def _lines(content: aiohttp.StreamReader, chunk_size: int = 2**20) -> AsyncIterator[bytes]:
    """The lines of a watch. A last one without its end was cut off: the next watch brings the event again."""
    pieces: list[bytes] = []
    async for piece in content.iter_chunked(chunk_size):
        *whole, rest = piece.split(b"\n")
        for line in whole:
            text = b"".join((*pieces, line))
            pieces.clear()
            if text:
                yield _Line(text)
            if len(text) > NODES:
                await asyncio.sleep(0)  # a hundred large ones must not keep the Lease from being renewed
        if rest:
            pieces.append(rest)
    if pieces and not pieces[0].lstrip().startswith(b"{"):
        yield _Line(b"".join(pieces))  # some other text, of which read_event says what it is


async def _get(url: str, *, payload: object | None = None, **given: Any) -> Any:
    """GET an object or one page of a list, of fewer items where they are too long together."""
    address, _, query = url.partition("?")
    asked = dict(parse_qsl(query))
    while True:
        limit = int(asked.get("limit") or 0)
        async with await api.request(method="get", url=url, payload=payload, **given) as response:
            try:
                text = await read_body(response, PAGE_BYTES if limit > 1 else 0)
            except TooLong:
                asked["limit"] = str(max(1, limit // 8))
                url = f"{address}?{urlencode(asked)}"
                continue
        return await asyncio.to_thread(read_page, text) if len(text) > READ_AT_ONCE else read_page(text)


def read_everything() -> bool:
    """Let kopf's client read what it lists and watches with `podium.kube.reading`; false if it has no such seam."""
    seams = ("json", "iter_jsonlines", "get", "request")
    if not all(hasattr(api, seam) for seam in seams) or not isinstance(api.json, ModuleType | _Json):  # type: ignore[attr-defined]
        return False
    seam = cast(Any, api)
    seam.json, seam.iter_jsonlines, seam.get = _Json(), _lines, _get
    return True


def _handler(feed: Feed, resource: Resource) -> Callable[..., Awaitable[None]]:
    async def handle(event: Any, **_: Any) -> None:
        feed.seen(resource, event["type"], event["object"])

    return handle


def settings_for(settings: Settings) -> kopf.OperatorSettings:
    """kopf as an informer and nothing more."""
    found = kopf.OperatorSettings()
    # Nothing is ever written by kopf: no Events, no peering objects, no state of handlers.
    found.posting.enabled = False
    found.peering.standalone = True
    found.persistence.diffbase_storage = _NoDiffs()
    found.persistence.progress_storage = _NoProgress()
    # Neither CRDs nor namespaces are listed or watched: kinds and namespaces are known beforehand.
    found.scanning.disabled = True
    for resource, kind in KINDS.items():
        if selector := kind.selector(settings):
            found.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    found.watching.chunk_size = PAGE
    found.networking.error_backoffs = _Backoffs()
    found.networking.request_timeout = REQUEST_TIMEOUT
    found.networking.connect_timeout = CONNECT_TIMEOUT
    # A limit below the number of objects deadlocks (1.45.2); an idle object's task costs memory while it lingers.
    found.queueing.worker_limit = None
    found.queueing.idle_timeout = 0.5
    found.queueing.exit_timeout = 0.5
    # kopf would kill the process ten minutes after its own end, and its end is not always ours.
    found.process.ultimate_exiting_timeout = None
    return found
