"""Random events, checked for the invariants all the time, and for coming to rest once they cease.

By default a fixed set of examples that takes under a minute. PODIUM_EXAMPLES=2000 looks for new ones, at random.
"""

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from podium.api import names
from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HPAS,
    MODEL_DEPLOYMENTS,
    SERVICES,
    Resource,
)
from tests.unit.planner.drawing import drawing
from tests.unit.planner.invariants import Invariants
from tests.unit.planner.kstatus import kstatus
from tests.unit.planner.world import NAME, NAMESPACE, World, model

BROKEN = "4"
"""The version whose pods always crash."""
VERSIONS = st.sampled_from(["1", "2", "3", BROKEN])
ROLLOUTS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(["RollingUpdate", "BlueGreen", "Canary"]),
        "analysis": st.just({"metrics": []}),  # evidence takes hours of rounds: test_evidence.py has it
        "steps": st.sampled_from(
            [
                [{"weight": 10, "for": "20s"}, {"weight": 60, "for": "10s"}],
                [{"weight": 50}],
                [{"weight": 30, "for": "10s"}, {"pause": True}, {"weight": 90}],
                [{"pause": True}],
            ]
        ),
        "rollingUpdate": st.sampled_from(
            [
                {},
                {"maxSurge": 0, "maxUnavailable": 1},
                {"maxSurge": "50%", "maxUnavailable": "50%"},
                {"maxSurge": 0, "maxUnavailable": "20%"},
                {"maxSurge": "100%"},
            ]
        ),
        "minReadySeconds": st.sampled_from([0, 5]),
        "progressDeadline": st.sampled_from(["60s", "2m"]),
        "scaleDownDelay": st.sampled_from(["0s", "40s"]),
        "revisionHistoryLimit": st.sampled_from([0, 2, 30]),
    }
)
AUTOSCALINGS = st.sampled_from([{"minReplicas": 1, "maxReplicas": 4}, {"minReplicas": 2, "maxReplicas": 6}])
BEHAVIOURS = st.sampled_from(
    [
        {},
        {"ready_after": 20.0},
        {"ready_after": None},
        {"failure": "crash"},
        {"failure": "image", "until": 35.0},
        {"failure": "fetch-passing"},
        {"failure": "unschedulable"},
    ]
)
# Pods are not among them: that a pod has failed since is what no reader of a late watch can know.
LATE = st.sampled_from([DEPLOYMENTS, ENDPOINT_SLICES, MODEL_DEPLOYMENTS, CONTROLLER_REVISIONS, SERVICES, HPAS])


WAITS = st.sampled_from([0, 0, 1, 2, 6, 15, 40])
"""Seconds between an event and the next."""


def event(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule after which some time passes."""

    def decorate(happen: Callable[..., None]) -> Any:
        @functools.wraps(happen)
        def then_wait(self: "Operator", wait: int, **values: Any) -> None:
            happen(self, **values)
            self.world.advance(wait)

        return rule(wait=WAITS, **arguments)(then_wait)

    return decorate


class Operator(RuleBasedStateMachine):
    """One ModelDeployment, and all that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.watching = Invariants(self.world)

    @initialize(
        replicas=st.sampled_from([0, 1, 2, 3, 4, 5]),
        rollout=ROLLOUTS,
        autoscaling=st.none() | AUTOSCALINGS,
        first=st.sampled_from([0, 5, 60, 60, 60]),
    )
    def create(self, replicas: int, rollout: Object, autoscaling: Object | None, first: int) -> None:
        self.world.behave(BROKEN, failure="crash")
        spec: dict[str, Any] = {"replicas": replicas, "rollout": rollout}
        if autoscaling is not None:
            spec |= {"autoscaling": autoscaling, "replicas": max(1, replicas)}
        self.world.create(**spec)
        self.world.advance(first)

    # --- people

    @event(version=VERSIONS)
    def change_the_model(self, version: str) -> None:
        self.world.edit(model=model(version))

    @event(replicas=st.integers(0, 5))
    def change_replicas(self, replicas: int) -> None:
        self.world.edit(replicas=max(replicas, 1) if "autoscaling" in self.world.spec else replicas)

    @event(rollout=ROLLOUTS)
    def change_the_rollout(self, rollout: Object) -> None:
        self.world.edit(rollout=rollout)

    @precondition(lambda self: self.world.spec["rollout"]["strategy"] != "RollingUpdate")
    @event(promotion=st.sampled_from(["Manual", "Automatic"]))
    def change_the_promotion(self, promotion: str) -> None:
        self.world.rollout(promotion=promotion)

    @event(autoscaling=st.none() | AUTOSCALINGS)
    def change_autoscaling(self, autoscaling: Object | None) -> None:
        self.world.edit(autoscaling=autoscaling, replicas=max(1, self.world.spec["replicas"]))

    @event(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.edit(paused=paused)

    @event(suspend=st.booleans())
    def suspend(self, suspend: bool) -> None:
        self.world.edit(suspend=suspend)

    @event(
        verb=st.sampled_from(["promote", "abort", "retry", "pause", "resume", "restart", "explode"]),
        of=st.integers(0, 4),
        token=st.sampled_from(["now", "1", "2"]),
    )
    def command(self, verb: str, of: int, token: str) -> None:
        revisions = sorted(self.world.api.all(CONTROLLER_REVISIONS), key=lambda r: -r["revision"])
        name = revisions[of]["metadata"]["name"] if of < len(revisions) else "fraud-unknown"
        self.world.command(verb, name, token)

    @precondition(lambda self: self.watching.champion() and not self.world.spec.get("suspend"))
    @event(
        version=st.sampled_from(["1", "2", "3"]),
        behaviour=st.sampled_from([{"failure": "crash"}, {"ready_after": None}]),
        lasts=st.sampled_from([5, 100]),
        undone=st.booleans(),
    )
    def a_person_promotes_what_then_fails(
        self, version: str, behaviour: dict[str, Any], lasts: int, undone: bool
    ) -> None:
        """A rule over the history says that nothing but a person rolls it back; a person does, if asked to."""
        self.world.rollout(strategy="Canary", steps=[{"weight": 30}, {"pause": True}], progressDeadline="60s")
        self.change_the_model(wait=6, version=version)
        candidate = self.world.status.get("candidate")
        if candidate and candidate["version"] == version:
            self.world.behave(version, **behaviour)
            self.world.command("promote", candidate["revision"], self.new_token())
            self.world.advance(lasts)
            if undone:
                self.be_prompt()
                self.what_can_be_undone_is_undone()

    @precondition(lambda self: self.watching.champion() and not self.world.spec.get("suspend"))
    @rule(version=VERSIONS, strategy=st.sampled_from(["Canary", "BlueGreen"]), after=st.sampled_from([2, 8, 25, 50]))
    def a_person_aborts_a_rollout_or_what_it_has_just_promoted(self, version: str, strategy: str, after: int) -> None:
        """Until the outcome, and in the warm window: it is rolled back, unless there is nobody to go back to."""
        self.be_prompt()
        self.world.rollout(strategy=strategy, scaleDownDelay="40s", steps=[{"weight": 50, "for": "10s"}])
        self.change_the_model(wait=after, version=version)
        self.what_can_be_undone_is_undone()

    def what_can_be_undone_is_undone(self) -> None:
        """By an abort, now."""
        world, name = self.world, self.undoable()
        if not name:
            return
        value = world.command("abort", name, self.new_token())
        world.advance(3)
        last = world.status["lastCommand"]
        if last == {**last, "value": value, "result": "Refused"} and "has no available pod" in last["message"]:
            return
        assert world.outcome(name) == "RolledBack", f"after {value}: {world.describe()}"

    def undoable(self) -> str:
        """The candidate beside a champion that serves, else the champion beside a warm predecessor; empty without."""
        status = self.world.status
        if self.world.spec.get("suspend") or not (status.get("champion") or {}).get("available"):
            return ""
        if "candidate" in status:
            return str(status["candidate"]["revision"])
        until = (status.get("previous") or {}).get("until")
        warm = until and datetime.fromisoformat(until) > self.world.now + timedelta(seconds=5)
        return str(status["champion"]["revision"]) if warm else ""

    def be_prompt(self) -> None:
        """Nothing keeps the operator from seeing and writing at once any more."""
        world = self.world
        world.lag.clear()
        world.client.faults, world.client.kill_after = [], None
        world.advance(1)

    def new_token(self) -> str:
        """One that no command has had."""
        return f"n{len(self.world.api.streams[MODEL_DEPLOYMENTS])}"

    @event()
    def lose_status(self) -> None:
        self.world.lose_status()

    @event(resource=st.sampled_from([SERVICES, DEPLOYMENTS, HPAS]), number=st.integers(0, 3))
    def delete_a_child(self, resource: Resource, number: int) -> None:
        found = self.world.api.all(resource)
        if found:
            self.world.api.delete(resource, NAMESPACE, found[number % len(found)]["metadata"]["name"])

    @event(number=st.integers(0, 2), replicas=st.integers(0, 9))
    def scale_a_Deployment_by_hand(self, number: int, replicas: int) -> None:
        found = self.world.api.all(DEPLOYMENTS)
        if found:
            name = found[number % len(found)]["metadata"]["name"]
            self.world.change(DEPLOYMENTS, name, lambda o: o["spec"].update(replicas=replicas))

    @event()
    def delete_the_record_of_a_loser(self) -> None:
        roles = {self.world.status.get(role, {}).get("revision") for role in ("champion", "candidate", "previous")}
        champion = self.watching.champion()  # status may be lost
        roles |= {champion["metadata"]["name"]} if champion else set()
        for revision in self.world.api.all(CONTROLLER_REVISIONS):
            decided = names.ANNOTATION_OUTCOME in revision["metadata"]["annotations"]
            if decided and revision["metadata"]["name"] not in roles:
                self.world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, revision["metadata"]["name"])
                return

    # --- the cluster

    @event(version=st.sampled_from(["1", "2", "3"]), behaviour=BEHAVIOURS)
    def pods_of_a_version_behave(self, version: str, behaviour: dict[str, Any]) -> None:
        self.world.behave(version, **behaviour)

    @event(number=st.integers(0, 9), behaviour=BEHAVIOURS)
    def a_pod_behaves(self, number: int, behaviour: dict[str, Any]) -> None:
        pods = self.world.pods(terminating=False)
        if pods:
            self.world.behave(pods[number % len(pods)]["metadata"]["name"], **behaviour)

    @event(number=st.integers(0, 9))
    def a_pod_is_evicted(self, number: int) -> None:
        pods = self.world.pods(terminating=False)
        if pods:
            self.world.cluster.stop(pods[number % len(pods)])

    @event(number=st.integers(0, 9))
    def a_node_ends_a_pod(self, number: int) -> None:
        pods = self.world.pods(terminating=False)
        if pods:
            self.world.cluster.evict(pods[number % len(pods)])

    @event(number=st.integers(0, 9))
    def a_node_is_lost(self, number: int) -> None:
        pods = self.world.pods()
        if pods:
            self.world.cluster.lose_the_node_of(pods[number % len(pods)])

    @event(demand=st.integers(1, 7), of=st.none() | st.integers(0, 1))
    def the_load_changes(self, demand: int, of: int | None) -> None:
        hpas = self.world.hpas()
        self.world.cluster.demand["" if of is None or not hpas else hpas[of % len(hpas)]] = demand

    @event(grace=st.sampled_from([0.0, 8.0, 90.0]))
    def pods_take_their_time_to_stop(self, grace: float) -> None:
        self.world.cluster.grace = grace

    @event(refused=st.sampled_from(["", "exceeded quota"]))
    def pods_are_refused(self, refused: str) -> None:
        self.world.cluster.refused = refused

    @event(seconds=st.sampled_from([12, 40, 130]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    # --- the operator

    @event()
    def the_operator_is_restarted(self) -> None:
        self.world.restart_operator()

    @event(nth=st.integers(1, 6))
    def the_operator_is_killed_after_a_write(self, nth: int) -> None:
        self.world.client.kill_after = nth

    @event(nth=st.integers(0, 4), status=st.sampled_from([0, 409, 429, 500]))
    def a_write_fails(self, nth: int, status: int) -> None:
        self.world.client.faults = [*[None] * nth, ApiError(status, "Passing", "not now")]

    @event(resource=LATE, seconds=st.sampled_from([0, 3, 15]))
    def a_watch_is_late(self, resource: Resource, seconds: int) -> None:
        self.world.lag[resource] = seconds

    # --- the end

    def teardown(self) -> None:
        """Events cease, and all pods but those of the broken version get well: it comes to rest, and stays so."""
        world = self.world
        if world.live(MODEL_DEPLOYMENTS) is None:
            return
        world.lag.clear()
        world.cluster.behaviours.clear()
        world.cluster.refused = ""
        world.cluster.dead.clear()
        self.get_well()
        world.behave(BROKEN, failure="crash")
        if world.spec.get("suspend"):
            world.rest()
            assert (world.phase, world.pods()) == ("Suspended", []), world.describe()
            world.edit(suspend=False)
        world.rest(within=4 * 3600)
        assert world.phase in ("Healthy", "RolledBack", "Failed", "Paused"), world.describe()
        self.nothing_is_left_over()
        self.a_rollback_is_told_of_only_until_what_was_rolled_back_serves()
        status = kstatus(world.md)
        champion = world.status.get("champion", {}).get("version")
        assert status != "InProgress" or world.phase == "Paused" or champion == BROKEN, world.describe()
        world.restart_operator()
        world.rest()
        assert [str(call) for call in world.client.calls] == [], "a restart at rest makes no call"

    def get_well(self) -> None:
        """What else was ill."""

    def a_rollback_is_told_of_only_until_what_was_rolled_back_serves(self) -> None:
        world = self.world
        if world.phase != "RolledBack":
            return
        newest = world.api.all(CONTROLLER_REVISIONS)
        newest.sort(key=lambda revision: -revision["revision"])
        wanted = [r for r in newest if r["data"]["version"] == world.status["champion"]["version"]]
        if world.spec["model"]["uri"].endswith("/" + world.status["champion"]["version"]):
            assert world.outcome(wanted[0]["metadata"]["name"]) == "RolledBack", world.describe()

    def nothing_is_left_over(self) -> None:
        """Pods, Deployments, HPAs and Services are those of champion and candidate, and traffic is the champion's."""
        world, status = self.world, self.world.status
        roles = {status[role]["revision"] for role in ("champion", "candidate") if role in status}
        if "candidate" in status:
            # A Deployment whose record was deleted goes once the champion serves without a candidate.
            known = {revision["metadata"]["name"] for revision in world.api.all(CONTROLLER_REVISIONS)}
            roles |= {d["metadata"]["name"] for d in world.api.all(DEPLOYMENTS)} - known
        for resource in (DEPLOYMENTS, HPAS):
            assert {o["metadata"]["name"] for o in world.api.all(resource)} <= roles, world.describe()
        assert {p["metadata"]["labels"][names.LABEL_REVISION] for p in world.pods()} <= roles, world.describe()
        if "champion" in status and "candidate" not in status:
            self.all_requests_go_to(status["champion"]["revision"])
            if "autoscaling" in world.spec:
                assert world.hpas() == [status["champion"]["revision"]], world.describe()
            else:
                assert world.replicas(status["champion"]["revision"]) == world.spec["replicas"], world.describe()

    def all_requests_go_to(self, champion: str) -> None:
        expected = {names.LABEL_MODEL: NAME, names.LABEL_REVISION: champion}
        assert self.world.selector() == expected, self.world.describe()


Operator.TestCase.settings = drawing(100)


class TestOperator(Operator.TestCase):  # type: ignore[name-defined,misc]
    """pytest collects it from here."""
