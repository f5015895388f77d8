"""The watcher sees on a real API server what breaks a rule: statuses written by hand, one lie at a time."""

import time
from collections.abc import Iterator

import pytest

from podium.api import names
from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.manifests.revision import inputs_digest
from tests.client import Client, Object, wait
from tests.cluster.controlplane import ControlPlane
from tests.watching import GRACE, Watcher

SECONDS = 60.0
NAME, REVISION = "digits", "digits-bcdfghjklm"
SPEC: Object = {"model": {"uri": "s3://models/digits/1", "format": "onnx"}}


class Stage:
    """A ModelDeployment, its champion's record and its Service's endpoints, all written by the test."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.client, self.namespace = Client(plane.kubeconfig()), namespace

    def model(self, **spec: int) -> None:
        self.client.apply(self._object("podium.dev/v1alpha1", "ModelDeployment", NAME, spec=SPEC | spec))

    def record(self, outcome: str = "Promoted", spec: Object = SPEC) -> None:
        inputs = ModelDeploymentSpec.parse(spec).inputs()
        annotations = {names.ANNOTATION_INPUTS: inputs_digest(inputs), names.ANNOTATION_OUTCOME: outcome}
        obj = self._object(
            "apps/v1", "ControllerRevision", REVISION, revision=1, data={"inputs": inputs, "template": {}}
        )
        obj["metadata"] |= {"annotations": annotations, "labels": {names.LABEL_MODEL: NAME}}
        self.client.apply(obj)

    def endpoint(self, ready: bool) -> None:
        obj = self._object("discovery.k8s.io/v1", "EndpointSlice", f"{NAME}-1", addressType="IPv4")
        obj["metadata"]["labels"] = {"kubernetes.io/service-name": NAME}
        self.client.apply(obj | {"endpoints": [{"addresses": ["10.1.1.1"], "conditions": {"ready": ready}}]})

    def status(self, *, generation: int = 1, ready: str = "True") -> None:
        condition = {
            "type": "Ready",
            "status": ready,
            "reason": "Serving",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": generation,
        }
        champion = {"revision": REVISION, "version": "1", "desired": 1, "ready": 1, "available": 1}
        status = {"observedGeneration": generation, "champion": champion, "conditions": [condition]}
        self.client.patch("ModelDeployment", self.namespace, NAME, {"status": status}, "status")

    def _object(self, api_version: str, kind: str, name: str, **rest: object) -> Object:
        meta = {"name": name, "namespace": self.namespace}
        return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


@pytest.fixture
def stage(plane: ControlPlane, namespace: str) -> Iterator[Stage]:
    found = Stage(plane, namespace)
    found.model()
    yield found
    found.client.close()


def watched(stage: Stage, **status: int | str) -> Watcher:
    """A watcher that has seen one status."""
    with Watcher(stage.client, stage.namespace) as watcher:
        stage.status(**status)  # type: ignore[arg-type]
        wait("the status to be judged", lambda: watcher.seen, SECONDS)
    return watcher


def test_a_true_ready_is_no_violation(stage: Stage) -> None:
    stage.record()
    stage.endpoint(ready=True)

    watcher = watched(stage)

    assert watcher.judged == 1
    assert watcher.violations() == []


def test_what_does_not_say_ready_needs_no_endpoint(stage: Stage) -> None:
    stage.record()

    watcher = watched(stage, ready="False")

    assert watcher.judged == 0
    assert watcher.violations() == []


def test_ready_for_another_generation_is_one(stage: Stage) -> None:
    stage.record()
    stage.endpoint(ready=True)

    (violation,) = watched(stage, generation=7).violations()

    assert "it speaks of generation 7, spec is at 1" in violation


def test_ready_with_a_champion_of_other_inputs_is_one(stage: Stage) -> None:
    stage.record(spec={"model": {"uri": "s3://models/digits/2", "format": "onnx"}})
    stage.endpoint(ready=True)

    (violation,) = watched(stage).violations()

    assert "is not what spec asks for" in violation


def test_ready_with_a_champion_that_was_not_promoted_is_one(stage: Stage) -> None:
    stage.record(outcome="RolledBack")
    stage.endpoint(ready=True)

    untrue, nobody = watched(stage).violations()

    assert f"it says Promoted of {REVISION}, whose record says RolledBack" in untrue
    assert "there is no champion" in nobody


def test_ready_without_a_ready_endpoint_is_one(stage: Stage) -> None:
    stage.record()
    stage.endpoint(ready=False)

    (violation,) = watched(stage).violations()

    assert f"the stable Service had none in the {GRACE:g} s before" in violation


def test_ready_without_endpoints_at_replicas_0_is_none(stage: Stage) -> None:
    stage.record()
    stage.model(replicas=0)

    assert watched(stage, generation=2).violations() == []


def test_an_endpoint_that_was_ready_a_moment_before_is_enough(stage: Stage) -> None:
    stage.record()
    for _ in range(10):
        stage.status(ready="False")
        stage.endpoint(ready=True)
        with Watcher(stage.client, stage.namespace) as watcher:
            begun = time.monotonic()
            stage.endpoint(ready=False)
            stage.status()
            wait("the status to be judged", lambda: watcher.seen, SECONDS)
            took = time.monotonic() - begun
        if took < GRACE:
            break  # where it took longer, the moment may have been too long for the rule

    assert watcher.violations() == []
