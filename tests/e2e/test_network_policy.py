"""Routers that the namespace's network keeps from the model's pods: the Service does not lead to them.

The local cluster's network plugin enforces no NetworkPolicy. What stands in for a default-deny one is what enforces it
elsewhere: the node drops what comes from other pods, and lets in what comes from itself, as probes do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podium.api import names
from tests import stage as s
from tests.client import Object, condition, wait
from tests.cluster.progress import run
from tests.cluster.slot import Slot
from tests.e2e.ground import require_host, until_condition
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts

NAME = "digits"


@dataclass(frozen=True)
class Denied:
    """What was seen while pods were kept from pods, and afterwards."""

    told: Object
    """The condition."""
    selector: Object
    """Of the stable Service, then."""
    status: Object
    """Of the ModelDeployment, then."""
    after: Object
    """The ModelDeployment, once they were let in."""
    counts: Counts


@contextmanager
def kept_from_others(slot: Slot, addresses: list[str]) -> Iterator[None]:
    """What other pods send to these is dropped."""
    rules = [["FORWARD", "--source", slot.pods, "--destination", each, "--jump", "DROP"] for each in addresses]
    for rule in rules:
        run(slot.inside("iptables", "--wait", "--insert", *rule))
    try:
        yield
    finally:
        for rule in rules:
            run(slot.inside("iptables", "--wait", "--delete", *rule))


@scene
def denied(world: World) -> Denied:
    """`router: Envoy` where no router gets through to a pod; then it does."""
    require_host(world.cluster)
    stage = world.stage("e2e-denied")
    stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK))
    stage.until_ready(NAME, "1")
    pods = stage.client.list("Pod", stage.namespace, f"{names.LABEL_MODEL}={NAME}")

    def selector() -> Object:
        return dict(stage.client.get("Service", stage.namespace, NAME)["spec"]["selector"])

    with world.load_turn, stage.load(NAME, world.digits.questions()) as load:
        load.await_answers()
        with kept_from_others(world.cluster.slot, [pod["status"]["podIP"] for pod in pods]):
            stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK, traffic={"router": "Envoy"}))
            told = until_condition(stage, NAME, "RouterUnreachable", "does not reach any pod", seconds=120)
            kept, status = selector(), stage.get(NAME)["status"]
        wait("the Service leads to the routers", lambda: selector() == names.router_selector(), 60)
        load.await_answers(200)
        return Denied(told, kept, status, stage.until_ready(NAME, "1"), load.close())


def test_the_condition_names_the_router_the_revision_and_the_way_out(denied: Denied) -> None:
    assert "NetworkPolicies" in denied.told["message"]
    assert denied.status["champion"]["revision"] in denied.told["message"]
    assert "podium-router-" in denied.told["message"]


def test_the_service_goes_on_leading_to_the_pods_until_they_can_be_reached(denied: Denied) -> None:
    assert denied.selector[names.LABEL_MODEL] == NAME
    assert condition({"status": denied.status}, "Available")["status"] == "True"
    assert not condition(denied.after, "RouterUnreachable")


def test_nobody_who_calls_notices(denied: Denied) -> None:
    assert not denied.counts.failed, str(denied.counts)
