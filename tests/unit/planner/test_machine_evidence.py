"""Random events while a canary is analysed: it is promoted and rolled back by evidence that is there, and no other.

The measuring is the real one (counting.py); what decisions must keep to is in verdicts.py. By default a fixed set of
examples that takes under a minute. PODIUM_EXAMPLES=2000 looks for new ones, at random.
"""

import json
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS, Resource
from podium.manifests.ledger import ledger_in
from tests.unit.planner.counting import Counting
from tests.unit.planner.drawing import drawing
from tests.unit.planner.invariants import Invariants
from tests.unit.planner.refusing import FAULTS, Refusing, refuse
from tests.unit.planner.test_envoy import is_routed
from tests.unit.planner.test_machine import event
from tests.unit.planner.verdicts import Verdicts
from tests.unit.planner.weighing import given
from tests.unit.planner.world import World, model

ALIKE, WORSE, MUCH_WORSE = 0.01, 0.05, 0.6
"""Shares of answers that fail."""
SHARES = st.sampled_from([0.0, ALIKE, WORSE, MUCH_WORSE])
NEXT = st.sampled_from(["2", "3"])
QUERY = 'sum(failed_total{namespace="{{namespace}}",pod=~"{{revision}}-.*"})'
CHECKOUT = {"name": "checkout", "type": "Prometheus", "tolerate": "0.1%", "events": QUERY, "total": QUERY}
ERRORS = {"name": "errors", "type": "ErrorRate"}
ANALYSES = st.sampled_from(
    [
        {"interval": "5s", "metrics": [ERRORS]},
        {"interval": "2s", "metrics": [ERRORS | {"maxRatio": 2, "tolerate": "0%"}]},
        {"interval": "5s", "metrics": [ERRORS, CHECKOUT]},
        {"interval": "10s"},
    ]
)
STEPS = st.sampled_from(
    [
        [{"weight": 10, "for": "10s"}, {"weight": 50, "for": "10s"}],
        [{"weight": 50}],
        [{"weight": 20, "for": "10s"}, {"pause": True}, {"weight": 50}],
    ]
)
ENDS = st.sampled_from(["Rollback", "Promote", "Pause"])
LIMITS = st.sampled_from(["10m", "2h"])
SLACK = 900
"""Seconds, beside maxDuration, in which a rollout comes to its end: pods come up, steps last, routers are read."""


class Analysed(RuleBasedStateMachine):
    """One ModelDeployment behind two routers, whose canary is analysed, and all that may happen to it meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.counting = Counting(self.world)
        self.world.measuring = self.counting
        self.world.restart_operator()
        self.watching = Invariants(self.world, self.counting)
        self.verdicts = Verdicts(self.world, self.counting, self.is_refused)
        self.refusing: list[Refusing] = []
        self.ends: list[Callable[[], None]] = []
        self.turn = 0

    @initialize(
        steps=STEPS, analysis=ANALYSES, limit=LIMITS, end=ENDS, rate=st.sampled_from([20.0, 200.0, 200.0, 1000.0]),
        fails=SHARES, finally_fails=st.sampled_from([ALIKE, MUCH_WORSE]), after=st.sampled_from([0, 15, 40]),
    )  # fmt: skip
    def a_canary_is_under_way(
        self, steps: list[Object], analysis: Object, limit: str, end: str, rate: float, fails: float,
        finally_fails: float, after: int,
    ) -> None:  # fmt: skip
        world, self.finally_fails = self.world, finally_fails
        world.routers.start(2)
        rollout = {
            "strategy": "Canary", "steps": steps, "analysis": analysis, "maxDuration": limit, "onInconclusive": end,
            "minReadySeconds": 0, "progressDeadline": "2m", "scaleDownDelay": "40s",
        }  # fmt: skip
        world.create(replicas=2, traffic={"router": "Envoy"}, rollout=rollout)
        world.until(lambda: is_routed(world) and world.condition("Ready") == ("True", "Serving"))
        self.counting.callers.rate, self.counting.callers.fails["2"] = rate, fails
        world.edit(model=model("2"))
        world.advance(after)

    # --- readings

    @event(version=NEXT, share=SHARES)
    def answers_fail(self, version: str, share: float) -> None:
        self.counting.callers.fails[version] = share

    @event(share=st.sampled_from([0.0, ALIKE, WORSE]))
    def the_champion_s_answers_fail(self, share: float) -> None:
        champion = self.watching.champion()
        if champion:
            self.counting.callers.fails[champion["data"]["version"]] = share

    @event(rate=st.sampled_from([0.0, 20.0, 200.0, 1000.0]))
    def callers_come_and_go(self, rate: float) -> None:
        self.counting.callers.rate = rate

    @event(share=st.sampled_from([0.0, 0.0, 0.5, 1.0]))
    def callers_pass_the_routers_by(self, share: float) -> None:
        self.counting.callers.passing_by = share

    @event(number=st.none() | st.integers(0, 1), lasts=st.sampled_from([3, 30, 100]), again=st.booleans())
    def routers_cannot_be_read(self, number: int | None, lasts: int, again: bool) -> None:
        self.counting.deaf.add("" if number is None else self.router(number))
        self.world.advance(lasts)
        if again:
            self.counting.deaf.clear()

    @event(number=st.integers(0, 1))
    def a_router_counts_from_0(self, number: int) -> None:
        self.counting.restart(self.router(number))

    @event(number=st.integers(0, 1))
    def a_router_is_replaced(self, number: int) -> None:
        self.world.routers.stop(self.router(number))
        self.world.routers.start(1)

    @event(number=st.integers(0, 1), seconds=st.sampled_from([0.0, 3.0, 20.0]))
    def a_router_is_late(self, number: int, seconds: float) -> None:
        self.world.routers.late[self.router(number)] = seconds

    @event(number=st.integers(0, 1), answers=st.booleans())
    def a_router_does_not_say_what_it_has_loaded(self, number: int, answers: bool) -> None:
        silent = self.world.routers.silent
        (silent.discard if answers else silent.add)(self.router(number))

    @event(outage=st.sampled_from(["", "metric checkout: no answer of Prometheus"]))
    def prometheus_answers_or_not(self, outage: str) -> None:
        self.counting.outage = outage

    @event()
    def what_prometheus_has_goes_down(self) -> None:
        self.counting.restart_prometheus_s_pods()

    @event(seconds=st.sampled_from([20, 60, 60, 200]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    # --- people

    @event(version=st.sampled_from(["1", "2", "2", "3"]))
    def change_the_model(self, version: str) -> None:
        self.world.edit(model=model(version))

    @event(lasts=st.sampled_from([5, 30]), back=st.booleans())
    def pause(self, lasts: int, back: bool) -> None:
        self.world.edit(paused=True)
        self.world.advance(lasts)
        if back:
            self.world.edit(paused=False)

    @event()
    def end_a_pause(self) -> None:
        self.world.edit(paused=False, suspend=False)

    @event(lasts=st.sampled_from([5, 60]), back=st.booleans())
    def suspend(self, lasts: int, back: bool) -> None:
        self.world.edit(suspend=True)
        self.world.advance(lasts)
        if back:
            self.world.edit(suspend=False)

    @event(analysis=ANALYSES, steps=STEPS)
    def edit_what_counts_from_the_next_rollout(self, analysis: Object, steps: list[Object]) -> None:
        self.world.rollout(analysis=analysis, steps=steps)

    @event(end=ENDS, limit=LIMITS, promotion=st.sampled_from(["Automatic", "Automatic", "Manual"]))
    def edit_what_counts_at_once(self, end: str, limit: str, promotion: str) -> None:
        self.world.rollout(onInconclusive=end, maxDuration=limit, promotion=promotion)

    @event(verb=st.sampled_from(["promote", "abort", "retry", "pause", "resume", "resume", "restart"]))
    def command(self, verb: str) -> None:
        """Of the revision that it is meant for."""
        role = "champion" if verb == "restart" else "candidate"
        self.order(verb, self.roles().get(role) or self.newest())

    @event(verb=st.sampled_from(["promote", "abort", "retry", "resume"]), number=st.integers(0, 3))
    def command_of_any(self, verb: str, number: int) -> None:
        known = sorted(each["metadata"]["name"] for each in self.world.api.all(CONTROLLER_REVISIONS))
        self.order(verb, known[number % len(known)])

    @precondition(lambda self: "candidate" in self.roles() and not self.is_refused())
    @event(fails=st.sampled_from([WORSE, MUCH_WORSE]))
    def a_person_promotes_what_is_worse(self, fails: float) -> None:
        """A rule over all histories says that nothing but a person takes that back."""
        candidate = self.roles()["candidate"]
        self.world.behave(self.version(candidate), ready_after=20.0)
        self.order("promote", candidate)
        self.counting.callers.fails[self.version(candidate)] = fails
        self.world.advance(30)

    @event(
        change=st.sampled_from(["more", "more", "nonsense", "gone"]), taken_over=st.sampled_from([True, True, False])
    )
    def somebody_changes_a_ledger(self, change: str, taken_over: bool) -> None:
        """Evidence of a good candidate is made up, or made unreadable."""
        for ledger in self.world.api.all(CONFIG_MAPS):
            name = ledger["metadata"]["name"]
            if not name.endswith(names.LEDGER_SUFFIX):
                continue
            self.verdicts.tampered.add(name.removesuffix(names.LEDGER_SUFFIX))
            if change == "gone":
                self.world.api.delete(CONFIG_MAPS, ledger["metadata"]["namespace"], name)
            else:
                self.world.change(CONFIG_MAPS, name, _better if change == "more" else _nonsense)
        if taken_over:
            self.world.hand_over()  # else it is put back

    # --- the operator

    @event(ahead=st.sampled_from([0.0, 0.0, 4.0, -4.0]))
    def the_operator_starts_anew(self, ahead: float) -> None:
        self.world.hand_over(ahead=ahead)

    @event(nth=st.integers(1, 6))
    def the_operator_is_killed_after_a_write(self, nth: int) -> None:
        self.world.client.kill_after = nth

    @event()
    def lose_status(self) -> None:
        self.world.lose_status()

    @event(nth=st.integers(1, 4), fault=st.sampled_from(sorted(FAULTS)), lasting=st.booleans())
    def a_write_is_refused(self, nth: int, fault: str, lasting: bool) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting))

    @event(nth=st.integers(1, 4), fault=st.sampled_from(["webhook", "time-out"]))
    def an_answer_is_lost(self, nth: int, fault: str) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting=False, made=True))

    @event(
        resource=st.sampled_from([CONTROLLER_REVISIONS, CONFIG_MAPS]), fault=st.sampled_from(sorted(FAULTS)),
        lasts=st.sampled_from([5, 40]),
    )  # fmt: skip
    def writes_of_a_kind_are_refused(self, resource: Resource, fault: str, lasts: int) -> None:
        self.ends.append(refuse(self.world, fault, lambda call: call.resource is resource))
        self.world.advance(lasts)

    @precondition(lambda self: self.is_refused())
    @event()
    def nothing_is_refused_any_more(self) -> None:
        self.end_refusals()

    # --- the end

    def teardown(self) -> None:
        """Disturbances end, all is read, and the candidate is as good as the champion or much worse: it ends so."""
        try:
            if self.world.live(MODEL_DEPLOYMENTS) is not None:
                self.come_to_an_end()
        finally:
            self.counting.close()

    def come_to_an_end(self) -> None:
        world, callers = self.world, self.counting.callers
        self.end_refusals()
        world.routers.late.clear()
        world.routers.silent.clear()
        world.cluster.behaviours.clear()
        world.client.kill_after = None
        self.counting.deaf.clear()
        self.counting.outage, callers.passing_by, callers.rate = "", 0.0, 500.0
        world.edit(paused=False, suspend=False)
        world.rollout(promotion="Automatic")
        world.until(lambda: world.phase != "Suspended")
        world.advance(5)
        candidate = self.roles().get("candidate", "")
        if candidate:
            callers.fails[self.version(self.roles()["champion"])] = ALIKE
            callers.fails[self.version(candidate)] = self.finally_fails
        limit = 2 * 3600 + SLACK
        world.until(self.is_over, within=limit)
        if candidate and self.finally_fails == MUCH_WORSE and world.outcome(candidate) == "Promoted":
            why = world.rule(candidate)
            assert why in ("person", "evidence", "max-duration", "champion-down"), f"{why}: {world.describe()}"
        if not self.roles().get("candidate"):
            world.rest()
            self.all_requests_go_to(self.roles()["champion"])

    def is_over(self) -> bool:
        """Nobody is a candidate, or it waits for a person who does not come; who waits for `resume` gets it."""
        world = self.world
        if world.phase == "Paused":
            why = world.condition("Ready") or ("", "")
            if why[1] == "Inconclusive":
                return True
            for record in list(self.verdicts.records.values()):
                if record.command.get("paused") or record.name == self.roles().get("candidate"):
                    self.order("resume", record.name)
                    world.advance(3)
        return "candidate" not in self.roles() and world.phase in ("Healthy", "RolledBack")

    def all_requests_go_to(self, champion: str) -> None:
        world = self.world
        assert given(world) == {champion: 10_000}, world.describe()
        told = [{name for name, weight in each.items() if weight} for each in world.routers.weights("fraud")]
        assert all(each == {champion} for each in told), (told, world.describe())

    # --- what they ask

    def order(self, verb: str, revision: str) -> None:
        """A command that nobody has given before."""
        self.turn += 1
        self.world.command(verb, revision, f"n{self.turn}")

    def roles(self) -> dict[str, str]:
        """Champion and candidate by the records, as far as there are any."""
        found: dict[str, str] = {}
        champion = self.watching.champion()
        if champion:
            found["champion"] = champion["metadata"]["name"]
        for record in self.world.api.all(CONTROLLER_REVISIONS):
            if names.ANNOTATION_OUTCOME not in record["metadata"]["annotations"]:
                found["candidate"] = record["metadata"]["name"]
        return found

    def newest(self) -> str:
        """Of all revisions."""
        return str(max(self.world.api.all(CONTROLLER_REVISIONS), key=lambda one: one["revision"])["metadata"]["name"])

    def version(self, revision: str) -> str:
        """Of the model."""
        return self.counting.version(revision)

    def router(self, number: int) -> str:
        """The name of one."""
        pods = self.world.routers.pods()
        return str(pods[number % len(pods)]["metadata"]["name"])

    def is_refused(self) -> bool:
        """Whether some write may be refused."""
        return bool(self.refusing or self.ends)

    def end_refusals(self) -> None:
        """Nothing is refused any more."""
        while self.refusing:
            self.refusing.pop().end()
        while self.ends:
            self.ends.pop()()


def _better(ledger: Object) -> None:
    text = json.loads(ledger_in(ledger))
    if not text:  # somebody has made nonsense of it before
        return
    text["checkpoint"]["counted"] = {name: [10**6, 10**6] for name in text["checkpoint"]["counted"]}
    for metric in text["checkpoint"]["metrics"].values():
        metric["better"] = [each + 20 for each in metric.get("better", [])]
    ledger["data"]["ledger"] = json.dumps(text)


def _nonsense(ledger: Object) -> None:
    ledger["data"]["ledger"] = "[]"


Analysed.TestCase.settings = drawing(30)


class TestAnalysed(Analysed.TestCase):  # type: ignore[name-defined,misc]
    """pytest collects it from here."""
