"""The cache: newest version wins, deletions stay deleted, children are found by their model."""

from typing import Any

import pytest

from podium.keys import Key
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PODS,
    SERVICES,
)
from podium.packed import pack
from podium.watch.cache import TOMBSTONE_SECONDS, Cache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(clock=clock)


def obj(name: str = "a", version: int = 1, *, uid: str = "", model: str | None = None, **more: Any) -> dict[str, Any]:
    labels = {"podium.dev/model": model} if model else {}
    meta = {"namespace": "ns", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta | {"labels": labels}} | more


def test_the_newest_version_wins_whatever_the_order(cache: Cache) -> None:
    assert cache.put(SERVICES, obj(version=9, spec={"n": 9}))
    assert not cache.put(SERVICES, obj(version=10**2 - 92, spec={"n": 8}))
    assert cache.put(SERVICES, obj(version=10, spec={"n": 10}))

    assert cache.get(SERVICES, "ns", "a") == obj(version=10, spec={"n": 10})


def test_the_echo_of_a_write_of_ours_is_no_news(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=5, spec={}))

    assert not cache.put(SERVICES, obj(version=5, spec={}))


def test_a_new_version_with_the_same_content_is_stored_but_is_no_news(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=5, spec={"n": 1}))

    assert not cache.put(SERVICES, obj(version=6, spec={"n": 1}))

    stored = cache.get(SERVICES, "ns", "a")
    assert stored is not None
    assert stored["metadata"]["resourceVersion"] == "6"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"n": 2}},
        {"status": {"x": 1}},
        {"metadata": {"annotations": {"a": "b"}}},
        {"metadata": {"labels": {"x": "y"}}},
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
)
def test_a_change_of_anything_else_is_news(cache: Cache, change: dict[str, Any]) -> None:
    before = obj(version=5, spec={"n": 1})
    cache.put(SERVICES, before)
    after = before | {key: value for key, value in change.items() if key != "metadata"}
    after["metadata"] = before["metadata"] | change.get("metadata", {}) | {"resourceVersion": "6"}

    assert cache.put(SERVICES, after)


def test_a_label_that_is_taken_away_is_news(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=5, model="m"))
    after = obj(version=6)
    del after["metadata"]["labels"]

    assert cache.put(SERVICES, after)
    assert cache.owned(SERVICES, "ns", "m") == []


def test_a_late_answer_does_not_revive_what_was_deleted(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=5))
    cache.drop(SERVICES, obj(version=7))

    assert not cache.put(SERVICES, obj(version=6))
    assert cache.get(SERVICES, "ns", "a") is None


def test_an_object_that_lost_the_label_of_the_watch_comes_back_with_it(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=5, model="m"))
    cache.drop(SERVICES, obj(version=7))

    assert cache.put(SERVICES, obj(version=8, model="m"))
    assert [one["metadata"]["name"] for one in cache.owned(SERVICES, "ns", "m")] == ["a"]


def test_the_deletion_of_an_older_object_of_the_same_name_leaves_the_newer_alone(cache: Cache) -> None:
    cache.put(SERVICES, obj(version=9, uid="new"))

    assert not cache.drop(SERVICES, obj(version=8, uid="old"))
    assert cache.get(SERVICES, "ns", "a") is not None


def test_tombstones_are_forgotten_in_the_end(cache: Cache, clock: Clock) -> None:
    cache.drop(SERVICES, obj(version=7))
    clock.now = TOMBSTONE_SECONDS + 1
    cache.drop(SERVICES, obj("b", version=8))

    assert not cache.buried("uid-a", 6)
    assert cache.buried("uid-b", 8)


def test_children_are_found_by_their_model_and_namespace(cache: Cache) -> None:
    cache.put(DEPLOYMENTS, obj("a", model="m"))
    cache.put(DEPLOYMENTS, obj("b", model="m"))
    cache.put(DEPLOYMENTS, obj("c", model="other"))
    cache.put(PODS, obj("p", model="m"))

    assert {one["metadata"]["name"] for one in cache.owned(DEPLOYMENTS, "ns", "m")} == {"a", "b"}
    assert cache.owned(DEPLOYMENTS, "elsewhere", "m") == []
    cache.drop(DEPLOYMENTS, obj("a", version=2, model="m"))
    assert [one["metadata"]["name"] for one in cache.owned(DEPLOYMENTS, "ns", "m")] == ["b"]


def test_a_child_whose_label_changes_changes_its_model(cache: Cache) -> None:
    cache.put(DEPLOYMENTS, obj("a", 1, model="m"))
    cache.put(DEPLOYMENTS, obj("a", 2, model="n"))

    assert cache.owned(DEPLOYMENTS, "ns", "m") == []
    assert len(cache.owned(DEPLOYMENTS, "ns", "n")) == 1


def test_model_deployments_are_found_by_the_runtime_they_name(cache: Cache) -> None:
    cache.put(MODEL_DEPLOYMENTS, obj("a", spec={"runtime": {"name": "torchserve"}}))
    cache.put(MODEL_DEPLOYMENTS, obj("b", spec={}))

    assert cache.keys() == [Key("ns", "a"), Key("ns", "b")]
    assert cache.models_using("torchserve") == [Key("ns", "a")]
    assert cache.models_using("onnxruntime") == [Key("ns", "b")]
    cache.put(MODEL_DEPLOYMENTS, obj("a", 2, spec={"runtime": {"name": "mine"}}))
    assert cache.models_using("torchserve") == []
    cache.drop(MODEL_DEPLOYMENTS, obj("a", 3))
    assert cache.models_using("mine") == []


def test_a_cluster_scoped_object_has_no_namespace(cache: Cache) -> None:
    runtime = {"metadata": {"name": "onnxruntime", "uid": "u", "resourceVersion": "1"}}
    cache.put(MODEL_RUNTIMES, runtime)

    assert cache.get(MODEL_RUNTIMES, None, "onnxruntime") == runtime


def test_what_nobody_reads_is_not_kept(cache: Cache) -> None:
    pod = obj("p", model="m", status={"phase": "Running"})
    pod["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "this"}
    pod["spec"] = {
        "nodeName": "n1",
        "volumes": [{"name": "v"}],
        "containers": [{"name": "model", "image": "i", "env": [{"name": "X", "value": "1"}]}],
    }

    cache.put(PODS, pod)

    kept = cache.get(PODS, "ns", "p")
    assert kept is not None
    assert kept["metadata"]["annotations"] == {"keep": "this"}
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == {"nodeName": "n1", "containers": [{"name": "model", "image": "i"}]}
    assert kept["status"] == {"phase": "Running"}
    assert "managedFields" in pod["metadata"], "what was given is not changed"


def test_all_versions_of_a_ControllerRevision_share_its_data_which_never_changes(cache: Cache) -> None:
    cache.put(CONTROLLER_REVISIONS, obj(version=1, data={"template": {"spec": 1}}))
    first = cache.get(CONTROLLER_REVISIONS, "ns", "a")
    assert first is not None

    newer = obj(version=2, data={"template": {"spec": 1}})
    newer["metadata"]["annotations"] = {"podium.dev/outcome": "Promoted"}
    assert cache.put(CONTROLLER_REVISIONS, newer)
    second = cache.get(CONTROLLER_REVISIONS, "ns", "a")
    assert second is not None
    assert second["data"] is first["data"]
    assert second["metadata"]["annotations"] == {"podium.dev/outcome": "Promoted"}

    cache.put(CONTROLLER_REVISIONS, obj(version=3, uid="another", data={"template": {"spec": 2}}))
    third = cache.get(CONTROLLER_REVISIONS, "ns", "a")
    assert third is not None
    assert third["data"] == {"template": pack({"spec": 2})}


def test_a_deployments_report_of_progress_is_no_news_and_its_counts_and_failures_are(cache: Cache) -> None:
    progressing = {"type": "Progressing", "status": "True", "lastUpdateTime": "1"}
    failing = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    cache.put(DEPLOYMENTS, obj(version=1, status={"replicas": 1, "conditions": [progressing]}))

    later = {**progressing, "lastUpdateTime": "2"}
    assert not cache.put(DEPLOYMENTS, obj(version=2, status={"replicas": 1, "conditions": [later]}))
    assert cache.put(DEPLOYMENTS, obj(version=3, status={"replicas": 1, "conditions": [later, failing]}))
    assert cache.put(DEPLOYMENTS, obj(version=4, status={"replicas": 2, "conditions": [later, failing]}))
    kept = cache.get(DEPLOYMENTS, "ns", "a")
    assert kept is not None
    assert kept["status"] == {"replicas": 2, "conditions": [failing]}


def test_of_an_endpoint_slice_only_what_tells_who_serves_is_kept_and_news(cache: Cache) -> None:
    endpoint = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "p"}}
    cache.put(ENDPOINT_SLICES, obj(version=1, endpoints=[endpoint], ports=[{"port": 1}]))

    kept = cache.get(ENDPOINT_SLICES, "ns", "a")
    assert kept is not None
    assert kept["endpoints"] == [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "p"}}]
    assert not cache.put(ENDPOINT_SLICES, obj(version=2, endpoints=[endpoint | {"nodeName": "n"}], ports=[]))
    assert cache.put(ENDPOINT_SLICES, obj(version=3, endpoints=[endpoint | {"conditions": {"ready": False}}]))
