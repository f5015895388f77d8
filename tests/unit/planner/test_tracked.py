"""Marks by which Argo CD and Flux know their own objects: on a ModelDeployment, and on nothing that is made of it.

An object that carries them, or the label `app.kubernetes.io/instance` with an Application's name and has no owner, is
taken for one that Git no longer has, and is pruned.
"""

from collections.abc import Callable

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS
from tests.unit.planner.given import AUTOSCALING, MANUAL, created, serving
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.weighed import STEPS
from tests.unit.planner.world import NAME, NAMESPACE, World, model

APPLICATION = "of-argo-cd"
LABELS = {
    names.LABEL_INSTANCE: APPLICATION,
    "argocd.argoproj.io/instance": APPLICATION,
    "kustomize.toolkit.fluxcd.io/name": "of-flux",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}
ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": f"{APPLICATION}:podium.dev/ModelDeployment:{NAMESPACE}/{NAME}",
    "argocd.argoproj.io/installation-id": "one-of-many",
    "argocd.argoproj.io/sync-options": "Prune=confirm",
    "kustomize.toolkit.fluxcd.io/prune": "enabled",
}
WORLDS: dict[str, tuple[Callable[[], World], set[str]]] = {
    "first rollout": (
        lambda: created(replicas=2),
        {"ControllerRevision", "Deployment", "Service", "PodDisruptionBudget"},
    ),
    "autoscaled": (lambda: serving(autoscaling=AUTOSCALING), {"HorizontalPodAutoscaler"}),
    "behind a preview Service": (lambda: serving(replicas=2, rollout=MANUAL), {"Service"}),
    "weighed": (
        lambda: routed(replicas=4, rollout={"strategy": "Canary", "steps": STEPS}),
        {"ConfigMap", "Service"},
    ),
}
"""How each begins, and kinds of which something is made on the way from there."""


def mark(obj: Object) -> None:
    meta = obj["metadata"]
    meta["labels"] = {**(meta.get("labels") or {}), **LABELS}
    meta["annotations"] = {**(meta.get("annotations") or {}), **ANNOTATIONS}


@pytest.mark.parametrize("name", WORLDS)
def test_no_child_carries_its_parents_marks_and_each_with_the_label_of_an_instance_has_an_owner(name: str) -> None:
    given, kinds = WORLDS[name]
    world = given()
    world.api.update(MODEL_DEPLOYMENTS, NAMESPACE, NAME, mark, "argocd-controller")
    before = len(world.client.calls)

    world.edit(model=model("2"))
    world.advance(120)

    made = {call.body["kind"] for call in world.client.calls[before:] if call.verb in ("create", "apply")}
    assert kinds <= made
    for obj in children(world):
        meta = obj["metadata"]
        labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
        assert (labels.items() & LABELS.items(), annotations.keys() & ANNOTATIONS) == (set(), set()), obj["kind"]
        assert names.LABEL_INSTANCE not in labels or meta["ownerReferences"], obj["kind"]


def children(world: World) -> list[Object]:
    """All that there is beside what people made, down to the pods."""
    made = ("ModelDeployment", "ModelRuntime")
    return [obj for (resource, _, _), obj in world.api.objects.items() if resource.kind not in made]
