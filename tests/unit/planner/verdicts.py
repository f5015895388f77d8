"""What must hold of decisions by evidence, judged at each write of the operator against what callers really saw.

The rules over all histories (tests/invariants) say nothing of counts: these know each request that was made.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import decided, digest, read
from podium.api import names
from podium.api.v1alpha1 import parse_duration
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS
from podium.manifests.ledger import ledger_in
from podium.rollout.rule import Kind, Rule
from podium.rollout.steps import read_steps, weight_at
from tests.unit.planner.apiserver import Call as Write
from tests.unit.planner.counting import Counting, Seen
from tests.unit.planner.test_envoy import is_routed
from tests.unit.planner.weighing import given
from tests.unit.planner.world import World

ENOUGH = 200
"""Requests of a candidate below which no promotion by evidence can be right, whatever came of them."""


@dataclass(frozen=True)
class Record:
    """A ControllerRevision, as far as it tells of a rollout."""

    name: str
    version: str
    marks: Object

    @property
    def outcome(self) -> str:
        """Empty for a candidate."""
        return str(self.marks.get(names.ANNOTATION_OUTCOME, ""))

    @property
    def rule(self) -> Rule:
        """By which it was decided."""
        return Rule.parse(self.marks.get(names.ANNOTATION_RULE, ""))

    @property
    def rollout(self) -> Object:
        """What was frozen, and how far it is."""
        found: Object = json.loads(self.marks.get(names.ANNOTATION_ROLLOUT, "{}"))
        return found

    @property
    def promoting(self) -> Rule:
        """The rule by which it grows to be promoted."""
        return Rule.parse(self.rollout.get("promoting", ""))

    @property
    def weight(self) -> int:
        """What the step that it has come to gives it, of 10,000."""
        steps = read_steps(self.rollout.get("steps", []))
        return weight_at(steps, self.rollout.get("step", 0)) * 100

    @property
    def command(self) -> Object:
        """The last one that named it."""
        found: Object = json.loads(self.marks.get(names.ANNOTATION_COMMAND, "{}"))
        return found


@dataclass
class Verdicts:
    """Watches a world; an AssertionError names what is broken."""

    world: World
    counting: Counting
    is_excused: Callable[[], bool] = bool
    """Whether some write is refused, so that what should follow from a record may be late."""
    records: dict[str, Record] = field(default_factory=dict)
    before: dict[str, dict[str, Seen]] = field(default_factory=dict)
    """By candidate what had become of each revision's requests when its rollout began."""
    tampered: set[str] = field(default_factory=set)
    """Revisions whose ledger another hand has changed, or could not be written."""
    highest: dict[str, int] = field(default_factory=dict)
    """By revision the largest weight that routers were told while nothing was paused."""
    said: dict[str, list[float]] = field(default_factory=dict)
    """By candidate the counts that status has told."""
    _heard: int = 0

    def __post_init__(self) -> None:
        self.world.client.after.append(self.judge)
        self.world.after_pass.append(self.what_is_rolled_back_gets_no_requests)

    def judge(self, write: Write) -> None:
        """One write, once it is made."""
        stream = self.world.api.streams[CONTROLLER_REVISIONS]
        news, self._heard = stream[self._heard :], len(stream)
        for one in news:
            name = one.obj["metadata"]["name"]
            before = self.records.pop(name, None)
            if one.type != "DELETED":
                now = Record(name, one.obj["data"]["version"], one.obj["metadata"].get("annotations") or {})
                paused = self.paused()
                self.records[name] = now
                self._recorded(before, now, paused=paused)
        if write.resource is MODEL_DEPLOYMENTS:
            self._told(write.body)
        if write.resource is CONFIG_MAPS:
            self._given()

    def paused(self) -> bool:
        """Whether spec or a command holds everything."""
        spec = self.world.spec
        held = any(record.command.get("paused") for record in self.records.values())
        return bool(spec.get("paused") or spec.get("suspend") or held)

    # --- records

    def _recorded(self, before: Record | None, now: Record, *, paused: bool) -> None:
        if before is None:
            self._begun(now)
            return
        if paused and self.paused():
            place = [one.rollout.get("step", 0) for one in (before, now)]
            assert place[0] == place[1], f"{now.name} goes a step further in a pause: {self.world.describe()}"
        if before.outcome == "RolledBack":
            self._stays_so(before, now)
        elif now.outcome == "RolledBack":
            self._rolled_back(before, now)
        if now.promoting != before.promoting:
            assert not paused, f"{now.name} is promoted in a pause: {self.world.describe()}"
            self._promoted(now, now.promoting)
        if now.outcome in ("Promoted", "RolledBack") and not before.outcome:
            self._decided_from(now)
        if now.outcome == "Promoted" != before.outcome:
            if now.rule.kind in (Kind.EVIDENCE, Kind.MAX_DURATION):
                assert before.promoting == now.rule, f"{now.name}: {before.promoting} became {now.rule}"
            self._promoted(now, now.rule)

    def _begun(self, now: Record) -> None:
        self.before[now.name] = {name: Seen(seen.requests, seen.failures) for name, seen in self.counting.seen.items()}
        asked = str(now.rollout.get("request", "")).partition(" ")[0]
        inputs = now.marks[names.ANNOTATION_INPUTS]
        same = [one for one in self.records.values() if one is not now and one.outcome == "RolledBack"]
        same = [one for one in same if one.marks[names.ANNOTATION_INPUTS] == inputs]
        assert not same or asked in ("retry", "restart"), f"{same[0].name} is tried again though nobody asked for it"

    def _stays_so(self, before: Record, now: Record) -> None:
        if now.outcome == "RolledBack":
            assert (now.rule, now.rollout) == (before.rule, before.rollout), f"{now.name} is decided again"
            return
        left = not self.world.spec["model"]["uri"].endswith(f"/{now.version}")
        retried = now.command.get("value", "").startswith("retry ") and now.command["result"] in ("Accepted", "Done")
        why = f"{now.name} was rolled back, and is {now.outcome or 'a candidate'} now: {self.world.describe()}"
        assert now.outcome == "Superseded", why
        assert left or retried, why

    def _rolled_back(self, before: Record, now: Record) -> None:
        who = f"{now.name}, rolled back by {now.rule}"
        if now.rule.kind is Kind.HARM:
            assert before.promoting.kind is not Kind.PERSON, f"{who}: a person had promoted it"
            seen, best = self.counting.seen[now.name], self._champion(now).best
            assert seen.requests > 0, f"{who}: nobody has asked it for anything"
            assert seen.worst > best, f"{who}: it was never worse than the champion"
            self._replayed(now, Call.ROLL_BACK, str(now.rule))
        if now.rule.kind is Kind.MAX_DURATION:
            self._in_time(now, "Rollback")

    def _promoted(self, now: Record, rule: Rule) -> None:
        who = f"{now.name}, promoted by {rule}"
        weighed = now.rollout.get("analysis", {}).get("metrics")
        if rule.kind is Kind.STEPS_COMPLETE:
            assert not weighed, f"{who}: evidence is asked for"
        if rule.kind is Kind.MAX_DURATION and not now.outcome:
            self._in_time(now, "Promote")
        if rule.kind is Kind.EVIDENCE:
            seen, worst = self._since(now.name, now.name), self._champion(now).worst
            assert seen.requests >= ENOUGH, f"{who}: it had {seen.requests:.0f} requests"
            assert self.counting.seen[now.name].best < max(3 * worst, 0.02), f"{who}: it was worse all the time"
            if not now.outcome:
                self._replayed(now, Call.PROMOTE, "evidence")

    def _in_time(self, now: Record, end: str) -> None:
        rollout = self.world.spec["rollout"]
        assert rollout.get("onInconclusive", "Rollback") == end, f"{now.name}: onInconclusive is no {end}"
        begun = datetime.fromisoformat(now.rollout["weighedAt"])
        over = begun + timedelta(seconds=parse_duration(rollout.get("maxDuration", "24h")))
        assert self.world.operators_time >= over, f"{now.name}: maxDuration is not over before {over}"

    def _replayed(self, now: Record, call: Call, rule: str) -> None:
        """The ledger stands before the decision, is the one that this was decided from, and says the same."""
        if now.name in self.tampered or (call is Call.ROLL_BACK and self.is_excused()):
            return  # harm waits for no ledger
        text = ledger_in(self.world.live(CONFIG_MAPS, names.ledger_name(now.name)))
        assert text, f"{now.name} was decided by evidence, and there is no ledger"
        found = decided(read(text), Circumstances(steps_over=True))
        assert (found.call, found.rule) == (call, rule), f"{now.name}: its ledger says {found.call}, {found.rule}"

    def _decided_from(self, now: Record) -> None:
        """Whatever decided: the ledger is the one of that moment, and the record has its digest."""
        recorded = now.marks.get(names.ANNOTATION_LEDGER)
        if recorded is None or now.name in self.tampered or self.is_excused():
            return
        text = ledger_in(self.world.live(CONFIG_MAPS, names.ledger_name(now.name)))
        assert recorded == digest(text, now.rollout["id"]), f"{now.name} was decided from another ledger"

    def _champion(self, candidate: Record) -> Seen:
        champions = [one for one in self.records.values() if one.outcome == "Promoted" and one.name != candidate.name]
        latest = max(champions, key=lambda one: str(one.marks[names.ANNOTATION_DECIDED_AT]))
        return self.counting.seen[latest.name]

    def _since(self, candidate: str, revision: str) -> Seen:
        """What has become of a revision's requests since the candidate's rollout began."""
        seen, before = self.counting.seen[revision], self.before[candidate].get(revision, Seen())
        return Seen(seen.requests - before.requests, seen.failures - before.failures)

    # --- status

    def _told(self, status: Object) -> None:
        told: Object = status.get("rollout") or {}
        name = str(told.get("id", "")).rpartition("-")[0]
        record = self.records.get(name)
        if record is None:
            return
        decision = told.get("decision")
        if decision and record.outcome in ("Promoted", "RolledBack"):
            assert (decision["verdict"], decision["rule"]) == (record.outcome, str(record.rule)), (
                f"status tells {decision}, the record of {name} {record.outcome} by {record.rule}"
            )
        counted: list[float] = []
        for metric in told.get("metrics", []):
            for arm, revision in (("champion", self._other(status, name)), ("candidate", name)):
                told_so = metric[arm]
                seen = self._since(name, revision)
                limits = {"n": seen.requests, "events": seen.failures}
                for count, limit in limits.items():
                    # Counters are whole numbers; a metric of Prometheus' is frozen by what there was before, not more.
                    assert told_so[count] <= limit + 2, f"{metric['name']}: {told_so} of {revision}, which had {seen}"
                counted.append(told_so["n"])
        if self.is_excused():
            self.said.pop(name, None)  # status tells more than the ledger that is refused
        elif counted and name not in self.tampered:
            known = self.said.setdefault(name, counted)
            fewer = len(known) == len(counted) and any(now < then for now, then in zip(counted, known, strict=True))
            assert not fewer, f"{name}: what was counted is lost: {known}, and then {counted}"
            self.said[name] = counted

    def _other(self, status: Object, candidate: str) -> str:
        """Whom the candidate is compared with: before its promotion the champion, after it that one's predecessor."""
        for role in ("champion", "previous"):
            found = str((status.get(role) or {}).get("revision", ""))
            if found and found != candidate:
                return found
        promoted = [one for one in self.records.values() if one.outcome == "Promoted" and one.name != candidate]
        return max(promoted, key=lambda one: str(one.marks[names.ANNOTATION_DECIDED_AT])).name

    # --- weights

    def _given(self) -> None:
        weights = given(self.world)
        champions = {one.name for one in self.records.values() if one.outcome == "Promoted"}
        for name, weight in weights.items():
            if not self.paused():
                self.highest[name] = max(weight, self.highest.get(name, 0))
            elif name not in champions:
                # A step that had begun may still be put into effect: its pods became ready in the pause.
                most = max(self.highest.get(name, 0), self.records[name].weight)
                assert weight <= most, f"{name} gets {weight} in a pause, and not {most}: {self.world.describe()}"

    def what_is_rolled_back_gets_no_requests(self) -> None:
        """From the pass of the decision on: the routers are told so in it."""
        if not is_routed(self.world) or self.is_excused() or self.paused():
            return
        weights = given(self.world)
        lost = [one for one in self.records.values() if one.outcome == "RolledBack" and weights.get(one.name)]
        assert not lost, f"{lost[0].name} still gets {weights}: {self.world.describe()}"
