"""What the routers say: asked of each by its address, kept while it answers, told to whom it concerns."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from podium import asking
from podium.api import names
from podium.api.v1alpha1 import Traffic
from podium.asking import Asker
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS, PODS
from podium.manifests.owner import Owner
from podium.manifests.routing import config_map, routing, told_in
from podium.router.said import Said
from podium.watch.cache import Cache

FRAUD = MODEL_DEPLOYMENTS.key("ml", "fraud")


class Due(list[Key]):
    def add(self, key: Key) -> None:
        self.append(key)


class Router:
    """An agent, as far as it answers."""

    def __init__(self) -> None:
        self.said: Said | None = Said()
        self.text: str | None = None
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.text is not None:
            return web.Response(text=self.text)
        if self.said is None:
            raise web.HTTPServiceUnavailable
        return web.json_response(self.said.to_json())


class Place:
    """A namespace with one router pod, at an address of this host."""

    def __init__(self, router: Router, port: int) -> None:
        self.router = router
        self.cache, self.due, self.leads = Cache(), Due(), True
        self.asker = Asker(self.cache, self.due, lambda: self.leads, port=port)
        self.version = 0
        self.pod()

    def pod(self, name: str = "podium-router-1", address: str = "127.0.0.1") -> None:
        self.put(PODS, "Pod", name, names.router_labels(), status={"phase": "Running", "podIP": address})

    def tell(self, model: str = "fraud", port: int = 20_000, **weights: int) -> str:
        """The ConfigMap of a ModelDeployment; answers its text."""
        split = weights or {f"{model}-{'b' * 10}": 10_000}
        told = config_map(Owner(model, "ml", f"uid-{model}"), routing(model, port, split, list(split), Traffic()))
        self.version += 1
        told["metadata"] |= {"uid": f"uid-{model}", "resourceVersion": str(self.version)}
        self.cache.put(CONFIG_MAPS, told)
        return told_in(told)

    def put(self, resource: Any, kind: str, name: str, labels: dict[str, str], **rest: Any) -> None:
        self.version += 1
        meta = {"name": name, "namespace": "ml", "uid": name, "resourceVersion": str(self.version), "labels": labels}
        obj: Object = {"apiVersion": "v1", "kind": kind, "metadata": meta, **rest}
        self.cache.put(resource, obj)

    async def until(self, holds: Callable[[], object], within: float = 5.0) -> None:
        end = asyncio.get_running_loop().time() + within
        while not holds():
            assert asyncio.get_running_loop().time() < end, (self.heard, self.due, self.router.asked)
            await asyncio.sleep(0.01)

    @property
    def heard(self) -> Said | None:
        return self.asker.said("ml", "podium-router-1")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    router = Router()
    app = web.Application()
    app.router.add_get("/applied", router.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found = Place(router, runner.addresses[0][1])
    running = asyncio.create_task(found.asker.run())
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runner.cleanup()


async def test_a_namespace_without_routers_told_anything_is_not_asked(place: Place) -> None:
    await asyncio.sleep(4 * asking.TICK)
    assert place.router.asked == 0


async def test_what_a_router_says_is_kept_and_wakes_whom_it_concerns(place: Place) -> None:
    text = place.tell()
    place.router.said = Said(applied={"fraud-router": text}, reached=frozenset({"fraud-bbbbbbbbbb"}))
    await place.until(lambda: place.heard is not None)
    assert place.heard == place.router.said
    assert set(place.due) == {FRAUD}


async def test_news_of_one_ModelDeployment_wake_no_other(place: Place) -> None:
    text, other = place.tell(), place.tell("churn", 20_001)
    applied = {"fraud-router": "", "churn-router": other}
    place.router.said = Said(applied=applied, reached=frozenset({"fraud-bbbbbbbbbb", "churn-bbbbbbbbbb"}))
    await place.until(lambda: place.heard is not None)
    place.due.clear()
    place.router.said = Said(
        applied=applied | {"fraud-router": text}, reached=frozenset({"fraud-bbbbbbbbbb", "churn-bbbbbbbbbb"})
    )
    await place.until(lambda: place.due)
    assert set(place.due) == {FRAUD}


async def test_it_asks_quickly_until_all_is_confirmed_and_then_hardly_ever(place: Place) -> None:
    text = place.tell()
    await place.until(lambda: place.router.asked >= 5, within=20.0)
    place.router.said = Said(applied={"fraud-router": text}, reached=frozenset({"fraud-bbbbbbbbbb"}))
    await place.until(lambda: place.heard == place.router.said)
    asked = place.router.asked
    await asyncio.sleep(1.0)
    assert place.router.asked == asked


async def test_what_is_told_anew_is_asked_for_at_once(place: Place) -> None:
    text = place.tell()
    place.router.said = Said(applied={"fraud-router": text}, reached=frozenset({"fraud-bbbbbbbbbb"}))
    await place.until(lambda: place.heard == place.router.said)
    asked = place.router.asked
    place.tell(**{"fraud-bbbbbbbbbb": 9_000, "fraud-cccccccccc": 1_000})
    await place.until(lambda: place.router.asked > asked, within=5.0)


async def test_a_cache_in_which_nothing_changes_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    text = place.tell()
    place.router.said = Said(applied={"fraud-router": text}, reached=frozenset({"fraud-bbbbbbbbbb"}))
    await place.until(lambda: place.heard == place.router.said)
    read: list[object] = []
    for name in ("all", "owned"):
        monkeypatch.setattr(place.cache, name, lambda *asked: read.append(asked) or [])
    await asyncio.sleep(5 * asking.TICK)
    assert not read


@pytest.mark.parametrize("nonsense", ["", "[]", '{"applied": 7}', "<html>", "[" * 60_000, '{"problem": "\\ud800"}'])
async def test_an_answer_that_is_none_is_no_answer(place: Place, nonsense: str) -> None:
    place.tell()
    place.router.text = nonsense
    await place.until(lambda: place.router.asked > 2)
    assert place.heard is None
    begun = asyncio.get_running_loop().time()
    await place.asker.once()
    assert asyncio.get_running_loop().time() - begun < asking.WITHIN / 2  # it has answered, in its way


async def test_one_that_stops_answering_is_not_known_any_more_and_that_is_news(place: Place) -> None:
    place.tell()
    await place.until(lambda: place.heard is not None)
    place.due.clear()
    place.router.said = None
    await place.until(lambda: place.heard is None)
    assert set(place.due) == {FRAUD}


async def test_a_pod_that_is_gone_is_forgotten(place: Place) -> None:
    place.tell()
    await place.until(lambda: place.heard is not None)
    pod = place.cache.get(PODS, "ml", "podium-router-1")
    assert pod is not None
    place.cache.drop(PODS, pod)
    await place.until(lambda: place.heard is None)


async def test_only_the_leader_asks_and_who_loses_the_Lease_forgets(place: Place) -> None:
    place.tell()
    await place.until(lambda: place.heard is not None)
    place.leads = False
    await place.until(lambda: place.heard is None)
    asked = place.router.asked
    await asyncio.sleep(4 * asking.TICK)
    assert place.router.asked <= asked + 1


async def test_a_new_leader_begins_with_what_all_say(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WITHIN", 20.0)
    place.tell()
    await place.asker.once()
    assert place.heard is not None


async def test_a_pod_that_never_answers_keeps_a_new_leader_waiting_for_no_longer_than_one_question(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tell()
    place.pod("podium-router-2", "192.0.2.1")
    monkeypatch.setattr(asking, "WITHIN", 0.3)
    begun = asyncio.get_running_loop().time()
    await place.asker.once()
    assert asyncio.get_running_loop().time() - begun < 10


def test_what_is_said_is_read_as_it_was_written() -> None:
    said = Said({"a-router": "{}"}, {"b-router": "why"}, frozenset({"a-x"}), {"a-y": "no answer"}, "late")
    assert Said.read(json.loads(json.dumps(said.to_json()))) == said
