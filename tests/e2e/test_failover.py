"""A leader that is stopped in good order gives the Lease up, and the other replica takes it at once."""

import signal
import time

from tests.client import Object, wait
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.world import Performance, World


def holder(world: World) -> str:
    spec = world.client.get("Lease", podium.NAMESPACE, podium.RELEASE)["spec"]
    return str(spec.get("holderIdentity") or "")


def pod_of(identity: str) -> str:
    return identity.rsplit("-", 1)[0]


def both_ready(world: World) -> bool:
    pods = world.client.list("Pod", podium.NAMESPACE, ground.OPERATOR_PODS)
    ready = [c["status"] for pod in pods for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
    return ready == ["True", "True"] and bool(holder(world))


def takeover(world: World, number: signal.Signals, within: float) -> tuple[float, str, str]:
    """Seconds from a signal to the leader until another identity's claim of the Lease, by the audit log."""
    wait("both replicas are ready", lambda: both_ready(world), 90)
    old = holder(world)
    moment = time.time()
    ground.kill(pod_of(old), number)
    new = wait("another leader", lambda: holder(world) not in ("", old) and holder(world), within + 15)
    assert isinstance(new, str)

    def claim(event: Object) -> bool:
        return (
            event["verb"] == "update"
            and ground.done(event)
            and (event.get("objectRef") or {}).get("resource") == "leases"
            and f"({new})" in event.get("userAgent", "")
            and ground.begun(event) >= moment
        )

    (first, *_) = ground.audited(world.cluster, claim)
    return ground.answered(first) - moment, old, new


def test_a_stopped_leader_is_followed_within_two_seconds(world: World, performance: Performance) -> None:
    performance.finish()

    took, old, new = takeover(world, signal.SIGTERM, 2)

    assert took < 2
    assert new != old
