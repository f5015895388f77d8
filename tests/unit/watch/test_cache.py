"""The cache: newest version wins, deletions stay deleted, children are found by their model."""

from typing import Any

import pytest

from podium.kube.reading import UNREADABLE, unreadable
from podium.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from podium.packed import pack
from podium.watch.cache import TOMBSTONE_SECONDS, Cache
from podium.watch.kept import bare
from podium.watch.kinds import KINDS


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


def obj(name: str = "a", version: int = 1, *, uid: str = "", model: str = "m", **more: Any) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    owner = {"kind": "ModelDeployment", "name": model, "uid": f"uid-of-{model}", "controller": True}
    return {"metadata": meta | {"labels": {"podium.dev/model": model}, "ownerReferences": [owner]}} | more


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

    assert cache.keys() == [MODEL_DEPLOYMENTS.key("ns", "a"), MODEL_DEPLOYMENTS.key("ns", "b")]
    assert cache.models_using("torchserve") == [MODEL_DEPLOYMENTS.key("ns", "a")]
    assert cache.models_using("onnxruntime") == [MODEL_DEPLOYMENTS.key("ns", "b")]
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


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


UNWRITABLE = {
    "300 nested objects": {"template": nested(300)},
    "300 nested objects beside the template": {"template": {}, "inputs": nested(300)},
    "300 nested objects and no template": {"x": nested(300)},
    "half a surrogate pair": {"template": {"a": "\ud800"}},
    "a number of 30 digits": {"template": {"a": 10**30}},
}


@pytest.mark.parametrize("data", UNWRITABLE.values(), ids=UNWRITABLE)
def test_of_what_cannot_be_read_the_metadata_is_kept_and_it_is_told_once(
    data: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    cache = Cache(on_unreadable=told.append)
    junk = obj(version=5, data=data)

    assert cache.put(CONTROLLER_REVISIONS, junk)
    assert not cache.put(CONTROLLER_REVISIONS, junk | {"metadata": junk["metadata"] | {"resourceVersion": "6"}})

    kept = cache.owned(CONTROLLER_REVISIONS, "ns", "m")[0]
    assert kept["metadata"] == junk["metadata"] | {"resourceVersion": "6"}
    assert "data" not in kept
    assert unreadable(kept)
    assert told == ["ControllerRevision"]
    assert len(caplog.records) == 1
    assert "ControllerRevision ns/a" in caplog.text


def test_what_was_not_read_where_it_came_from_is_kept_with_that_reason(cache: Cache) -> None:
    cache.put(CONTROLLER_REVISIONS, obj() | {UNREADABLE: "it is too deep"})

    assert unreadable(cache.all(CONTROLLER_REVISIONS)[0]) == "it is too deep"


def test_what_could_not_be_had_by_name_is_known_in_full_once_a_watch_tells_of_it(cache: Cache) -> None:
    meta = {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "7"}
    cache.put(PODS, {"metadata": meta, UNREADABLE: "the API server does not give it out"})
    assert cache.put(PODS, {"metadata": {**meta, "labels": {"podium.dev/model": "m"}}})
    assert [pod["metadata"]["name"] for pod in cache.owned(PODS, "ns", "m")] == ["p"]


def test_what_can_be_read_again_is_known_in_full_again(cache: Cache) -> None:
    cache.put(DEPLOYMENTS, obj(version=1, spec={"template": {1: 2}}))
    assert unreadable(cache.all(DEPLOYMENTS)[0])

    assert cache.put(DEPLOYMENTS, obj(version=2, spec={"template": {}}))

    assert not unreadable(cache.all(DEPLOYMENTS)[0])
    assert cache.all(DEPLOYMENTS)[0]["spec"]["template"] == pack({})


@pytest.mark.parametrize(
    ("resource", "junk"),
    [
        (PODS, {"spec": 3}),
        (PODS, {"spec": {"containers": [1]}}),
        (DEPLOYMENTS, {"status": {"conditions": ["x"]}}),
        (DEPLOYMENTS, {"status": 3}),
        (ENDPOINT_SLICES, {"endpoints": 3}),
        (ENDPOINT_SLICES, {"endpoints": [None]}),
    ],
)
def test_a_field_of_another_type_than_the_API_has_makes_an_object_unreadable_and_no_more(
    cache: Cache, resource: Resource, junk: dict[str, Any]
) -> None:
    assert cache.put(resource, obj(**junk))

    assert unreadable(cache.all(resource)[0])


@pytest.mark.parametrize("spec", [None, 3, [], {"runtime": 3}, {"runtime": {"name": ["x"]}}])
def test_a_ModelDeployment_of_any_spec_has_a_key(cache: Cache, spec: Any) -> None:
    cache.put(MODEL_DEPLOYMENTS, obj(spec=spec))
    cache.put(MODEL_DEPLOYMENTS, obj(version=2, spec={}))

    assert cache.keys() == [MODEL_DEPLOYMENTS.key("ns", "a")]
    assert cache.models_using("onnxruntime") == [MODEL_DEPLOYMENTS.key("ns", "a")]


FOREIGN = {
    "nobody's": [],
    "a StatefulSet's": [{"kind": "StatefulSet", "name": "m", "controller": True}],
    "another ModelDeployment's": [{"kind": "ModelDeployment", "name": "n", "controller": True}],
    "owned without being controlled": [{"kind": "ModelDeployment", "name": "m"}],
}


MADE = [CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, CONFIG_MAPS, HPAS, PDBS]


def test_the_kinds_that_Podium_makes_are_these() -> None:
    assert {resource for resource, kind in KINDS.items() if kind.made} == set(MADE)


@pytest.mark.parametrize("resource", MADE)
@pytest.mark.parametrize("owners", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_ours_is_not_looked_into(resource: Resource, owners: list[Any]) -> None:
    told: list[str] = []
    cache = Cache(on_unreadable=told.append)
    foreign = obj(spec={"template": {1: 2}}, data={"template": nested(300)})
    foreign["metadata"]["ownerReferences"] = owners
    foreign["metadata"]["labels"]["podium.dev/router"] = "ledger"

    cache.put(resource, foreign)

    assert cache.owned(resource, "ns", "m") == [{"metadata": foreign["metadata"]}]
    assert told == []


@pytest.mark.parametrize("owners", FOREIGN.values(), ids=FOREIGN)
def test_what_tells_routers_and_is_not_ours_is_found_by_them_without_its_text(cache: Cache, owners: list[Any]) -> None:
    foreign = obj("m-router", data={"routing.json": "{}"})
    foreign["metadata"] |= {"ownerReferences": owners}
    foreign["metadata"]["labels"]["podium.dev/router"] = "routing"

    cache.put(CONFIG_MAPS, foreign)

    assert cache.owned(CONFIG_MAPS, "ns", "podium-router") == [{"metadata": foreign["metadata"]}]


def test_an_orphan_that_Podium_made_is_looked_into_for_it_is_taken_over(cache: Cache) -> None:
    orphan = obj(spec={"replicas": 2})
    meta = {"labels": {"podium.dev/model": "m", "app.kubernetes.io/managed-by": "podium"}, "ownerReferences": []}
    orphan["metadata"] |= meta | {"annotations": {"podium.dev/applied": "digest"}}

    cache.put(DEPLOYMENTS, orphan)

    assert cache.all(DEPLOYMENTS) == [orphan]


def test_pods_and_endpoints_count_whoever_made_them(cache: Cache) -> None:
    for resource, content in ((PODS, {"status": {"phase": "Running"}}), (ENDPOINT_SLICES, {"endpoints": []})):
        found = obj(**content)
        found["metadata"]["ownerReferences"] = [{"kind": "Other", "name": "x", "controller": True}]
        cache.put(resource, found)

        assert cache.all(resource) == [found]


def test_a_pod_is_a_router_by_the_label_that_their_Services_select_alone(cache: Cache) -> None:
    router, other = obj("router", model="podium-router"), obj("other", model="podium-router")
    router["metadata"]["labels"]["podium.dev/router"] = "podium-router"

    cache.put(PODS, router)
    cache.put(PODS, other)

    assert cache.owned(PODS, "ns", "podium-router") == [router]
    assert cache.all(PODS) == [router, other]


def test_bare_metadata_have_the_types_that_everybody_relies_on() -> None:
    junk = {"name": "a", "labels": ["x"], "annotations": 3, "ownerReferences": {}, "generation": "7", "x": 1}

    assert bare({"kind": "Pod", "metadata": junk}, "why") == {
        "kind": "Pod",
        "metadata": {"name": "a"},
        UNREADABLE: "why",
    }


def test_a_version_that_is_no_number_is_newer_than_what_came_before(cache: Cache) -> None:
    def versioned(version: str | None, n: int) -> dict[str, Any]:
        found = obj(spec={"n": n})
        found["metadata"]["resourceVersion"] = version
        return found

    for number, version in enumerate(["abc", "abd", None, "7", "x"]):
        assert cache.put(SERVICES, versioned(version, number)), version
        assert not cache.put(SERVICES, versioned(version, number)), version
    assert cache.all(SERVICES)[0]["spec"] == {"n": 4}


def test_after_a_rewind_what_is_seen_is_newer_than_what_was_kept(cache: Cache) -> None:
    cache.put(SERVICES, obj("a", 90, spec={"n": 90}))
    cache.put(SERVICES, obj("b", 91))
    cache.drop(SERVICES, obj("gone", 95))
    assert not cache.put(SERVICES, obj("a", 40, spec={"n": 40}))

    cache.rewind()
    assert cache.known(SERVICES) == {}
    assert cache.put(SERVICES, obj("a", 40, spec={"n": 40}))
    assert cache.put(SERVICES, obj("gone", 41))

    assert cache.known(SERVICES) == {("ns", "a"): 40, ("ns", "gone"): 41}
    assert not cache.put(SERVICES, obj("a", 39, spec={"n": 39})), "from now on the newest wins again"
    assert cache.version(SERVICES, ("ns", "b")) is None
    assert cache.get(SERVICES, "ns", "b") is not None, "until it is known that it is gone it counts"
