"""Another replica leads soon after the leader was killed, and at once after one that is stopped in good order."""

import random
import signal
import time
from dataclasses import dataclass, field

from podium.analysis.ledger import read, replay
from podium.analysis.metrics import Counted
from podium.api import names
from tests import stage as s
from tests.canaries import drawn, until_routed, until_weight
from tests.client import Object, wait
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.test_rollouts import QUICK, Update, both_versions_answered
from tests.e2e.world import World, scene_alone
from tests.load import Counts, Load
from tests.models.digits import FAILING

KILLED, STOPPED = 15, 2
"""Seconds within which another replica leads after the leader was killed, and after it was told to stop."""
SOON = 1_000
"""Requests, of some 240 a second, within which the leader is killed once the candidate has its first weight."""


def holder(world: World) -> str:
    spec = world.client.get("Lease", podium.NAMESPACE, podium.RELEASE)["spec"]
    return str(spec.get("holderIdentity") or "")


def pod_of(identity: str) -> str:
    return identity.rsplit("-", 1)[0]


def both_ready(world: World) -> bool:
    pods = world.client.list("Pod", podium.NAMESPACE, ground.OPERATOR_PODS)
    ready = [c["status"] for pod in pods for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
    return ready == ["True", "True"] and bool(holder(world))


@dataclass(frozen=True)
class Takeover:
    """Seconds from a signal to the leader until another identity's claim of the Lease, and the two identities."""

    seconds: float
    old: str
    new: str


def takeover(world: World, number: signal.Signals, load: Load) -> tuple[Takeover, Counts]:
    """And what the load had counted when the claim was seen.

    The claim's time is the audit log's; the signal's is this machine's clock, which the API server reads too.
    """
    ground.require_host(world.cluster)
    old = holder(world)
    moment = ground.kill(pod_of(old), number)
    if number == signal.SIGKILL:
        # Without its pod its container would be started again, and could be the next to lead.
        world.client.delete("Pod", podium.NAMESPACE, pod_of(old), grace=0)
    new = wait("another leader", lambda: holder(world) not in ("", old) and holder(world), 60)
    counts = load.counts()
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
    return Takeover(ground.answered(first) - moment, old, new), counts


@dataclass(frozen=True)
class Led:
    """Another's lead in the middle of an update, and what the update looked like from outside."""

    takeover: Takeover
    update: Update
    meanwhile: Counts
    """Answers while nobody led."""
    candidate: str
    counted: Counted = field(default_factory=dict)
    """The ledger's totals, in which a count of the candidate's is the second."""


def counted_all(stage: s.Stage, candidate: str, requests: int) -> Counted:
    """The ledger's totals as soon as as many requests of the candidate as these are written down."""

    def enough() -> Counted | None:
        kept = stage.client.get("ConfigMap", stage.namespace, names.ledger_name(candidate))
        counted = replay(read(kept["data"]["ledger"])).counted
        if counted["finished"][1] < requests:
            raise AssertionError(f"{counted} where callers saw {requests} answers of the candidate")
        return counted

    return wait("the ledger has what callers saw", enough, 60)


@scene_alone
def leader_killed(world: World) -> Led:
    """Kills the leader at some moment of the analysis of a version that fails on 3 %, which is tolerated here.

    Alone: the limits of other scenes suppose a leader.
    """
    wait("both replicas are ready", lambda: both_ready(world), 90)
    stage = world.stage("e2e-leader")
    steps = [{"weight": 25, "for": "20s"}, {"weight": 50, "for": "2s"}, {"pause": True}]
    routed: Object = {
        "traffic": {"router": "Envoy"},
        "rollout": {
            **QUICK,
            "strategy": "Canary",
            "steps": steps,
            "analysis": {"interval": "1s", "metrics": [{"name": "errors", "type": "ErrorRate", "tolerate": "20%"}]},
            "scaleDownDelay": "0s",
        },
    }
    stage.apply(s.onnx("digits", "1", **routed))
    stage.until_ready("digits", "1")
    until_routed(stage, "digits")
    with stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        began = time.monotonic()
        stage.apply(s.onnx("digits", "2", file=FAILING, **routed))
        candidate = until_weight(stage, "digits", "2", 25)
        kill_after = random.randint(1, SOON)
        print(f"the leader is killed after {kill_after} requests")
        at_25 = load.await_answers(kill_after)
        seen, counts = takeover(world, signal.SIGKILL, load)
        meanwhile = counts.since(at_25)
        until_weight(stage, "digits", "2", 50)
        load.await_answers(SOON)
        callers = load.close()
        counted = counted_all(stage, candidate, callers.revisions[candidate] + callers.failed)
        update = Update(callers, time.monotonic() - began, stage.get("digits"))
        return Led(seen, update, meanwhile, candidate, counted)


@scene_alone
def leader_stopped(world: World) -> Led:
    """Tells the leader to stop (SIGTERM) when the candidate of a RollingUpdate has just come up."""
    wait("both replicas are ready", lambda: both_ready(world), 90)
    stage = world.stage("e2e-stopped")
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    with stage.load("digits", world.digits.questions()) as load:
        before = load.await_answers()
        began = time.monotonic()
        stage.apply(s.onnx("digits", "2", rollout=QUICK))
        found = stage.until("digits", "a candidate", lambda o: bool(o["status"].get("candidate")))
        seen, counts = takeover(world, signal.SIGTERM, load)
        meanwhile = counts.since(before)
        after = stage.until_ready("digits", "2")
        load.await_answers()
        update = Update(load.close(), time.monotonic() - began, after)
        return Led(seen, update, meanwhile, str(found["status"]["candidate"]["revision"]))


def test_another_replica_leads_within_15_seconds_of_the_leaders_death(leader_killed: Led) -> None:
    assert leader_killed.takeover.seconds < KILLED
    assert leader_killed.takeover.new != leader_killed.takeover.old


def test_weights_stay_as_they_are_while_nobody_leads(leader_killed: Led) -> None:
    counts = leader_killed.meanwhile

    assert counts.answered > 500
    assert drawn(counts.revisions.get(leader_killed.candidate, 0), counts.answered, 25), str(counts)


def test_the_canary_under_way_goes_on_and_no_request_is_lost(leader_killed: Led) -> None:
    status = leader_killed.update.after["status"]

    assert status["rollout"]["weight"]["applied"] == 50
    assert "decision" not in status["rollout"]
    assert list(leader_killed.update.counts.failures) == ["status 500"], str(leader_killed.update.counts)


def test_what_the_ledger_has_counted_of_the_candidate_is_what_callers_saw_whoever_led(leader_killed: Led) -> None:
    callers, counted = leader_killed.update.counts, leader_killed.counted

    assert counted["finished"][1] == callers.revisions[leader_killed.candidate] + callers.failed, str(callers)
    assert counted["5xx"] == (0, callers.failed), str(callers)


def test_a_stopped_leader_is_followed_within_two_seconds(leader_stopped: Led) -> None:
    assert leader_stopped.takeover.seconds < STOPPED
    assert leader_stopped.takeover.new != leader_stopped.takeover.old


def test_the_update_under_way_goes_on_and_no_request_is_lost(leader_stopped: Led) -> None:
    assert not leader_stopped.update.counts.failed, str(leader_stopped.update.counts)
    assert both_versions_answered(leader_stopped.update.counts)
