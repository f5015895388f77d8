"""What others change of a model's children is put back."""

from collections.abc import Callable

from tests import stage as s
from tests.client import Object, wait
from tests.e2e import ground
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene

PUT_BACK = 5
"""Seconds within which what somebody else changed is put back."""


@scene
def drift(world: World) -> dict[str, float]:
    """Changes and deletes children by hand; returns the seconds from that to the operator's write, by the audit log."""
    ground.require_host(world.cluster)
    stage = world.stage("e2e-drift")
    client, namespace = world.client, stage.namespace
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    revision = stage.until_ready("digits", "1")["status"]["champion"]["revision"]
    found: dict[str, float] = {}

    def undone(what: str, plural: str, name: str, change: Callable[[], object], holds: Callable[[], bool]) -> None:
        change()
        wait(what, holds, 60, every=0.1)
        found[what] = _seconds_until_repaired(world, namespace, plural, name)

    def selector() -> Object:
        service: Object = client.get("Service", namespace, "digits")["spec"]["selector"]
        return service

    wanted = selector()
    undone(
        "a Service's selector",
        "services",
        "digits",
        lambda: client.patch("Service", namespace, "digits", {"spec": {"selector": {"podium.dev/model": "other"}}}),
        lambda: selector() == wanted,
    )
    undone(
        "a Deployment's replicas",
        "deployments",
        revision,
        lambda: client.patch("Deployment", namespace, revision, {"spec": {"replicas": 1}}),
        lambda: client.get("Deployment", namespace, revision)["spec"]["replicas"] == 2,
    )
    uid = client.get("Service", namespace, "digits")["metadata"]["uid"]
    undone(
        "a deleted Service",
        "services",
        "digits",
        lambda: client.delete("Service", namespace, "digits"),
        lambda: (client.find("Service", namespace, "digits") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid,
    )
    undone(
        "a deleted PodDisruptionBudget",
        "poddisruptionbudgets",
        "digits",
        lambda: client.delete("PodDisruptionBudget", namespace, "digits"),
        lambda: client.find("PodDisruptionBudget", namespace, "digits") is not None,
    )
    stage.until_ready("digits", "1")
    return found


def _seconds_until_repaired(world: World, namespace: str, plural: str, name: str) -> float:
    """Between the answers to the last write of somebody else and to the operator's first one after it."""

    def write(event: Object) -> bool:
        which = event.get("objectRef") or {}
        return (
            (which.get("namespace"), which.get("resource"), which.get("name")) == (namespace, plural, name)
            and not which.get("subresource")
            and event["verb"] in ("patch", "delete")
            and ground.done(event)
        )

    writes = ground.audited(world.cluster, write)
    ours = ground.account()
    change = max(n for n, event in enumerate(writes) if event["user"]["username"] != ours)
    repair = next(event for event in writes[change:] if event["user"]["username"] == ours)
    return ground.answered(repair) - ground.answered(writes[change])


def test_what_others_change_is_put_back_within_5_seconds(drift: dict[str, float]) -> None:
    assert len(drift) == 4
    assert {what: seconds for what, seconds in drift.items() if seconds > PUT_BACK} == {}
