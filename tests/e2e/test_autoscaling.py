"""A HorizontalPodAutoscaler on the CPU that real load costs, through a whole RollingUpdate and a whole BlueGreen."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests import stage as s
from tests.client import Object, wait
from tests.e2e.test_rollouts import QUICK, Update, both_versions_answered
from tests.e2e.world import World, scene_alone

MOST = 3
REQUEST = "20m"
"""CPU that a pod requests: 200 requests a second cost more, so that the load alone asks for every pod there may be."""


@dataclass
class Samples:
    """What the cluster looked like, ten times in three seconds."""

    hpas: list[frozenset[str]] = field(default_factory=list)
    """The names of the HPAs."""
    available: list[int] = field(default_factory=list)
    """Available pods of all revisions."""


@dataclass(frozen=True)
class Autoscaled:
    """An update of an autoscaled ModelDeployment under load."""

    first: str
    second: str
    size: int
    """Pods when the update began."""
    during: Samples
    update: Update
    after: Samples


@contextmanager
def sampled(stage: s.Stage) -> Iterator[Samples]:
    """Looks at the HPAs and at the pods for as long as the block lasts."""
    samples, stop = Samples(), threading.Event()

    def look() -> None:
        while not stop.wait(0.3):
            hpas = stage.client.list("HorizontalPodAutoscaler", stage.namespace)
            deployments = stage.client.list("Deployment", stage.namespace)
            samples.hpas.append(frozenset(hpa["metadata"]["name"] for hpa in hpas))
            samples.available.append(sum(d["status"].get("availableReplicas", 0) for d in deployments))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def autoscaled(world: World, strategy: str) -> Autoscaled:
    """Load scales version 1 up; then version 2 under the same load."""
    stage = world.stage(f"e2e-hpa-{strategy.lower()}")
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    spec: Object = {
        "replicas": 1,
        "autoscaling": {"minReplicas": 1, "maxReplicas": MOST, "metrics": [cpu]},
        "runtime": {"resources": {"requests": {"cpu": REQUEST, "memory": "128Mi"}}},
        "rollout": {"strategy": strategy, **QUICK},
    }
    stage.apply(s.onnx("digits", "1", **spec))
    first = stage.until_ready("digits", "1")["status"]["champion"]["revision"]
    with world.load_turn, stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        wait(
            "pods for the load", lambda: available(stage, first) == MOST and s.ready(stage.get("digits")), 180, every=1
        )
        before = load.counts()
        began = time.monotonic()
        with sampled(stage) as during:
            stage.apply(s.onnx("digits", "2", **spec))
            after = stage.until_ready("digits", "2")
        took = time.monotonic() - began
        second = after["status"]["champion"]["revision"]
        with sampled(stage) as then:
            wait("the HPA of version 2", lambda: hpa(stage, second), 60)
            # Three rounds of the HPA, which looks every 5 s: it must not mistake the hand-over for idleness.
            time.sleep(15)
        load.await_answers()
        seen = Update(load.close().since(before), took, after)
        return Autoscaled(first, second, MOST, during, seen, then)


def available(stage: s.Stage, revision: str) -> int:
    """Pods of a revision's Deployment that serve, if it asks for no other number."""
    deployment = stage.client.get("Deployment", stage.namespace, revision)
    found = int(deployment["status"].get("availableReplicas", 0))
    return found if deployment["spec"]["replicas"] == found else 0


def hpa(stage: s.Stage, revision: str) -> bool:
    """Whether a revision has an HPA."""
    return stage.client.find("HorizontalPodAutoscaler", stage.namespace, revision) is not None


@scene_alone
def autoscaled_rolling_update(world: World) -> Autoscaled:
    """RollingUpdate."""
    return autoscaled(world, "RollingUpdate")


@scene_alone
def autoscaled_blue_green(world: World) -> Autoscaled:
    """BlueGreen."""
    return autoscaled(world, "BlueGreen")


def test_no_request_is_lost(autoscaled_rolling_update: Autoscaled, autoscaled_blue_green: Autoscaled) -> None:
    for seen in (autoscaled_rolling_update, autoscaled_blue_green):
        assert not seen.update.counts.failed, str(seen.update.counts)
        assert both_versions_answered(seen.update.counts)


def test_never_fewer_pods_than_the_load_asked_for(
    autoscaled_rolling_update: Autoscaled, autoscaled_blue_green: Autoscaled
) -> None:
    for seen in (autoscaled_rolling_update, autoscaled_blue_green):
        assert min(seen.during.available) >= seen.size
        assert min(seen.after.available) >= seen.size


def test_a_rolling_update_has_no_hpa_until_it_is_over(autoscaled_rolling_update: Autoscaled) -> None:
    seen = autoscaled_rolling_update

    # The first looks may have come before the operator saw the new spec, the last ones after it was done.
    middle = [names for names in seen.during.hpas if names != {seen.first} and names != {seen.second}]
    assert frozenset() in middle
    assert set(middle) == {frozenset()}
    assert seen.after.hpas[-1] == {seen.second}


def test_blue_green_keeps_the_champions_hpa_until_the_traffic_has_moved(autoscaled_blue_green: Autoscaled) -> None:
    seen = autoscaled_blue_green

    moved = next((n for n, names in enumerate(seen.during.hpas) if seen.first not in names), len(seen.during.hpas))
    assert all(seen.first in names for names in seen.during.hpas[:moved])
    assert not any(seen.first in names for names in seen.during.hpas[moved:])
    assert seen.after.hpas[-1] == {seen.second}
