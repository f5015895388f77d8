"""Comparing the cache with the cluster: what is gone is dropped, what is missing is waited for or fetched."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from podium.keys import Key
from podium.kube.client import ApiError, Identity, Object
from podium.kube.reading import unreadable
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS, Resource
from podium.settings import Settings
from podium.watch import resync
from podium.watch.cache import Cache
from podium.watch.kinds import KINDS, Kind
from podium.watch.queue import Queue
from podium.watch.resync import Resync
from tests.until import until


class Cluster:
    """What an API server would answer, from memory."""

    def __init__(self) -> None:
        self.objects: dict[Resource, list[Object]] = {resource: [] for resource in KINDS}
        self.version = 100
        self.asked: list[tuple[str, str | None, str]] = []
        self.read: list[str] = []
        self.kept_back: dict[str, ApiError] = {}
        self.failures: Iterator[Exception] = iter(())
        self.forbidden: set[str | None] = set()
        """Namespaces in which nobody gives a right."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while a list is made."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        self.read.append(name)
        if name in self.kept_back:
            raise self.kept_back[name]
        return next((obj for obj in self.objects[resource] if obj["metadata"]["name"] == name), None)

    async def identities(
        self, resource: Resource, namespace: str | None, *, selector: str = ""
    ) -> tuple[list[Identity], int]:
        if failure := next(self.failures, None):
            raise failure
        if namespace in self.forbidden:
            raise ApiError(403, "Forbidden", f"podium may not list {resource.plural} in {namespace}")
        self.asked.append((resource.plural, namespace, selector))
        self.meanwhile()
        metas = (obj["metadata"] for obj in self.objects[resource])
        found = [Identity(m["name"], m["uid"], int(m["resourceVersion"]), m.get("namespace", "")) for m in metas]
        return found, self.version


class Rig:
    def __init__(self, **settings: Any) -> None:
        self.cluster, self.cache, self.queue = Cluster(), Cache(), Queue()
        self.settings = Settings(identity="one", **settings)
        self.resync = Resync(self.cluster, self.cache, self.queue, self.settings)
        self.queue.resume()

    async def due(self) -> set[Key]:
        found = set()
        while len(self.queue):
            key = await self.queue.get()
            self.queue.done(key)
            found.add(key)
        return found


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(resync, "POLL", 0.005)
    monkeypatch.setattr(resync, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(resync, "RELIST_DELAY", 0.0)
    return Rig()


def obj(name: str, version: int = 1, model: str = "m", namespace: str = "ns") -> Object:
    labels = {"podium.dev/model": model}
    meta = {"name": name, "namespace": namespace, "uid": f"u-{name}", "resourceVersion": str(version), "labels": labels}
    return {"metadata": meta}


async def test_it_is_synced_once_the_cache_holds_all_there_was(rig: Rig) -> None:
    rig.cluster.objects[PODS] = [obj("p", 7)]
    running = asyncio.create_task(rig.resync.catch_up())
    await asyncio.sleep(0.02)
    assert not running.done()

    rig.cache.put(PODS, obj("p", 6))
    await asyncio.sleep(0.02)
    assert not running.done(), "an older version is not enough"
    rig.cache.put(PODS, obj("p", 8))
    await asyncio.wait_for(running, 20)

    assert rig.resync.synced
    assert rig.cluster.read == []


async def test_an_object_that_was_deleted_meanwhile_is_not_waited_for(rig: Rig) -> None:
    rig.cluster.objects[PODS] = [obj("p", 7)]
    rig.cache.drop(PODS, obj("p", 9))

    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    assert rig.resync.synced
    assert rig.cluster.read == []


async def test_what_the_watch_never_brings_is_fetched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "STALLED", 0.05)
    rig.cache.put(MODEL_DEPLOYMENTS, obj("m"))
    rig.cluster.objects[MODEL_DEPLOYMENTS] = [obj("m")]
    rig.cluster.objects[PODS] = [obj("p", 7)]

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert rig.cluster.read == ["p"]
    assert len(rig.cache.owned(PODS, "ns", "m")) == 1
    assert await rig.due() == {MODEL_DEPLOYMENTS.key("ns", "m")}


async def test_what_is_gone_is_dropped_and_its_model_woken(rig: Rig) -> None:
    rig.cache.put(MODEL_DEPLOYMENTS, obj("m"))
    rig.cluster.objects[MODEL_DEPLOYMENTS] = [obj("m")]
    rig.cache.put(PODS, obj("p", 50))

    await rig.resync.catch_up()

    assert rig.cache.owned(PODS, "ns", "m") == []
    assert await rig.due() == {MODEL_DEPLOYMENTS.key("ns", "m")}
    assert not rig.cache.put(PODS, obj("p", 99)), "an answer from before the list comes too late"


async def test_what_is_newer_than_the_list_stays(rig: Rig) -> None:
    rig.cluster.meanwhile = lambda: rig.cluster.asked[-1][0] == "pods" and rig.cache.put(PODS, obj("p", 101))

    await rig.resync.catch_up()

    assert rig.cache.get(PODS, "ns", "p") is not None


async def test_each_namespace_is_compared_by_itself(rig: Rig) -> None:
    rig = Rig(watch_namespaces=("ns", "other"))

    await rig.resync.catch_up()

    assert {(namespace) for kind, namespace, _ in rig.cluster.asked if kind == "pods"} == {"ns", "other"}
    assert [namespace for kind, namespace, _ in rig.cluster.asked if kind == "modelruntimes"] == [None]


@pytest.mark.parametrize("forbidden", [{"gone"}, {"gone", "too"}])
async def test_a_namespace_that_was_deleted_keeps_those_beside_it_waiting_for_nothing(
    rig: Rig, forbidden: set[str | None], caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(watch_namespaces=("gone", "ns", "too"))
    rig.cluster.forbidden = forbidden
    rig.cache.put(PODS, obj("p", 50))

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert rig.resync.synced
    assert rig.resync.apart == forbidden
    assert rig.cache.get(PODS, "ns", "p") is None, "the others are compared"
    assert "nothing is planned in namespace gone" in caplog.text
    assert "watchNamespaces" in caplog.text


async def test_where_no_namespace_can_be_read_it_waits_for_rights(rig: Rig) -> None:
    rig = Rig(watch_namespaces=("ns", "other"))
    rig.cluster.forbidden = {"ns", "other"}
    running = asyncio.create_task(rig.resync.catch_up())
    await asyncio.sleep(0.05)
    assert not running.done()

    rig.cluster.forbidden = {"other"}
    await asyncio.wait_for(running, 20)
    assert rig.resync.apart == {"other"}


async def test_a_namespace_that_is_back_is_found_also_when_the_other_one_goes(rig: Rig) -> None:
    rig = Rig(watch_namespaces=("ns", "other"))
    rig.cluster.forbidden = {"other"}
    await asyncio.wait_for(rig.resync.catch_up(), 20)

    rig.cluster.forbidden = {"ns"}
    await asyncio.wait_for(rig.resync.catch_up([PODS]), 20)

    assert rig.resync.apart == {"ns"}


async def test_what_is_in_a_namespace_that_can_be_read_again_is_looked_at_soon(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resync, "LAST_DELAY", 0.02)
    rig = Rig(watch_namespaces=("ns", "other"))
    rig.cluster.forbidden = {"other"}
    rig.cluster.objects[MODEL_DEPLOYMENTS] = [obj("m"), obj("n", namespace="other")]
    for each in rig.cluster.objects[MODEL_DEPLOYMENTS]:
        rig.cache.put(MODEL_DEPLOYMENTS, each)
    running = asyncio.create_task(rig.resync.run())
    await until(lambda: rig.resync.apart == {"other"})
    await rig.due()

    rig.cluster.forbidden = set()
    assert await asyncio.wait_for(rig.queue.get(), 20) == MODEL_DEPLOYMENTS.key("other", "n")
    assert not len(rig.queue), "nothing has happened in the others"
    running.cancel()


async def test_an_api_server_that_does_not_answer_is_asked_again(rig: Rig) -> None:
    rig.cluster.failures = iter([ApiError(0, "Unreachable", "refused"), ApiError(500, "InternalError", "ill")])

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert rig.resync.synced


async def test_a_kind_that_was_listed_anew_is_compared_soon(rig: Rig) -> None:
    running = asyncio.create_task(rig.resync.run())
    await until(lambda: rig.resync.synced)
    rig.cache.put(PODS, obj("p", 50))
    rig.cluster.asked.clear()

    rig.resync.relisted(PODS)
    await until(lambda: rig.cache.get(PODS, "ns", "p") is None)
    running.cancel()

    assert [kind for kind, *_ in rig.cluster.asked] == ["pods"]


async def test_every_few_minutes_every_model_deployment_is_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(resync_min=0.02, resync_max=0.03)
    rig.cache.put(MODEL_DEPLOYMENTS, obj("m"))
    rig.cluster.objects[MODEL_DEPLOYMENTS] = [obj("m")]
    running = asyncio.create_task(rig.resync.run())

    assert await asyncio.wait_for(rig.queue.get(), 20) == MODEL_DEPLOYMENTS.key("ns", "m")

    running.cancel()


def test_children_are_selected_by_the_label_and_model_deployments_by_the_users_selector() -> None:
    settings = Settings(identity="one", selector="team=a")

    selectors = {resource.plural: kind.selector(settings) for resource, kind in KINDS.items()}

    assert selectors.pop("modeldeployments") == "team=a"
    assert selectors.pop("modelruntimes") == ""
    assert selectors.pop("configmaps") == "podium.dev/router in (routing,ledger)"
    assert set(selectors.values()) == {"podium.dev/model"}


@pytest.mark.parametrize("failure", [ValueError("no list"), KeyError("metadata"), RecursionError(), MemoryError()])
async def test_whatever_goes_wrong_it_compares_again(rig: Rig, failure: Exception) -> None:
    failed = []
    rig.resync.on_failure = lambda: failed.append(True)
    rig.cluster.failures = iter([failure])

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert rig.resync.synced
    assert failed == [True]


async def test_what_the_cache_cannot_read_is_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "STALLED", 0.05)
    rig.cluster.objects[PODS] = [obj("p", 7) | {"spec": 3}]

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert [unreadable(one) != "" for one in rig.cache.all(PODS)] == [True]


class Restored(Rig):
    """A cluster whose etcd was restored from a backup: at 50, when the cache had seen what there was at 90."""

    def __init__(self) -> None:
        super().__init__()
        self.watched_anew = 0
        self.resync.on_older = self._watch_anew
        for version, name in ((40, "changed"), (30, "same"), (80, "new")):
            self.cache.put(PODS, obj(name, version))
        self.cache.put(PODS, obj("changed", 90) | {"status": {"phase": "Failed"}})
        self.cache.put(PODS, obj("gone", 45))
        self.cache.drop(PODS, obj("gone", 85))
        self.cluster.version = 50
        self.cluster.objects[PODS] = [obj("changed", 40), obj("same", 30), obj("gone", 45)]

    def _watch_anew(self) -> None:
        self.watched_anew += 1
        for live in self.cluster.objects[PODS]:
            self.cache.put(PODS, live)


async def test_a_restored_etcd_is_believed(rig: Rig) -> None:
    rig = Restored()

    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    versions = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in rig.cache.all(PODS)}
    assert versions == {"changed": "40", "same": "30", "gone": "45"}
    assert rig.watched_anew == 1
    assert rig.cluster.read == []


async def test_after_a_restore_newer_versions_win_as_ever(rig: Rig) -> None:
    rig = Restored()
    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    assert rig.cache.put(PODS, obj("changed", 60) | {"status": {"phase": "Running"}})
    assert not rig.cache.put(PODS, obj("changed", 55) | {"status": {"phase": "Pending"}})
    rig.cluster.version, rig.cluster.objects[PODS][0] = 60, obj("changed", 60)
    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    assert rig.watched_anew == 1, "a cluster that goes forward is no restored one"


async def test_a_restore_of_which_only_the_lists_own_version_tells_is_believed(rig: Rig) -> None:
    rig = Restored()
    rig.cluster.objects[PODS] = []

    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    assert rig.cache.all(PODS) == []
    assert rig.watched_anew == 1


async def test_what_is_written_while_a_list_is_made_is_no_restore(rig: Rig) -> None:
    rig = Restored()
    rig.cluster.version = 95
    rig.cluster.objects[PODS] = rig.cache.all(PODS)
    rig.cluster.meanwhile = lambda: rig.cluster.asked[-1][0] == "pods" and rig.cache.put(PODS, obj("same", 96))

    await asyncio.wait_for(rig.resync.catch_up(), resync.STALLED - 1)

    assert rig.watched_anew == 0


async def test_what_is_listed_and_cannot_be_had_keeps_nobody_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "STALLED", 0.05)
    rig.cluster.objects[PODS] = [obj("p", 7), obj("q", 8)]
    rig.cluster.kept_back["p"] = ApiError(403, "Forbidden", "not for you")

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    known = {one["metadata"]["name"]: unreadable(one) for one in rig.cache.all(PODS)}
    assert known["q"] == ""
    assert "not for you" in known["p"]


async def test_what_cannot_be_had_for_now_is_asked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync, "STALLED", 0.05)
    rig.cluster.objects[PODS] = [obj("p", 7)]
    rig.cluster.kept_back["p"] = ApiError(503, "ServiceUnavailable", "later")
    running = asyncio.create_task(rig.resync.catch_up())
    await until(lambda: len(rig.cluster.read) > 1)

    rig.cluster.kept_back.clear()
    await asyncio.wait_for(running, 5)

    assert [unreadable(one) for one in rig.cache.all(PODS)] == [""]


ROUTES = Resource("example.com", "v1", "routes", "Route")


@pytest.mark.parametrize("optional", [True, False])
async def test_a_kind_that_is_not_served_is_empty_where_it_is_optional_and_waited_for_else(
    rig: Rig, optional: bool
) -> None:
    rig.cache = Cache(kinds={ROUTES: Kind(optional=optional), **KINDS})
    rig.resync = Resync(rig.cluster, rig.cache, rig.queue, rig.settings)
    rig.cluster.objects[ROUTES] = []
    rig.cache.put(ROUTES, obj("r", 3))
    missing = ApiError(404, "NotFound", "the server could not find the requested resource")
    rig.cluster.failures = iter([missing])

    await asyncio.wait_for(rig.resync.catch_up(), 20)

    assert rig.cache.all(ROUTES) == []
    assert ("routes" in [kind for kind, *_ in rig.cluster.asked]) != optional, "asked for again"
