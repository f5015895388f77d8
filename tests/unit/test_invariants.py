"""The rules over a history: a sound rollout breaks none, and for each rule there is a history that breaks it alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from podium.api import names
from podium.api.v1alpha1 import ModelDeploymentSpec, Traffic
from podium.manifests.revision import inputs_digest
from podium.manifests.routing import routing
from podium.router.state import KEY
from tests.invariants import RULES, Judge, Object, Version, author, violations

NAME, NAMESPACE = "fraud", "ml"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
ONE, TWO, THREE, FOUR = (f"{NAME}-{letter * 10}" for letter in "bcdf")


def spec(version: str, **other: Any) -> Object:
    return {"model": {"uri": f"s3://models/fraud/{version}", "format": "onnx"}, "replicas": 2, **other}


@dataclass
class Story:
    """What happens, one version after the other, a second between two."""

    history: list[Version] = field(default_factory=list)
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)

    def put(self, kind: str, name: str, **content: Any) -> Object:
        """The next version of an object, whose other fields stay."""
        event = "MODIFIED" if (kind, name) in self.objects else "ADDED"
        before = self.objects.get((kind, name), {"metadata": {"uid": f"uid-{kind}-{name}"}})
        meta = {**before["metadata"], **content.pop("metadata", {}), "name": name, "namespace": NAMESPACE}
        obj = {**before, **content, "kind": kind, "metadata": meta}
        self.objects[kind, name] = obj
        self._happen(event, obj)
        return obj

    def delete(self, kind: str, name: str) -> None:
        self._happen("DELETED", self.objects.pop((kind, name)))

    def mark(self, kind: str, name: str) -> None:
        """As a deletion with finalizers begins."""
        self.put(kind, name, metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"})

    def _happen(self, event: str, obj: Object) -> None:
        number = len(self.history) + 1
        self.history.append(Version(number, float(number), event, obj["kind"], obj))

    # --- the objects

    def model(self, version: str, generation: int, **other: Any) -> None:
        self.put("ModelDeployment", NAME, metadata={"generation": generation}, spec=spec(version, **other))

    def status(self, generation: int, ready: bool, **other: Any) -> None:
        told = "True" if ready else "False"
        condition = {"type": "Ready", "status": told, "observedGeneration": generation}
        self.put("ModelDeployment", NAME, status={"observedGeneration": generation, "conditions": [condition], **other})

    def record(self, name: str, number: int, version: str, outcome: str = "", rule: str = "", **more: str) -> None:
        """At the second of its number in the history, if it has an outcome."""
        inputs = ModelDeploymentSpec.parse(spec(version)).inputs()
        frozen = {"size": 2, "unavailable": 0, "strategy": more.pop("strategy", "RollingUpdate")}
        frozen |= {"promoting": more.pop("promoting")} if "promoting" in more else {}
        frozen |= {"unavailable": int(more.pop("unavailable"))} if "unavailable" in more else {}
        at = more.pop("at", f"2030-01-01T00:00:{len(self.history):02}Z") if outcome else ""
        annotations = {
            names.ANNOTATION_INPUTS: inputs_digest(inputs),
            names.ANNOTATION_ROLLOUT: json.dumps(frozen),
            names.ANNOTATION_OUTCOME: outcome,
            names.ANNOTATION_RULE: rule,
            names.ANNOTATION_DECIDED_AT: at,
            **{f"{names.GROUP}/{key}": text for key, text in more.items()},
        }
        self.put(
            "ControllerRevision",
            name,
            metadata={"annotations": annotations, "labels": {names.LABEL_MODEL: NAME}},
            revision=number,
            data={"inputs": inputs, "template": {}},
        )

    def deployment(self, name: str, replicas: int) -> None:
        self.put("Deployment", name, metadata={"labels": labels(name)}, spec={"replicas": replicas})

    def pod(self, revision: str, number: int, *, ready: bool = True, terminating: bool = False) -> None:
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        owner = {"kind": "ReplicaSet", "name": revision, "uid": revision, "controller": True}
        meta = {"labels": labels(revision), "ownerReferences": [owner]}
        meta |= {"deletionTimestamp": "2030-01-01T00:00:00Z"} if terminating else {}
        self.put("Pod", f"{revision}-{number}", metadata=meta, status={"phase": "Running", "conditions": [condition]})

    def weights(self, shares: dict[str, int]) -> None:
        """What the routers are told."""
        told = routing(NAME, 20_000, shares, list(shares), Traffic())
        labels = {names.LABEL_MODEL: NAME}
        self.put("ConfigMap", names.routing_name(NAME), metadata={"labels": labels}, data={KEY: told.to_json()})

    def service(self, revision: str = "", name: str = NAME) -> None:
        selector = labels(revision) if revision else {names.LABEL_MODEL: NAME}
        self.put("Service", name, metadata={"labels": {names.LABEL_MODEL: NAME}}, spec={"selector": selector})

    def listed(self, *pods: str) -> None:
        endpoints = [{"conditions": {"ready": True}, "targetRef": {"name": pod}} for pod in pods]
        self.put(
            "EndpointSlice", f"{NAME}-x", metadata={"labels": {"kubernetes.io/service-name": NAME}}, endpoints=endpoints
        )


def labels(revision: str) -> dict[str, str]:
    return {names.LABEL_MODEL: NAME, names.LABEL_REVISION: revision}


def told(revision: str, **other: Any) -> Object:
    return {"revision": revision, **other}


def entry(revision: str, outcome: str) -> Object:
    return {"revision": revision, "outcome": outcome}


def serving(strategy: str = "RollingUpdate") -> Story:
    """Version 1 serves with two pods."""
    story = Story()
    story.model("1", 1)
    story.record(ONE, 1, "1", strategy=strategy)
    story.service(ONE)
    story.deployment(ONE, 2)
    story.pod(ONE, 1)
    story.pod(ONE, 2)
    story.listed(f"{ONE}-1", f"{ONE}-2")
    story.record(ONE, 1, "1", "Promoted", "first", strategy=strategy)
    story.status(1, True, champion=told(ONE), history=[entry(ONE, "Promoted")])
    return story


def updating(strategy: str = "RollingUpdate") -> Story:
    """Version 2 has two ready pods beside those of version 1."""
    story = serving(strategy)
    story.model("2", 2)
    story.record(TWO, 2, "2", strategy=strategy)
    story.status(2, False, champion=told(ONE), candidate=told(TWO))
    story.deployment(TWO, 2)
    story.pod(TWO, 1)
    story.pod(TWO, 2)
    return story


def replaced() -> Story:
    """All of a RollingUpdate."""
    story = updating()
    story.service()
    story.listed(f"{ONE}-1", f"{ONE}-2", f"{TWO}-1", f"{TWO}-2")
    story.deployment(ONE, 0)
    story.delete("Pod", f"{ONE}-1")
    story.delete("Pod", f"{ONE}-2")
    story.listed(f"{TWO}-1", f"{TWO}-2")
    promoted(story)
    story.service(TWO)
    story.delete("Deployment", ONE)
    story.status(2, True, champion=told(TWO), history=[entry(TWO, "Promoted"), entry(ONE, "Promoted")])
    return story


def promoted(story: Story, rule: str = "rolling-complete", **more: str) -> None:
    story.record(TWO, 2, "2", "Promoted", rule, **more)


# --- what breaks each rule


def two_candidates() -> Story:
    story = updating()
    story.record(THREE, 3, "3")
    return story


def the_champions_outcome_is_lost() -> Story:
    story = serving()
    story.record(ONE, 1, "1", "RolledBack", "person")
    return story


def the_champions_deployment_is_deleted() -> Story:
    story = serving()
    story.model("1", 2, replicas=0)
    story.delete("Deployment", ONE)
    return story


def promoted_by_nobody() -> Story:
    story = updating()
    promoted(story, "because")
    return story


def a_persons_promotion_is_undone_on_its_way() -> Story:
    story = updating("Canary")
    story.record(TWO, 2, "2", strategy="Canary", promoting="person")
    story.record(TWO, 2, "2", "RolledBack", "deadline", strategy="Canary", promoting="person")
    return story


def a_persons_promotion_is_undone_afterwards() -> Story:
    story = updating("BlueGreen")
    promoted(story, "person", strategy="BlueGreen")
    story.record(TWO, 2, "2", "RolledBack", "crash", strategy="BlueGreen")
    return story


def decided_before_the_champion() -> Story:
    story = updating()
    promoted(story, at="2030-01-01T00:00:00Z")
    return story


def a_champion_that_no_record_knows() -> Story:
    story = updating()
    story.status(2, False, champion=told(TWO))
    return story


def an_outcome_that_no_record_knows() -> Story:
    story = updating()
    story.status(2, False, champion=told(ONE), history=[entry(TWO, "RolledBack"), entry(ONE, "Promoted")])
    return story


def done_without_a_record() -> Story:
    story = updating()
    command = {"value": f"abort {TWO} x", "result": "Done"}
    story.status(2, False, champion=told(ONE), candidate=told(TWO), lastCommand=command)
    return story


def ready_of_another_generation() -> Story:
    story = serving()
    story.model("1", 2, paused=True)
    story.status(1, True, champion=told(ONE))
    return story


def ready_of_another_spec() -> Story:
    story = serving()
    story.model("2", 2)
    story.status(2, True, champion=told(ONE))
    return story


def ready_without_an_endpoint() -> Story:
    story = serving()
    story.status(1, False, champion=told(ONE))
    story.model("1", 2, replicas=0)  # when nobody need serve
    story.listed()
    story.model("1", 3)
    story.status(3, True, champion=told(ONE))
    return story


def nobody_serves() -> Story:
    story = serving()
    story.listed()
    return story


def four_revisions_with_pods() -> Story:
    story = updating()
    for number, name in ((3, THREE), (4, FOUR)):
        story.record(name, number, str(number), "RolledBack", "deadline")
        story.pod(name, 1, terminating=True)
    return story


def a_third_that_is_to_stay() -> Story:
    story = updating()
    story.record(THREE, 3, "3", "RolledBack", "deadline")
    story.pod(THREE, 1)
    return story


def below_the_floor(strategy: str = "RollingUpdate") -> Story:
    story = serving()
    story.model("2", 2)
    story.record(TWO, 2, "2", strategy=strategy)
    story.deployment(TWO, 1)
    story.pod(TWO, 1, ready=False)
    story.service()
    story.deployment(ONE, 1)
    return story


def a_canary_below_the_floor() -> Story:
    return below_the_floor("Canary")


def a_service_without_pods() -> Story:
    story = serving("BlueGreen")
    story.service(TWO)
    return story


def capacity_before_traffic() -> Story:
    story = updating("BlueGreen")
    promoted(story, "blue-green-available", strategy="BlueGreen")
    story.service(TWO)
    story.deployment(ONE, 0)
    return story


def routed(weights: dict[str, int]) -> Story:
    """A Canary at these weights, behind the routers."""
    story = updating("Canary")
    story.weights({ONE: 10_000})
    story.put("Pod", "podium-router-1", metadata={"labels": names.router_selector()}, status=READY)
    story.put(
        "Service", NAME, metadata={"labels": {names.LABEL_MODEL: NAME}}, spec={"selector": names.router_selector()}
    )
    story.listed("podium-router-1")
    story.weights(weights)
    return story


def capacity_before_weights() -> Story:
    story = routed({ONE: 5_000, TWO: 5_000})
    promoted(story, "evidence", strategy="Canary")
    story.deployment(ONE, 0)
    return story


BREAKS: dict[str, tuple[Callable[[], Story], ...]] = {
    "at most one candidate": (two_candidates,),
    "the champion exists once there was one": (the_champions_outcome_is_lost,),
    "the champion keeps its record and its Deployment": (the_champions_deployment_is_deleted,),
    "promoted only by a known rule": (promoted_by_nobody,),
    "automation never undoes a promotion that a person asked for": (
        a_persons_promotion_is_undone_on_its_way,
        a_persons_promotion_is_undone_afterwards,
    ),
    "decisions follow each other in time": (decided_before_the_champion,),
    "status tells of what the records say": (a_champion_that_no_record_knows, an_outcome_that_no_record_knows),
    "a command is Done once its record is": (done_without_a_record,),
    "Ready=True is true": (ready_of_another_generation, ready_of_another_spec),
    "Ready=True has a ready endpoint behind it": (ready_without_an_endpoint,),
    "the stable Service always has a ready endpoint": (nobody_serves,),
    "at most two revisions have pods, three while one terminates": (four_revisions_with_pods, a_third_that_is_to_stay),
    "a RollingUpdate or Canary keeps T - U pods available": (below_the_floor, a_canary_below_the_floor),
    "the stable Service selects somebody": (a_service_without_pods,),
    "traffic leaves before capacity does": (capacity_before_traffic,),
    "weights leave before capacity does": (capacity_before_weights,),
}
CASES = [(sentence, story) for sentence, stories in BREAKS.items() for story in stories]


def test_a_sound_rollout_breaks_no_rule() -> None:
    assert violations(replaced().history) == []


def test_nor_does_a_sound_one_through_routers() -> None:
    story = routed({ONE: 5_000, TWO: 5_000})
    promoted(story, "evidence", strategy="Canary")
    story.weights({ONE: 0, TWO: 10_000})
    story.deployment(ONE, 0)
    assert violations(story.history) == []


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule.sentence for rule in RULES} == BREAKS.keys()


@pytest.mark.parametrize(("sentence", "story"), CASES, ids=[story.__name__ for _, story in CASES])
def test_each_rule_is_broken_by_the_last_change_of_a_history_that_breaks_it_and_no_other_is(
    sentence: str, story: Callable[[], Story]
) -> None:
    history = story().history
    assert violations(history[:-1]) == []
    found = violations(history)
    assert found
    assert all(one.startswith(f"at {len(history)}: {sentence}: ") for one in found), found


@pytest.mark.parametrize("story", [a_persons_promotion_is_undone_on_its_way, a_persons_promotion_is_undone_afterwards])
def test_a_person_may_undo_what_a_person_promoted(story: Callable[[], Story]) -> None:
    *history, last = story().history
    meta = last.obj["metadata"]
    by_person = {**meta, "annotations": {**meta["annotations"], names.ANNOTATION_RULE: "person"}}
    aborted = Version(last.revision, last.at, last.event, last.kind, {**last.obj, "metadata": by_person})
    assert violations([*history, aborted]) == []


def test_what_others_write_is_not_judged() -> None:
    history = the_champions_outcome_is_lost().history
    last = history[-1]
    theirs = Version(last.revision, last.at, last.event, last.kind, last.obj, ours=False)
    assert violations([*history[:-1], theirs]) == []


def test_what_a_watcher_finds_when_it_begins_is_known_and_not_judged() -> None:
    history = two_candidates().history
    listed = [Version(one.revision, one.at, "LISTED", one.kind, one.obj) for one in history]
    assert violations(listed) == []
    judge = Judge()
    assert [found for one in [*listed, history[-1]] for found in judge.take(one)]


def test_where_others_take_pods_away_Podium_is_not_blamed_for_it() -> None:
    assert violations(nobody_serves().history, alone=False) == []
    assert violations(capacity_before_traffic().history, alone=False) == []
    story = serving()
    story.delete("Service", NAME)
    assert violations(story.history)
    assert violations(story.history, alone=False) == []


def test_whoever_marked_a_Deployment_for_deletion_is_not_known() -> None:
    story = updating()
    story.service()
    story.pod(TWO, 1, ready=False)
    story.pod(TWO, 2, ready=False)
    story.mark("Deployment", ONE)
    assert "keeps T - U" in violations(story.history)[0]
    assert violations(story.history, alone=False) == []


def test_a_view_that_is_late_is_no_lie() -> None:
    story = updating()
    story.record(TWO, 2, "2", "RolledBack", "deadline")
    story.status(2, False, champion=told(ONE), candidate=told(TWO), message="nothing new")
    assert violations(story.history)
    assert violations(story.history, late=2.0) == []


@pytest.mark.parametrize(("unavailable", "gap"), [("1", False), ("2", True)])
def test_who_lets_all_pods_be_unavailable_has_asked_for_a_gap(unavailable: str, gap: bool) -> None:
    story = updating()
    story.record(TWO, 2, "2", unavailable=unavailable)
    story.deployment(ONE, 0)
    assert (violations(story.history) == []) is gap


def test_histories_of_many_are_judged_each_by_itself() -> None:
    mine, others = updating(), updating()
    theirs = []
    for one in others.history:
        meta = {**one.obj["metadata"], "namespace": "another"}
        theirs.append(Version(one.revision, one.at, one.event, one.kind, {**one.obj, "metadata": meta}))
    assert violations([*mine.history, *theirs]) == []


def test_a_pod_of_minReadySeconds_is_available_only_after_them() -> None:
    story = updating()
    story.service()
    story.listed(f"{ONE}-1", f"{ONE}-2", f"{TWO}-1", f"{TWO}-2")
    story.put("Deployment", TWO, spec={"replicas": 2, "minReadySeconds": 30})
    assert violations(story.history) == []
    story.deployment(ONE, 0)
    assert "keeps T - U" in violations(story.history)[0]


FIELDS: dict[str, Object] = {
    "Deployment": {"f:spec": {"f:replicas": {}}},
    "Service": {"f:spec": {"f:selector": {}}},
    "ControllerRevision": {"f:metadata": {"f:annotations": {f"f:{names.ANNOTATION_OUTCOME}": {}}}},
}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize(
    ("managers", "ours"),
    [([], None), (["podium"], True), (["podium-handover"], True), (["kubectl"], False), (["kubectl", "podium"], True)],
)
def test_whose_an_object_is_is_told_by_the_managers_of_what_is_judged(
    kind: str, managers: list[str], ours: bool | None
) -> None:
    other = {"manager": "another", "fieldsV1": {"f:spec": {"f:paused": {}}, "f:metadata": {"f:labels": {}}}}
    fields = [other, *({"manager": one, "fieldsV1": FIELDS[kind]} for one in managers)]
    assert author("MODIFIED", kind, {"metadata": {"managedFields": fields}}) is ours
    assert author("DELETED", kind, {"metadata": {"managedFields": fields}}) is None
    assert author("MODIFIED", "Pod", {"metadata": {"managedFields": fields}}) is None
