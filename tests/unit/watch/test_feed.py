"""Whom an event wakes."""

from typing import Any

import pytest

from podium.keys import Key
from podium.kube.reading import unreadable
from podium.kube.resources import DEPLOYMENTS, MODEL_DEPLOYMENTS, MODEL_RUNTIMES, PODS, Resource
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.kinds import KINDS, Kind
from podium.watch.queue import Queue


class Rig:
    def __init__(self) -> None:
        self.cache, self.queue = Cache(), Queue()
        self.relisted: list[Resource] = []
        self.failed: list[str] = []
        self.feed = Feed(self.cache, self.queue, relisted=self.relisted.append, failed=self.failed.append)
        self.queue.resume()

    async def woken(self) -> list[Key]:
        """Takes out what is due."""
        found = []
        while len(self.queue):
            found.append(await self.queue.get())
            self.queue.done(found[-1])
        return found


@pytest.fixture
async def rig() -> Rig:
    rig = Rig()
    rig.feed.seen(MODEL_DEPLOYMENTS, None, model_deployment("m"))
    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")]
    return rig


def meta(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)} | more


def model_deployment(name: str, version: int = 1, **more: Any) -> dict[str, Any]:
    return {"metadata": meta(name, version), "spec": {"runtime": {"name": "torchserve"}}} | more


def child(name: str, version: int, model: str, **more: Any) -> dict[str, Any]:
    owner = {"kind": "ModelDeployment", "name": model, "uid": f"uid-{model}", "controller": True}
    return {"metadata": meta(name, version, labels={"podium.dev/model": model}, ownerReferences=[owner])} | more


async def test_a_child_wakes_its_model_when_it_comes_changes_and_goes(rig: Rig) -> None:
    for event, version, spec in (("ADDED", 2, 1), ("MODIFIED", 3, 2), ("DELETED", 4, 2)):
        rig.feed.seen(DEPLOYMENTS, event, child("d", version, "m", spec=spec))
        assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")], event


async def test_the_echo_of_our_own_write_wakes_nobody(rig: Rig) -> None:
    rig.cache.put(MODEL_DEPLOYMENTS, model_deployment("m", 5, status={"phase": "Healthy"}))

    rig.feed.seen(MODEL_DEPLOYMENTS, "MODIFIED", model_deployment("m", 5, status={"phase": "Healthy"}))

    assert await rig.woken() == []


async def test_somebody_elses_change_of_the_status_wakes(rig: Rig) -> None:
    rig.cache.put(MODEL_DEPLOYMENTS, model_deployment("m", 5, status={"phase": "Healthy"}))

    rig.feed.seen(MODEL_DEPLOYMENTS, "MODIFIED", model_deployment("m", 6))

    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")]


async def test_a_list_that_tells_nothing_new_wakes_nobody_but_is_reported(rig: Rig) -> None:
    rig.relisted.clear()

    rig.feed.seen(MODEL_DEPLOYMENTS, None, model_deployment("m"))

    assert await rig.woken() == []
    assert rig.relisted == [MODEL_DEPLOYMENTS]


async def test_a_runtime_wakes_all_that_use_it(rig: Rig) -> None:
    rig.feed.seen(MODEL_DEPLOYMENTS, "ADDED", model_deployment("n", 2))
    rig.feed.seen(MODEL_DEPLOYMENTS, "ADDED", model_deployment("other", 3) | {"spec": {}})
    await rig.woken()
    runtime = {"metadata": {"name": "torchserve", "uid": "u", "resourceVersion": "4"}, "spec": {}}

    rig.feed.seen(MODEL_RUNTIMES, "MODIFIED", runtime)

    users = [MODEL_DEPLOYMENTS.key("ns", "m"), MODEL_DEPLOYMENTS.key("ns", "n")]
    assert await rig.woken() == [MODEL_RUNTIMES.key("", "torchserve"), *users]


async def test_a_child_that_changes_hands_wakes_both(rig: Rig) -> None:
    rig.feed.seen(MODEL_DEPLOYMENTS, "ADDED", model_deployment("n", 2))
    rig.feed.seen(PODS, "ADDED", child("p", 3, "m"))
    await rig.woken()

    rig.feed.seen(PODS, "MODIFIED", child("p", 4, "n"))

    assert set(await rig.woken()) == {MODEL_DEPLOYMENTS.key("ns", "m"), MODEL_DEPLOYMENTS.key("ns", "n")}


async def test_a_child_of_nobody_we_know_wakes_nobody_and_is_there_when_its_model_comes(rig: Rig) -> None:
    rig.feed.seen(PODS, "ADDED", child("p", 3, "late"))
    assert await rig.woken() == []

    rig.feed.seen(MODEL_DEPLOYMENTS, "ADDED", model_deployment("late", 4))

    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "late")]
    assert len(rig.cache.owned(PODS, "ns", "late")) == 1


async def test_a_deleted_model_deployment_wakes_its_key_so_that_it_is_forgotten(rig: Rig) -> None:
    rig.feed.seen(MODEL_DEPLOYMENTS, "DELETED", model_deployment("m", 2))

    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")]
    assert rig.cache.keys() == []


@pytest.mark.parametrize(
    "junk", [{}, {"metadata": None}, {"metadata": []}, {"metadata": {"name": ["a"], "namespace": "ns"}}, [], None, "x"]
)
async def test_an_event_of_no_object_is_passed_over_and_counted_and_told_once(
    rig: Rig, junk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for event in ("ADDED", "DELETED", None):
        rig.feed.seen(PODS, event, junk)
    rig.feed.seen(PODS, "ADDED", child("p", 3, "m"))

    assert rig.failed == ["Pod"] * 3
    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")]
    assert 1 <= len(caplog.records) <= 2, "once for each kind of failure"


async def test_an_object_that_cannot_be_read_wakes_its_model(rig: Rig) -> None:
    rig.feed.seen(DEPLOYMENTS, "ADDED", child("d", 2, "m", spec={"template": {1: 2}}))

    assert await rig.woken() == [MODEL_DEPLOYMENTS.key("ns", "m")]
    assert [unreadable(one) != "" for one in rig.cache.owned(DEPLOYMENTS, "ns", "m")] == [True]


async def test_a_new_kind_is_one_row_of_the_table() -> None:
    # Given a kind that Podium does not know, with a row that says what is kept and by what it is found,
    jobs = Resource("batch", "v1", "jobs", "Job")
    row = Kind(keep=lambda pruned: pruned.pop("status", None), constant="spec", made=False)
    cache, queue = Cache(kinds={**KINDS, jobs: row}), Queue()
    feed = Feed(cache, queue)
    feed.seen(MODEL_DEPLOYMENTS, None, model_deployment("m"))
    queue.resume()
    queue.done(await queue.get())
    # when one comes,
    feed.seen(jobs, "ADDED", child("j", 2, "m", spec={"parallelism": 1}, status={"active": 1}))
    # then it wakes its model, which finds it without what is not kept.
    assert await queue.get() == MODEL_DEPLOYMENTS.key("ns", "m")
    assert [(one["spec"], "status" in one) for one in cache.owned(jobs, "ns", "m")] == [({"parallelism": 1}, False)]


async def test_a_runtime_that_comes_or_goes_wakes_itself(rig: Rig) -> None:
    runtime = {"metadata": {"name": "own", "uid": "u", "resourceVersion": "4"}, "spec": {}}

    for event in ("ADDED", "DELETED"):
        rig.feed.seen(MODEL_RUNTIMES, event, runtime)
        assert await rig.woken() == [MODEL_RUNTIMES.key("", "own")], event
