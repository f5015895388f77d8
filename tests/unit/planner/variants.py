"""Situations of further sentences that reasons have beside those of situations.py, and of what is added to Ready's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import decided, read
from podium.api import names
from podium.api.reasons import EventReason, Reason
from podium.kube.client import ApiError, Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, Resource
from podium.manifests.ledger import ledger_in
from podium.manifests.router import RouterPods, deployment
from tests.unit.planner import test_conditions as conditions
from tests.unit.planner import test_events as events
from tests.unit.planner import test_gates as gates
from tests.unit.planner import test_restore as restored
from tests.unit.planner.backup import Backup
from tests.unit.planner.given import AUTOSCALING, BLUE_GREEN, created, rolled_back, serving, updating
from tests.unit.planner.situations import (
    Condition,
    Event,
    after,
    commanded,
    ended_once,
    no_pods_made,
    rested,
    stepping,
)
from tests.unit.planner.test_canary import at_step, canary, two
from tests.unit.planner.test_commands import _failed_restart
from tests.unit.planner.test_ended import end
from tests.unit.planner.test_envoy import ENVOY, TOLD, cut_off, routed, weights
from tests.unit.planner.test_envoy_refused import Refusal
from tests.unit.planner.test_recreation import _recreated
from tests.unit.planner.test_safety import CANARY, WATCHED, watched
from tests.unit.planner.test_scarcity import unschedulable
from tests.unit.planner.weighed import OUTAGE, STEPS, until_weighed, weighed, weighing, with_prometheus
from tests.unit.planner.world import NAMESPACE, World, model

QUOTA_ON_CPU = 'pods "podium-router" is forbidden: failed quota: team: must specify limits.cpu for: agent,envoy'


@dataclass(frozen=True)
class Passed:
    """Ready has this reason for one pass, soon after what is given."""

    given: Callable[[], World]
    reason: Reason
    kind: str = "Ready"

    def said(self) -> str:
        """Its message."""
        world = self.given()
        found: list[str] = []

        def look() -> None:
            if (world.condition("Ready") or ("", ""))[1] == self.reason:
                found.append(world.message())

        world.after_pass.append(look)
        world.until(lambda: found)
        return found[0]


@dataclass(frozen=True)
class Added:
    """What is added to the message of Ready in the world that is given: from these words on, to those that follow."""

    given: Callable[[], World]
    begins: str
    follows: str = ""
    kind: str = "Added"

    def said(self) -> str:
        """It alone."""
        world = self.given()
        found = [world.message()] if self.begins in world.message() else []
        world.after_pass.append(lambda: found.extend([world.message()] if self.begins in world.message() else []))
        world.until(lambda: found)
        added = found[0][found[0].index(self.begins) :]
        return added.partition(f" {self.follows}")[0] if self.follows else added


def until_ready_is(world: World, reason: str) -> World:
    world.until(lambda: (world.condition("Ready") or ("", ""))[1] == reason)
    return world


def promoted_by(message: str, **spec: Any) -> Callable[[], World]:
    """An analysed canary, once Ready says this of its promotion."""

    def given() -> World:
        world = weighed(**spec)
        world.until(lambda: message in world.message())
        return world

    return given


def analysed_to_its_end() -> World:
    world = weighed(rate=2.0)
    world.until(lambda: "Its last step is over" in world.message())
    return world


def behind_routers() -> World:
    """Version 2 is asked for, of whose pods errors are to count beside routers; no pass has seen it."""
    world = World()
    world.routers.start()
    world.create(replicas=4, rollout=WATCHED[0], traffic={"router": "Envoy"})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.edit(model=model("2"))
    return world


def pods_refused() -> World:
    world = serving(replicas=2)
    world.edit(model=model("2"))
    world.cluster.refused = "Internal error occurred: failed calling webhook: no endpoints"
    return after(world, 20)


def led_anew() -> World:
    """Another replica leads, and has not read the routers yet."""
    world = weighed()
    until_weighed(world)
    world.measuring.deaf = True
    world.hand_over()
    return after(world, 2)


def come_back() -> World:
    world = suspended(lambda: updating(replicas=2), 300)()
    world.edit(suspend=False)
    return after(world, 2)


def spec_changed() -> World:
    """Version 3 is asked for while version 2 is on its way."""
    world = updating(replicas=4)
    world.until(lambda: len(world.ready_pods(two(world))) >= 2)
    world.edit(model=model("3"))
    return until_ready_is(world, "Draining")


def stray_pod() -> World:
    """A pod of nobody's has the labels of version 1."""
    world = updating(replicas=2)
    gates.stray(world, world.revision("1"))
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    world.edit(model=model("3"))
    return after(world, 60)


def too_slow_at_first() -> World:
    world = created(replicas=2, rollout={"progressDeadline": "2m"})
    world.behave("1", ready_after=None)
    world.until(lambda: world.phase == "Failed")
    return world


def paused(given: Callable[[], World], seconds: float = 60) -> Callable[[], World]:
    """Somebody sets spec.paused."""

    def done() -> World:
        world = given()
        world.edit(paused=True)
        return after(world, seconds)

    return done


def suspended(given: Callable[[], World], seconds: float) -> Callable[[], World]:
    """Somebody has set spec.suspend so many seconds ago."""

    def done() -> World:
        world = given()
        world.edit(suspend=True)
        return after(world, seconds)

    return done


def steps_edited() -> World:
    world = at_step(1, canary(10, 50))
    world.rollout(steps=[{"weight": 90}])
    return after(world, 5)


def analysis_edited() -> World:
    world = weighed()
    until_weighed(world)
    world.rollout(analysis={"metrics": [{"name": "errors", "type": "ErrorRate"}]})
    return after(world, 2)


def said_to(command: str) -> Callable[[], World]:
    """Somebody writes the annotation podium.dev/command."""

    def given() -> World:
        world = serving()
        world.annotate(names.ANNOTATION_COMMAND, command)
        return after(world)

    return given


def dropped() -> World:
    """A restart waits for the end of a pause, and spec asks for another version by then."""
    world = commanded("restart", paused(serving, 3), "1")()
    world.edit(model=model("2"), paused=False)
    return after(world, 5)


def paused_and_resumed() -> World:
    world = commanded("pause", lambda: updating(replicas=3), "2")()
    world.command("resume", two(world), "t2")
    return after(world)


def ended_beside_the_champion() -> World:
    """A container of the candidate ends by itself under analysis, after one of the champion has."""
    world = weighed(rate=2000.0)
    until_weighed(world)
    for version in ("1", "2"):
        end(world, world.revision(version))
    return world


def without_room() -> World:
    """A pod for which its node had no room, although the scheduler had thought so."""
    world = serving()
    gone = world.pods()[0]
    world.behave("1", ready_after=None)
    said = "Pod was rejected: Node didn't have enough resource: ephemeral-storage, requested: 2147483648, used: 9"
    world.cluster.evict(gone, said, reason="OutOfephemeral-storage")
    return after(world)


def rolled_back_alone() -> World:
    """After a restore, the record of what was rolled back is there, and that of the version that serves is not."""
    before = restored.rolled_back()
    backup = Backup.of(before)
    world = restored.with_another_runtime(before)
    world.behave("3")
    loser = [obj for obj in backup.objects if obj["metadata"]["name"] == before.revision("3")]
    for objects in ([obj for obj in backup.objects if obj["kind"] == MODEL_DEPLOYMENTS.kind], loser):
        found = tuple(obj for obj in objects if obj["kind"] != DEPLOYMENTS.kind)
        Backup(found).restore(world, restored.KINDS, pause=5)
    return after(world, 1200)


def gave_way() -> World:
    """A rollout began while a restore went on, and gave way to the version that came back with its pods."""
    before = restored.waiting_for_a_person()
    world = restored.another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS, CONTROLLER_REVISIONS, DEPLOYMENTS), pause=0)
    return after(world, 60)


def stripped() -> World:
    """An admission webhook takes the label from every record."""
    world = serving(replicas=2)

    def strip(resource: Resource, obj: Object) -> None:
        if resource is CONTROLLER_REVISIONS:
            obj["metadata"].get("labels", {}).pop(names.LABEL_MODEL, None)

    world.api.admit.append(strip)
    world.change(CONTROLLER_REVISIONS, world.revision("1"), lambda _: None)
    return after(world, 60)


def rolled_back_and_left() -> World:
    """A version is rolled back, and spec asks for the next one before the Event is emitted."""
    world = events.crashes()
    world.client.before += [
        lambda call: world.edit(model=model("3")) if events._decides(call) else None,
        events._dies_once_decided(world),
    ]
    world.rest()
    return world


def no_metrics_api() -> World:
    world = serving(replicas=2, autoscaling=AUTOSCALING)
    world.cluster.metrics_api = False
    return after(world, 30)


def without_figures() -> World:
    """Errors are to be counted at the pods, which nobody can read; the steps decide."""
    world = watched(CANARY)
    world.measuring.deaf = True
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    return world


def envoy(given: Callable[[World], object], seconds: float = 120) -> Callable[[], World]:
    """Routers are asked for and run, and this happens to them."""

    def done() -> World:
        world = created(traffic=ENVOY, replicas=2)
        world.routers.start()
        given(world)
        return after(world, seconds)

    return done


def older_routers() -> World:
    """Routers of an older version do not know a field of what they are told."""
    world = created(traffic=ENVOY, replicas=2)
    world.routers.start()
    with patch("tests.unit.planner.routers.wrong_with", return_value="the unknown field 'mirror'"):
        return after(world, 120)


def agent_started_anew() -> World:
    """It cannot reach the API server, and a rollout begins."""
    world = routed(replicas=2)
    world.routers.anew.add("podium-router-1")
    world.edit(model=model("2"))
    return after(world, 120)


def no_config_map() -> World:
    """The API server refuses the ConfigMap by which routers are told."""
    world = World()
    Refusal(world)
    world.create(traffic=ENVOY, replicas=2)
    world.routers.start()
    return after(world, 120)


def no_routers_made() -> World:
    """A quota refuses the pods of the routers' Deployment, which an operator has made."""
    world = created(traffic=ENVOY, replicas=2)
    world.advance(20)
    world.cluster.refused = QUOTA_ON_CPU
    routers = deployment(NAMESPACE, RouterPods(), replicas=2)
    routers["metadata"]["annotations"] = {names.ANNOTATION_APPLIED: "as made"}
    world.api.create(routers, "podium")
    return after(world, 120)


def nonsense_kept() -> World:
    """Somebody writes nonsense into the ConfigMap by which routers are told, until Podium leaves it at that."""
    world = routed(replicas=2)
    for _ in range(6):
        world.change(CONFIG_MAPS, TOLD, lambda found: found.update(data={"routing.json": "{"}))
        world.advance(5)
    return after(world, 10)


def pods_unread() -> World:
    """No pod of the candidate can be read, where pods count their errors."""
    world = watched({**CANARY, "steps": [{"pause": True}]})
    world.until(lambda: world.status["candidate"]["ready"])
    world.measuring.unreachable = "pod fraud-2: 10.0.0.7:8080 did not answer within 1 s"
    world.measuring.unread_since = world.now.timestamp()
    return after(world, 100)


def past_the_routers() -> World:
    """Routers are asked for along with a new version, and none is there."""
    world = World()
    world.create(replicas=4, rollout={"strategy": "Canary", "steps": STEPS})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.edit(model=model("2"), traffic=ENVOY)
    return after(world, 120)


def routers_left() -> World:
    """A rollout that routers count is led past them."""
    world = weighing()
    world.edit(traffic={"router": "None"})
    return after(world, 120)


def prometheus_is_out() -> World:
    world = with_prometheus()
    until_weighed(world)
    world.measuring.holds = (OUTAGE,)
    return after(world, 60)


def led_anew_with_prometheus() -> World:
    world = with_prometheus()
    until_weighed(world)
    world.hand_over()
    world.reconcile()
    return world


def ledger_refused() -> World:
    """The API server refuses the ledger that a promotion would be decided from, and takes it the third time."""
    world = weighed(rate=500.0)
    until_weighed(world)
    refused: list[str] = []

    def refuse_what_promotes(resource: Resource, obj: Object) -> None:
        text = ledger_in(obj) if resource is CONFIG_MAPS else ""
        if text and decided(read(text), Circumstances(steps_over=True)).call is Call.PROMOTE and len(refused) < 2:
            refused.append(text)
            raise ApiError(403, "Forbidden", "exceeded quota: count/configmaps")

    world.api.admit.append(refuse_what_promotes)
    return world


def failing_at_first(behaviour: str, seconds: float) -> Callable[[], World]:
    def given() -> World:
        world = created(replicas=2)
        world.behave("1", failure=behaviour)
        return after(world, seconds)

    return given


def candidate_cut_off() -> World:
    """One of two routers does not reach the candidate of a BlueGreen."""
    world = routed(replicas=2, rollout=BLUE_GREEN)
    world.edit(model=model("2"))
    world.until(lambda: len(weights(world)) == 2)
    world.routers.cut_off.add((max(world.routers.loaded), world.revision("2")))
    return after(world, 60)


ROUTERS: dict[str, Callable[[], World]] = {
    "no answer": envoy(lambda world: world.routers.silent.add("podium-router-2")),
    "late": envoy(lambda world: world.routers.late.update({"podium-router-1": 400.0})),
    "late for a reason": agent_started_anew,
    "refused by it": older_routers,
    "no pod reached": cut_off,
    "no ConfigMap": no_config_map,
    "not understood": nonsense_kept,
    "no pods made": no_routers_made,
}


def invalid() -> World:
    return after(conditions.ROWS["invalid, as is"].given())


def without_pods(world: World) -> World:
    """All pods of version 1 are lost."""
    world.behave("1", ready_after=None)
    return after(world)


def to_zero(world: World) -> World:
    world.edit(replicas=0)
    return after(world)


CONDITIONS: dict[str, Condition | Passed] = {
    "Canary, promoted by evidence": Condition(promoted_by("promoted by evidence", rate=2000.0), Reason.CANARY),
    "Canary, promoted at maxDuration": Condition(
        promoted_by("end of maxDuration", rate=0.1, maxDuration="10m", onInconclusive="Promote"), Reason.CANARY
    ),
    "Canary, last step over": Condition(analysed_to_its_end, Reason.CANARY),
    "BlueGreen, not reached": Condition(candidate_cut_off, Reason.BLUE_GREEN),
    "TrafficMoving, from others": Passed(lambda: updating(replicas=2, rollout=BLUE_GREEN), Reason.TRAFFIC_MOVING),
    "Draining, pods left": Condition(spec_changed, Reason.DRAINING),
    "Draining, a pod with its labels": Condition(stray_pod, Reason.DRAINING),
    "Draining, a deleted predecessor": Condition(_recreated, Reason.DRAINING),
    "PlanPending, Canary": Condition(steps_edited, Reason.PLAN_PENDING),
    "PlanPending, analysis": Condition(analysis_edited, Reason.PLAN_PENDING),
    "Progressing, after a suspension": Condition(come_back, Reason.PROGRESSING),
    "Pending, not seen": Condition(created, Reason.PENDING),
    "Suspended, pods left": Condition(suspended(lambda: serving(replicas=2), 2), Reason.SUSPENDED),
    "Suspended, during a rollout": Condition(suspended(lambda: updating(replicas=2), 300), Reason.SUSPENDED),
    "Paused, ready": Condition(paused(lambda: updating(replicas=2, rollout=BLUE_GREEN)), Reason.PAUSED),
    "Paused, at a step": Condition(paused(lambda: at_step(1, canary(10, 50))), Reason.PAUSED),
    "Paused, promoted": Condition(paused(stepping(canary(10), "after its last step"), 5), Reason.PAUSED),
    "WaitingForPromotion, Canary": Condition(
        lambda: until_ready_is(at_step(1, canary(50, promotion="Manual")), "WaitingForPromotion"),
        Reason.WAITING_FOR_PROMOTION,
    ),
    "WaitingForPromotion, evidence awaited": Condition(
        lambda: until_ready_is(weighed(rate=1.0, promotion="Manual"), "WaitingForPromotion"),
        Reason.WAITING_FOR_PROMOTION,
    ),
    "ScaledToZero, in a rollout": Condition(
        lambda: to_zero(updating(replicas=2, rollout=BLUE_GREEN)), Reason.SCALED_TO_ZERO
    ),
    "Environment, pods refused": Condition(pods_refused, Reason.ENVIRONMENT),
    "NoData, at first": Passed(weighed, Reason.NO_DATA),
    "NoData, a new leader": Condition(led_anew, Reason.NO_DATA),
    "NoData, a new leader, Prometheus": Condition(led_anew_with_prometheus, Reason.NO_DATA),
    "NoData, Prometheus": Condition(prometheus_is_out, Reason.NO_DATA),
    "NoData, past the routers": Condition(past_the_routers, Reason.NO_DATA),
    "NoData, routers left": Condition(routers_left, Reason.NO_DATA),
    "NoData, the ledger": Passed(ledger_refused, Reason.NO_DATA),
    "RolledBack, traffic goes back": Condition(conditions.ROWS["rolling back"].given, Reason.ROLLED_BACK),
    "RolledBack, all pods of the champion lost": Condition(lambda: without_pods(rolled_back()), Reason.ROLLED_BACK),
    "RolledBack, no pods asked for": Condition(lambda: to_zero(rolled_back()), Reason.ROLLED_BACK),
    "RolledBack, time not known": Condition(gave_way, Reason.ROLLED_BACK),
    "RolledBack, restart": Condition(lambda: _failed_restart()[0], Reason.ROLLED_BACK),
    "DeadlineExceeded, no cause": Condition(too_slow_at_first, Reason.DEADLINE_EXCEEDED),
    "RecordMissing, rolled back": Condition(rolled_back_alone, Reason.RECORD_MISSING),
    "RecordUnreadable, useless": Condition(stripped, Reason.RECORD_UNREADABLE),
    "Evicted, no room": Condition(without_room, Reason.EVICTED, "PodFailure"),
    "Suspended, the condition": Condition(suspended(lambda: serving(replicas=2), 60), Reason.SUSPENDED, "Suspended"),
    "MetricsUnreachable, pods": Condition(pods_unread, Reason.METRICS_UNREACHABLE, "MetricsUnreachable"),
    **{
        f"RouterUnreachable, {name}": Condition(given, Reason.ROUTER_UNREACHABLE, "RouterUnreachable")
        for name, given in ROUTERS.items()
    },
    "FailedGetResourceMetric": Condition(no_metrics_api, None, "ScalingActive"),
    "NoAvailablePod, not started": Condition(
        lambda: after(created(replicas=2, paused=True)), Reason.NO_AVAILABLE_POD, "Available"
    ),
}
ADDED: dict[str, Added] = {
    "evidence": Added(analysed_to_its_end, "Errors: evidence"),
    "evidence of no harm": Added(promoted_by("Evidence of no harm", rate=2000.0, promotion="Manual"), "Evidence of no"),
    "nothing counted": Added(behind_routers, "Nothing has"),
    "errors at the pods": Added(lambda: after(watched(CANARY), 20), "Evidence of harm"),
    "a pod": Added(failing_at_first("unschedulable", 20), "Pod "),
    "a container": Added(failing_at_first("crash", 6), "Container "),
    "pods that are refused": Added(no_pods_made, "The cluster"),
    "a scarce resource": Added(lambda: unschedulable({"strategy": "RollingUpdate"}), "Version 2 waits for"),
    "size": Added(lambda: updating(replicas=3, autoscaling=AUTOSCALING), "Its size"),
    "pods lost": Added(lambda: without_pods(invalid()), "Version 1 has 0", "spec.runtime"),
    "no pods asked for": Added(lambda: to_zero(invalid()), "Version 1 is", "spec.runtime"),
    "spec edited": Added(steps_edited, "spec.rollout or"),
    "analysis edited": Added(analysis_edited, "spec.rollout.analysis"),
}
EVENTS: dict[str, Event] = {
    "RolloutStarted, first revision": Event(lambda: after(created(replicas=2)), EventReason.ROLLOUT_STARTED),
    "Step, the last is over": Event(lambda: rested(at_step(1, canary(10, 50))), EventReason.STEP, "the last of"),
    "Step, the last is over, weighed": Event(analysed_to_its_end, EventReason.STEP),
    "Step, the only one is over": Event(stepping(canary(10), "after its last"), EventReason.STEP, "only"),
    "Step, the only one is over, weighed": Event(ended_once, EventReason.STEP),
    "Step, promoted": Event(stepping(canary(10), "after its last"), EventReason.STEP),
    "Step, promoted, weighed": Event(without_figures, EventReason.STEP),
    "Step, promoted at maxDuration": Event(
        promoted_by("end of maxDuration", rate=0.1, maxDuration="10m", onInconclusive="Promote"), EventReason.STEP
    ),
    "ContainerEnded, once": Event(ended_once, Reason.CONTAINER_ENDED, "a second end"),
    "ContainerEnded, the champion's, too": Event(ended_beside_the_champion, Reason.CONTAINER_ENDED),
    "RolledBack, not asked for any more": Event(rolled_back_and_left, EventReason.ROLLED_BACK),
    "Superseded, spec changed": Event(spec_changed, EventReason.SUPERSEDED),
    "ResumeAccepted, no step": Event(paused_and_resumed, EventReason.RESUME_ACCEPTED),
    "CommandRefused, no command": Event(said_to("promote"), EventReason.COMMAND_REFUSED),
    "CommandRefused, dropped": Event(dropped, EventReason.COMMAND_REFUSED),
}
