"""How kopf is kept to what it is here for."""

import inspect
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.clients import api, fetching
from kopf._cogs.clients.auth import APIContext
from kopf._cogs.structs.references import Resource as KopfResource
from kopf._core.reactor import queueing

from podium.kube.reading import NotJson, unreadable
from podium.kube.resources import PODS
from podium.settings import Settings
from podium.watch import handlers
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.queue import Queue

LOG = logging.getLogger(__name__)
KOPF_PODS = KopfResource(group="", version="v1", plural="pods", kind="Pod", namespaced=True)


def pod(name: str, text: bytes = b"") -> bytes:
    return b'{"metadata":{"name":"%s","resourceVersion":"1"},"status":{"message":"%s"}}' % (name.encode(), text)


@dataclass
class Cluster:
    """Serves pods as an API server does, page by page, and one watch."""

    items: list[bytes] = field(default_factory=list)
    stream: bytes = b""
    asked: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        if "watch" in request.query:
            return web.Response(body=self.stream)
        self.asked.append(dict(request.query))
        first = int(request.query.get("continue") or 0)
        last = first + int(request.query["limit"])
        more = str(last).encode() if last < len(self.items) else b""
        meta, items = b'{"resourceVersion":"9","continue":"%s"}' % more, b",".join(self.items[first:last])
        text = b'{"kind":"PodList","apiVersion":"v1","metadata":%s,"items":[%s]}' % (meta, items)
        return web.Response(body=text, content_type="application/json")

    async def list(self) -> list[Any]:
        """All pods, as kopf reads them."""
        settings = handlers.settings_for(Settings(identity="one"))
        pages = fetching.fetch_objs(settings=settings, resource=KOPF_PODS, namespace=None, logger=LOG)
        return [one async for page, _ in pages for one in page]

    def watch(self) -> AsyncIterator[Any]:
        """All events, as kopf reads them."""
        settings = handlers.settings_for(Settings(identity="one"))
        return api.stream(url="/watch?watch=true", settings=settings, logger=LOG)


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "watcher", queueing.watcher)


def test_the_locked_kopf_has_the_seam_for_the_short_cut() -> None:
    assert handlers.short_cut(Feed(Cache(), Queue()))
    assert queueing.watcher.__module__ == handlers.__name__


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """An API server that kopf's client, with our reading, lists and watches pods of."""
    for seam in ("json", "iter_jsonlines", "get"):
        monkeypatch.setattr(api, seam, getattr(api, seam))
    assert handlers.read_everything(), "the locked kopf has the seams"
    cluster = Cluster()
    async with TestServer(cluster.app()) as server, aiohttp.ClientSession() as session:
        address = str(server.make_url("/"))
        context = APIContext(kopf.AiohttpSession(server=address, aiohttp_session=session))
        monkeypatch.setattr(api, "request", partial(inspect.unwrap(api.request), context=context))
        yield cluster


async def test_a_page_that_holds_what_nobody_can_read_is_listed_all_the_same(cluster: Cluster) -> None:
    cluster.items = [pod("a"), pod("b", b"\xff\\ud800"), pod("c")]

    found = await cluster.list()

    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
    assert [unreadable(one) != "" for one in found] == [False, True, False]
    assert {one["kind"] for one in found} == {"Pod"}


async def test_pages_that_are_too_long_are_made_smaller(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "PAGE_BYTES", 20_000)
    cluster.items = [pod(f"p{number}", b"x" * 1000) for number in range(100)]

    found = await cluster.list()

    assert [one["metadata"]["name"] for one in found] == [f"p{number}" for number in range(100)]
    assert {asked["limit"] for asked in cluster.asked} == {"500", "62", "7"}
    assert {asked["labelSelector"] for asked in cluster.asked} == {"podium.dev/model"}


async def test_a_watch_brings_what_comes_after_what_nobody_can_read(cluster: Cluster) -> None:
    pods = (pod("a"), pod("b", b"\xff"), pod("c", b"x" * 3_000_000))
    events = [b'{"type":"ADDED","object":%s}' % one for one in pods]
    cluster.stream = b"\n".join(events) + b'\n\n{"type":"MODIFIED","object":{"metadata":{"na'

    found = [event["object"] async for event in cluster.watch()]

    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
    assert [unreadable(one) != "" for one in found] == [False, True, False]


async def test_a_page_of_a_proxy_ends_the_watch_with_its_words(cluster: Cluster) -> None:
    cluster.stream = b"<html>Sign in</html>"

    with pytest.raises(NotJson, match="Sign in"):
        _ = [event async for event in cluster.watch()]


def test_a_kopf_that_looks_different_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async def watcher(*, something_else: Any) -> None: ...

    monkeypatch.setattr(queueing, "watcher", watcher)

    assert not handlers.short_cut(Feed(Cache(), Queue()))
    assert queueing.watcher.__module__ != handlers.__name__


async def test_kinds_that_are_not_ours_are_left_to_kopf(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def watcher(*, resource: Any, namespace: Any, settings: Any, operator_paused: Any = None, **_: Any) -> None:
        seen.append((resource.kind, namespace))

    class Foreign:
        group, plural, kind = "metrics.k8s.io", "pods", "PodMetrics"

    monkeypatch.setattr(queueing, "watcher", watcher)
    handlers.short_cut(Feed(Cache(), Queue()))

    await queueing.watcher(resource=Foreign(), namespace="ns", settings=None, processor=None)  # type: ignore[arg-type]

    assert seen == [("PodMetrics", "ns")]


def test_kopf_writes_nothing_looks_for_nothing_and_selects_children_by_label() -> None:
    found = handlers.settings_for(Settings(identity="one"))

    assert not found.posting.enabled
    assert found.peering.standalone
    assert found.scanning.disabled
    assert found.queueing.worker_limit is None
    assert found.watching.label_selectors[PODS.group, PODS.version, PODS.plural] == "podium.dev/model"


def test_no_attempt_is_the_last() -> None:
    delays = iter(handlers.settings_for(Settings(identity="one")).networking.error_backoffs)  # type: ignore[arg-type]

    first = [next(delays) for _ in range(1000)]

    assert first[0] < 1
    assert first[-1] == handlers.LAST_BACKOFF
