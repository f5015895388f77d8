"""How kopf is kept to what it is here for."""

import logging
from typing import Any

import kopf
import orjson
import pytest
from kopf._cogs.clients import api
from kopf._core.reactor import queueing

from podium.kube.resources import PODS
from podium.settings import Settings
from podium.watch import handlers
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.queue import Queue


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "watcher", queueing.watcher)


def test_the_locked_kopf_has_the_seam_for_the_short_cut() -> None:
    assert handlers.short_cut(Feed(Cache(), Queue()))
    assert queueing.watcher.__module__ == handlers.__name__


async def test_the_locked_kopf_reads_what_it_watches_with_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(handlers._FastJson, "loads", staticmethod(lambda text: read.append(text) or orjson.loads(text)))
    monkeypatch.setattr(api, "json", api.json)
    assert handlers.read_fast()

    async def request(*_: Any, **__: Any) -> Any:
        return Answer()

    class Lines:
        async def iter_chunked(self, _: int) -> Any:
            yield b'{"type":"ADDED"}\n'

    class Answer:
        content = Lines()

        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: Any) -> None: ...

    monkeypatch.setattr(api, "request", request)
    settings = kopf.OperatorSettings()
    assert [line async for line in api.stream(url="/x", settings=settings, logger=logging.getLogger())] == [
        {"type": "ADDED"}
    ]
    assert read == ['{"type":"ADDED"}']


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
