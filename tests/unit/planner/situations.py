"""A situation for every reason of a condition or an Event, and what Podium says in it: see docs/messages.md.

`python -m tests.unit.planner.situations` prints them; those of variants.py are not among them.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

from podium.api import names
from podium.api.reasons import EventReason, Reason
from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    SERVICES,
)
from tests.unit.planner import test_conditions as conditions
from tests.unit.planner import test_gates as gates
from tests.unit.planner.backup import Backup
from tests.unit.planner.given import (
    AUTOSCALING,
    BLUE_GREEN,
    MANUAL,
    created,
    empty,
    rolled_back,
    serving,
    switched,
    updating,
)
from tests.unit.planner.measuring import EVERY
from tests.unit.planner.refusing import refuse
from tests.unit.planner.scraped import scraped
from tests.unit.planner.test_bytes import overwritten
from tests.unit.planner.test_canary import PAUSE, at_step, canary, record, two
from tests.unit.planner.test_draining import _one_pod_left
from tests.unit.planner.test_envoy import ENVOY, kept_by_another
from tests.unit.planner.test_eviction import POD
from tests.unit.planner.test_ledgers import edited
from tests.unit.planner.test_no_revisions import junk
from tests.unit.planner.test_restore import another_cluster, promoted_by_a_person, waiting_for_a_person
from tests.unit.planner.test_revisions import _edit_runtime
from tests.unit.planner.test_safety import CANARY, watched
from tests.unit.planner.test_unreadable import unreadable_deployment, unreadable_model_deployment, unreadable_runtime
from tests.unit.planner.weighed import ALL_FAIL, until_weighed, weighed
from tests.unit.planner.world import NAME, World, model


@dataclass(frozen=True)
class Condition:
    """A condition that has this reason in the world that is given; None: whatever another controller's is."""

    given: Callable[[], World]
    reason: Reason | None
    kind: str = "Ready"

    def said(self) -> str:
        """Its message."""
        world = self.given()
        found = world.condition(self.kind)
        assert found is not None, f"there is no condition {self.kind}: {world.status}"
        assert self.reason in (None, found[1]), f"{self.kind} is {found}: {world.message(self.kind)}"
        return world.message(self.kind)


@dataclass(frozen=True)
class Event:
    """An Event of this reason, of which the world that is given has heard."""

    given: Callable[[], World]
    reason: EventReason | Reason
    has: str = ""
    """Words of the one that is meant, where it is not the last."""

    def said(self) -> str:
        """The note of the last one."""
        world = self.given()
        notes = [note for note in world.events(self.reason) if self.has in note]
        assert notes, f"{sorted({said.reason for said in world.heard.said})}: {world.describe()}"
        return notes[-1]


def after(world: World, seconds: float = 5) -> World:
    """The world once everybody has seen what was just done."""
    world.advance(seconds)
    return world


ERRORS_ALONE = {"metrics": [{"name": "errors", "type": "ErrorRate"}]}

# --- what is given


def failing(behaviour: str) -> Callable[[], World]:
    """Version 2 is on its way, and its pods fail in this way."""

    def given() -> World:
        world = updating(replicas=2, rollout=BLUE_GREEN)
        world.behave("2", failure=behaviour)
        return after(world, 25)

    return given


def meshed() -> World:
    """A mesh has marked the pods of version 2, and leads the fetcher's connections to a sidecar that does not run."""
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="fetch-passing")
    world.edit(model=model("2"), podTemplate={"annotations": {"sidecar.istio.io/status": "{}"}})
    return after(world, 25)


def analysed(**rollout: object) -> Callable[[], World]:
    """A canary that evidence decides, some seconds after its first weight."""

    def given() -> World:
        world = weighed(**rollout)  # type: ignore[arg-type]
        until_weighed(world)
        return after(world, 8)

    return given


def ended_once() -> World:
    """A container of the candidate ends by itself while it is analysed, and the steps are over."""
    world = weighed(rate=2000.0, steps=[{"weight": 50, "for": "10s"}])
    until_weighed(world)
    world.cluster.end(world.ready_pods(two(world))[0])
    world.until(lambda: world.condition("Ready") == ("False", "ContainerEnded"))
    return world


def bad_image_name() -> World:
    world = created(replicas=2)
    world.behave("1", failure="invalid-image")
    return after(world)


def suspended() -> World:
    world = serving(replicas=2)
    world.edit(suspend=True)
    world.rest()
    return world


def paused_by_command() -> World:
    world = serving(replicas=2)
    world.command("pause", world.revision("1"))
    return after(world)


def superseded() -> World:
    world = updating(replicas=4)
    world.until(lambda: len(world.ready_pods(two(world))) >= 2)
    world.edit(model=model("1"))
    world.until(lambda: world.condition("Ready") == ("False", "Superseded"))
    return world


def plan_pending() -> World:
    world = updating(replicas=4)
    world.rollout(minReadySeconds=30)
    return after(world, 2)


def traffic_moving() -> World:
    world = created()
    world.cluster.list_endpoints = lambda: None  # type: ignore[method-assign]
    return after(world, 120)


def draining() -> World:
    world, _ = _one_pod_left()
    world.edit(model=model("3"))
    return after(world)


def inconclusive() -> World:
    world = weighed(rate=0.1, maxDuration="10m", onInconclusive="Pause")
    world.until(lambda: world.phase == "Paused")
    return world


def champion_unavailable() -> World:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    gates.break_champion(world)
    return after(world, 300)


def environment() -> World:
    return gates.both_fail("crash", "crash")


def deadly_requests() -> World:
    return gates.deadly_requests(gates.DIED)


def webhook_fails() -> World:
    world = created(replicas=2)
    refuse(world, "webhook", lambda call: True)
    return after(world, 29)


def router_unreachable() -> World:
    return after(created(traffic=ENVOY, replicas=2), 120)


def a_router_is_silent(seconds: float) -> Callable[[], World]:
    """One of two routers has not answered the operator for so long."""

    def given() -> World:
        world, measuring = scraped()
        measuring.silent.add("10.0.0.7")
        return after(world, seconds)

    return given


def no_traffic() -> World:
    world, measuring = scraped()
    measuring.bypassed.add(two(world))
    return after(world, 80)


def sample_ratio() -> World:
    world = weighed()
    until_weighed(world)
    world.measuring.alarm()
    world.until(lambda: world.condition("Paused") == ("True", "SampleRatio"))
    return world


def ledger_changed() -> World:
    world = weighed(rate=500.0)
    until_weighed(world)
    world.advance(3 * EVERY)
    world.change(CONFIG_MAPS, f"{two(world)}-ledger", edited)
    world.hand_over()
    world.step()
    return world


def promotion_stands() -> World:
    world = at_step(1, canary(10, PAUSE, progressDeadline="2m"))
    world.behave("2", failure="crash")
    world.command("promote", two(world))
    return after(world, 600)


def invalid_model() -> World:
    """The built-in server says what is wrong with the model's file."""
    said = {
        "result": "failed",
        "reason": "ModelInvalid",
        "permanent": True,
        "message": "/models/model.onnx cannot be loaded: not a valid ONNX file",
    }
    world = serving()
    world.behave("2", failure="crash", said=json.dumps(said), exit_code=65)
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "RolledBack")
    return world


def deadline_exceeded() -> World:
    world = created(replicas=2, rollout={"progressDeadline": "2m"})
    world.behave("1", failure="unschedulable")
    world.until(lambda: world.phase == "Failed")
    return world


def evicted() -> World:
    world = serving()
    gone = world.pods()[0]
    world.behave("1", ready_after=None)
    world.cluster.evict(gone, POD)
    return after(world)


def no_pods_made() -> World:
    world = updating(replicas=2)
    world.cluster.refused = 'pods "fraud" is forbidden: exceeded quota: team'
    return after(world, 20)


def record_missing() -> World:
    before = promoted_by_a_person()
    world = another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS,), pause=5)
    return after(world, 60)


def deployment_restored() -> World:
    before = waiting_for_a_person()
    world = another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS, DEPLOYMENTS), pause=30)
    return after(world, 600)


def invalid_spec() -> World:
    world = serving(replicas=2)
    world.edit(rollout={"strategy": "Magic"})
    return after(world)


def invalid_runtime() -> World:
    world = serving()
    runtime = world.api.get(MODEL_RUNTIMES, None, "onnxruntime")
    assert runtime is not None
    broken = {**runtime, "metadata": {"name": "broken"}, "spec": {**runtime["spec"], "formats": "onnx"}}
    world.api.create(json.loads(json.dumps(broken)), "kubectl")
    world.edit(runtime={"name": "broken"})
    return after(world)


def unsupported_format() -> World:
    world = serving()
    world.edit(model={**model("2"), "format": "gguf"})
    return after(world)


def weight_not_possible() -> World:
    return at_step(1, canary(5, 50), replicas=1)


def no_canary_of_one_pod() -> World:
    world = serving(replicas=1, rollout=canary(rollingUpdate={"maxSurge": 0, "maxUnavailable": 1}))
    world.edit(model=model("2"))
    return after(world)


def record_unreadable() -> World:
    world = serving(replicas=2)
    junk(world, {"template": 1}, {})
    world.rest()
    return world


def annotated(annotation: str, value: str) -> Callable[[], World]:
    """Somebody overwrites an annotation of version 2's record while it is on its way."""

    def given() -> World:
        world = updating(replicas=2, rollout=BLUE_GREEN)
        change = {annotation: value}
        world.change(CONTROLLER_REVISIONS, two(world), lambda obj: obj["metadata"]["annotations"].update(change))
        return after(world, 60)

    return given


def share_awaited() -> World:
    """The pod of a canary's step is not available, and the step's time is over."""
    world = at_step(1, canary(10, 50))
    world.behave("2", ready_after=None)
    return after(world, 120)


def stepping(rollout: Object, awaited: str) -> Callable[[], World]:
    """A canary on ten pods, once Ready says this: a regular expression."""

    def given() -> World:
        world = at_step(1, rollout)
        world.until(lambda: re.search(awaited, world.message()))
        return world

    return given


def refused(fault: str) -> Callable[[], World]:
    """The API server refuses the Deployment of version 2."""

    def given() -> World:
        world = serving(replicas=2)
        world.edit(model=model("2"))
        refuse(world, fault, lambda call: call.resource is DEPLOYMENTS and call.name != world.revision("1"))
        return after(world, 30)

    return given


def crds_are_new() -> World:
    world = empty()
    said = 'deployments.apps "x" is forbidden: cannot find RESTMapping for podium.dev/v1alpha1'

    def judge(call: object) -> None:
        if getattr(call, "resource", None) is not MODEL_DEPLOYMENTS:
            raise ApiError(403, "Forbidden", said)

    world.client.before.insert(0, judge)
    world.create()
    return after(world, 10)


def internal_error() -> World:
    world = serving(replicas=2)
    with patch("podium.reconcile.loop.plan", side_effect=ZeroDivisionError("division by zero")):
        try:
            world.reconcile()
        except ZeroDivisionError:
            world.deliver()
    return world


def runtime_changed() -> World:
    world = serving()

    _edit_runtime(world, "serving:new")
    return after(world)


def contested() -> World:
    world = serving()
    for port in range(9000, 9010):
        world.change(SERVICES, NAME, lambda o, port=port: o["spec"]["ports"][0].update(targetPort=port))
        world.advance(2)
    return world


def commanded(verb: str, given: Callable[[], World], version: str) -> Callable[[], World]:
    """Somebody sends the command, naming the revision of this version."""

    def done() -> World:
        world = given()
        world.command(verb, world.revision(version))
        return after(world, 2)

    return done


def waiting() -> World:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    return world


def at_a_pause() -> World:
    world = at_step(1, canary(10, PAUSE))
    world.until(lambda: world.phase == "Paused")
    return world


def replicas_edited(given: Callable[[], World], replicas: int) -> Callable[[], World]:
    """Somebody writes spec.replicas."""

    def done() -> World:
        world = given()
        world.edit(replicas=replicas)
        return after(world, 2)

    return done


def too_slow() -> World:
    world = updating(replicas=2, rollout={"progressDeadline": "1m"})
    world.behave("2", ready_after=None)
    world.until(lambda: world.phase == "RolledBack")
    return world


def one_lost() -> World:
    world = waiting()
    world.behave(world.ready_pods(world.revision("2"))[0]["metadata"]["name"], ready_after=None)
    world.until(lambda: world.phase != "Paused")
    return world


def lost(several: int) -> Callable[[], World]:
    def play() -> World:
        world = at_step(1, canary(50, 75, progressDeadline="2m"), replicas=4)
        for pod in world.ready_pods(world.revision("2"))[:several]:
            world.behave(pod["metadata"]["name"], ready_after=None)
        world.until(lambda: world.phase == "RolledBack")
        return world

    return play


def aborted() -> World:
    world = commanded("abort", waiting, "2")()
    world.until(lambda: world.phase == "RolledBack")
    return world


def worse() -> World:
    world = weighed(candidate=ALL_FAIL)
    world.until(lambda: world.phase == "RolledBack")
    return world


def warned() -> World:
    world = weighed(rate=0.1, maxDuration="1h")
    world.until(lambda: world.events("TooLittleTraffic"))
    return world


def stepped() -> World:
    world = at_step(1, canary(10, 50))
    world.until(lambda: world.events("Step"))
    return world


def stepped_by_evidence() -> World:
    world = weighed(analysis=ERRORS_ALONE)
    world.until(lambda: record(world).get("step") == 1)
    return world


def proven() -> World:
    world = weighed(rate=2000.0, analysis=ERRORS_ALONE)
    world.until(lambda: record(world).get("promoting"))
    return world


def rested(world: World) -> World:
    """The world once nothing more happens."""
    world.rest()
    return world


def row(name: str) -> Callable[[], World]:
    """A row of the table of conditions."""
    return conditions.ROWS[name].given


CONDITIONS: dict[str, Condition] = {
    # All is well, or on its way.
    "Pending": Condition(crds_are_new, Reason.PENDING),
    "Available": Condition(lambda: serving(replicas=2), Reason.AVAILABLE, "Available"),
    "Available, two versions": Condition(lambda: at_step(1, canary(10, 50)), Reason.AVAILABLE, "Available"),
    "Serving": Condition(serving, Reason.SERVING),
    "Serving, predecessor warm": Condition(lambda: switched(replicas=2), Reason.SERVING),
    "ScaledToZero": Condition(row("replicas 0"), Reason.SCALED_TO_ZERO),
    "Progressing": Condition(lambda: after(created(replicas=2), 1), Reason.PROGRESSING),
    "RollingUpdate": Condition(lambda: updating(replicas=3), Reason.ROLLING_UPDATE),
    "BlueGreen, pods lost": Condition(one_lost, Reason.BLUE_GREEN),
    "BlueGreen": Condition(lambda: updating(replicas=2, rollout=BLUE_GREEN), Reason.BLUE_GREEN),
    "Canary": Condition(lambda: at_step(1, canary(10, 50)), Reason.CANARY),
    "Canary, weighed": Condition(analysed(), Reason.CANARY),
    "Canary, weighed by one metric": Condition(analysed(analysis=ERRORS_ALONE), Reason.CANARY),
    "Canary, share awaited": Condition(share_awaited, Reason.CANARY),
    "Canary, pods awaited": Condition(stepping(canary(10, 50), "Its pods have"), Reason.CANARY),
    "Canary, promoted by a person": Condition(commanded("promote", at_a_pause, "2"), Reason.CANARY),
    "Canary, steps over": Condition(stepping(canary(10), "after its last step"), Reason.CANARY),
    "TrafficMoving": Condition(traffic_moving, Reason.TRAFFIC_MOVING),
    "Draining": Condition(draining, Reason.DRAINING),
    "PlanPending": Condition(plan_pending, Reason.PLAN_PENDING),
    "Superseded": Condition(superseded, Reason.SUPERSEDED),
    # A person is waited for.
    "Suspended": Condition(suspended, Reason.SUSPENDED),
    "Paused": Condition(row("paused midway"), Reason.PAUSED),
    "Paused, not started": Condition(row("paused, something pending"), Reason.PAUSED),
    "SpecPaused": Condition(row("paused, nothing pending"), Reason.SPEC_PAUSED, "Paused"),
    "PausedByCommand": Condition(paused_by_command, Reason.PAUSED_BY_COMMAND, "Paused"),
    "WaitingForPromotion": Condition(waiting, Reason.WAITING_FOR_PROMOTION),
    "WaitingForResume": Condition(at_a_pause, Reason.WAITING_FOR_RESUME),
    "Inconclusive": Condition(inconclusive, Reason.INCONCLUSIVE),
    # Something is wrong and Podium copes.
    "Degraded": Condition(row("pods lost, available < T"), Reason.DEGRADED),
    "NoAvailablePod": Condition(row("pods lost, none available"), Reason.NO_AVAILABLE_POD, "Available"),
    "NoAvailablePod, first revision": Condition(
        lambda: after(created(replicas=2), 1), Reason.NO_AVAILABLE_POD, "Available"
    ),
    "ChampionUnavailable": Condition(champion_unavailable, Reason.CHAMPION_UNAVAILABLE),
    "Environment, pods": Condition(environment, Reason.ENVIRONMENT),
    "Environment, requests": Condition(deadly_requests, Reason.ENVIRONMENT),
    "Environment, API server": Condition(webhook_fails, Reason.ENVIRONMENT),
    "RouterUnreachable": Condition(router_unreachable, Reason.ROUTER_UNREACHABLE, "RouterUnreachable"),
    "NoData": Condition(a_router_is_silent(30), Reason.NO_DATA),
    "SampleRatio": Condition(sample_ratio, Reason.SAMPLE_RATIO),
    "MetricsUnreachable": Condition(a_router_is_silent(90), Reason.METRICS_UNREACHABLE, "MetricsUnreachable"),
    "NoTraffic": Condition(no_traffic, Reason.NO_TRAFFIC, "NoTraffic"),
    "LedgerChanged": Condition(ledger_changed, Reason.LEDGER_CHANGED, "LedgerChanged"),
    "NotMeasured": Condition(lambda: watched(CANARY, without="1"), Reason.NOT_MEASURED, "NotMeasured"),
    "PromotionStands": Condition(promotion_stands, Reason.PROMOTION_STANDS),
    "RolledBack, crash": Condition(invalid_model, Reason.ROLLED_BACK),
    "RolledBack, deadline": Condition(too_slow, Reason.ROLLED_BACK),
    "RolledBack, some pods lost": Condition(lost(1), Reason.ROLLED_BACK),
    "RolledBack, all pods lost": Condition(lost(4), Reason.ROLLED_BACK),
    "RolledBack, harm": Condition(worse, Reason.ROLLED_BACK),
    "RolledBack, person": Condition(aborted, Reason.ROLLED_BACK),
    "DeadlineExceeded": Condition(deadline_exceeded, Reason.DEADLINE_EXCEEDED),
    # What keeps a pod from serving.
    "CrashLoopBackOff": Condition(failing("crash"), Reason.CRASH_LOOP, "PodFailure"),
    "CrashLoopBackOff, first revision": Condition(row("first revision failed"), Reason.CRASH_LOOP),
    "Crashed": Condition(failing("init"), Reason.CRASHED, "PodFailure"),
    "ImagePull": Condition(failing("image"), Reason.IMAGE_PULL, "PodFailure"),
    "InvalidImageName": Condition(bad_image_name, Reason.INVALID_IMAGE_NAME, "PodFailure"),
    "FetchFailed": Condition(failing("fetch-permanent"), Reason.FETCH_FAILED, "PodFailure"),
    "FetchRetrying": Condition(failing("fetch-passing"), Reason.FETCH_RETRYING, "PodFailure"),
    "FetchBlockedByMesh": Condition(meshed, Reason.FETCH_BLOCKED_BY_MESH, "PodFailure"),
    "ContainerEnded": Condition(ended_once, Reason.CONTAINER_ENDED),
    "ConfigError": Condition(failing("config"), Reason.CONFIG_ERROR, "PodFailure"),
    "ConfigError, volumes": Condition(failing("volumes"), Reason.CONFIG_ERROR, "PodFailure"),
    "Unschedulable": Condition(failing("unschedulable"), Reason.UNSCHEDULABLE, "PodFailure"),
    "Evicted": Condition(evicted, Reason.EVICTED, "PodFailure"),
    "FailedCreate": Condition(no_pods_made, Reason.FAILED_CREATE, "PodFailure"),
    # Only a person can mend it.
    "RecordMissing": Condition(record_missing, Reason.RECORD_MISSING),
    "RecordMissing, Deployment": Condition(deployment_restored, Reason.RECORD_MISSING, "RecordMissing"),
    "InvalidSpec": Condition(invalid_spec, Reason.INVALID_SPEC),
    "InvalidRuntime": Condition(invalid_runtime, Reason.INVALID_RUNTIME),
    "InvalidRuntime, unreadable": Condition(unreadable_runtime, Reason.INVALID_RUNTIME),
    "UnsupportedFormat": Condition(unsupported_format, Reason.UNSUPPORTED_FORMAT),
    "WeightNotPossible": Condition(weight_not_possible, Reason.WEIGHT_NOT_POSSIBLE, "WeightPossible"),
    "WeightNotPossible, one pod": Condition(no_canary_of_one_pod, Reason.WEIGHT_NOT_POSSIBLE),
    "RuntimeNotFound": Condition(row("invalid, as is"), Reason.RUNTIME_NOT_FOUND),
    "RecordUnreadable": Condition(record_unreadable, Reason.RECORD_UNREADABLE, "RecordUnreadable"),
    "RecordUnreadable, rollout": Condition(
        annotated(names.ANNOTATION_ROLLOUT, '{"strategy":'), Reason.RECORD_UNREADABLE, "RecordUnreadable"
    ),
    "RecordUnreadable, annotation": Condition(
        annotated(names.ANNOTATION_OUTCOME, "Lost"), Reason.RECORD_UNREADABLE, "RecordUnreadable"
    ),
    "Unreadable": Condition(unreadable_deployment, Reason.UNREADABLE),
    "NameConflict": Condition(row("names taken, as is"), Reason.NAME_CONFLICT),
    "Forbidden": Condition(refused("a policy"), Reason.FORBIDDEN),
    "Forbidden, rights": Condition(refused("no right"), Reason.FORBIDDEN),
    "Rejected": Condition(refused("invalid"), Reason.REJECTED),
    "InternalError": Condition(internal_error, Reason.INTERNAL_ERROR),
    # For information.
    "RuntimeChanged": Condition(runtime_changed, Reason.RUNTIME_CHANGED, "RuntimeOutdated"),
    "ModelBytesDiffer": Condition(overwritten, Reason.MODEL_BYTES_DIFFER, "ModelBytesDiffer"),
    "AnotherWriter": Condition(contested, Reason.ANOTHER_WRITER, "DriftContested"),
    "AnotherWriter, routers": Condition(lambda: after(kept_by_another(), 60), Reason.ANOTHER_WRITER, "DriftContested"),
}
"""By a reason and, where it has several sentences, what sets them apart."""


EVENTS: dict[str, Event] = {
    "Unreadable": Event(unreadable_model_deployment, Reason.UNREADABLE),
    "RolloutStarted": Event(lambda: updating(replicas=3), EventReason.ROLLOUT_STARTED),
    "Step": Event(stepped, EventReason.STEP),
    "Step, weighed": Event(stepped_by_evidence, EventReason.STEP),
    "Step, promoted by evidence": Event(proven, EventReason.STEP),
    "TooLittleTraffic": Event(warned, EventReason.TOO_LITTLE_TRAFFIC),
    "Promoted": Event(lambda: switched(replicas=2), EventReason.PROMOTED),
    "Promoted, person": Event(commanded("promote", waiting, "2"), EventReason.PROMOTED),
    "Promoted, person, grown": Event(lambda: rested(commanded("promote", at_a_pause, "2")()), EventReason.PROMOTED),
    "RolledBack": Event(rolled_back, EventReason.ROLLED_BACK),
    "Superseded": Event(superseded, EventReason.SUPERSEDED),
    "PromoteAccepted": Event(commanded("promote", at_a_pause, "2"), EventReason.PROMOTE_ACCEPTED),
    "Superseded, retry": Event(commanded("retry", rolled_back, "2"), EventReason.SUPERSEDED),
    "RestartAccepted": Event(commanded("restart", serving, "1"), EventReason.RESTART_ACCEPTED),
    "PauseAccepted": Event(commanded("pause", lambda: updating(replicas=2), "2"), EventReason.PAUSE_ACCEPTED),
    "ResumeAccepted": Event(commanded("resume", at_a_pause, "2"), EventReason.RESUME_ACCEPTED),
    "CommandRefused": Event(commanded("promote", serving, "1"), EventReason.COMMAND_REFUSED),
    "ReplicasIgnored": Event(
        replicas_edited(lambda: serving(replicas=3, autoscaling=AUTOSCALING), 7), EventReason.REPLICAS_IGNORED
    ),
    "ReplicasPending": Event(replicas_edited(lambda: updating(replicas=4), 2), EventReason.REPLICAS_PENDING),
}

if __name__ == "__main__":
    import sys

    rows = [(played.kind, name, played) for name, played in CONDITIONS.items()]
    for kind, name, played in [*rows, *(("Event", name, played) for name, played in EVENTS.items())]:
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            print(f"{kind}: {name}: {played.said()}")
