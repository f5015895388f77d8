"""A canary that goes by what its callers see: promoted by evidence, rolled back by evidence, on a real cluster."""

from dataclasses import dataclass, field
from datetime import datetime

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import decided, read, replay
from podium.api import names
from podium.rollout.wire import parse_time
from tests import stage as s
from tests.canaries import until_routed
from tests.client import Object
from tests.e2e.world import World, scene
from tests.load import Counts, Load
from tests.models.digits import FAILING, HOPELESS, RENAMED

NAME = "weighed"
STEPS: list[Object] = [{"weight": 25, "for": "5s"}, {"weight": 50, "for": "5s"}]
RATE = 200
ANALYSIS: Object = {
    "interval": "1s",
    "warmUp": "5s",
    # What a busy node of two cores does to latencies of two pods is no fault of a model's.
    "metrics": [
        {"name": "errors", "type": "ErrorRate"},
        {"name": "rejections", "type": "Rejections"},
        {"name": "abandoned", "type": "Abandoned"},
    ],
}
ROLLOUT: Object = {
    "strategy": "Canary",
    "steps": STEPS,
    "analysis": ANALYSIS,
    "minReadySeconds": 1,
    "scaleDownDelay": "0s",
}
BY_DEFAULT: Object = {key: value for key, value in ROLLOUT.items() if key not in ("steps", "analysis")}
SLOW_RATE = 100
"""Requests a second with the default steps and analysis."""


@dataclass
class Ended:
    """One rollout at its end."""

    obj: Object
    ledger: str
    counts: Counts
    """What callers saw from its beginning on."""
    candidate: str
    decided_at: float
    """Seconds since 1970, by the operator's clock."""


@dataclass
class Weighed:
    """Rollouts by name."""

    ends: dict[str, Ended] = field(default_factory=dict)


def model(version: str, file: str) -> Object:
    rollout = BY_DEFAULT if file == HOPELESS else ROLLOUT
    return s.onnx(NAME, version, file=file, replicas=1, traffic={"router": "Envoy"}, rollout=rollout)


@scene
def weighed(world: World) -> Weighed:
    """A good version 2; then one that fails on 3 % of what it is asked; one that refuses what the champion takes.

    At last, with the default steps and analysis, one that fails on everything.
    """
    stage, seen = world.stage("e2e-evidence"), Weighed()
    stage.apply(model("1", "1"))
    stage.until_ready(NAME, "1")
    until_routed(stage, NAME)

    def ends(load: Load, name: str, version: str, file: str, verdict: str) -> None:
        before = load.await_answers(1)
        stage.apply(model(version, file))

        def over(obj: Object) -> bool:
            status = obj["status"]
            decision = (status.get("rollout") or {}).get("decision") or {}
            latest = (status.get("history") or [{}])[0].get("version")
            ended = status["phase"] in ("Healthy", "RolledBack") and decision.get("verdict") == verdict
            return ended and latest == version

        obj = stage.until(NAME, f"{version} {verdict}", over, 300)
        candidate = obj["status"]["history"][0]["revision"]
        kept = stage.client.get("ConfigMap", stage.namespace, f"{candidate}-ledger")
        record = stage.client.get("ControllerRevision", stage.namespace, candidate)["metadata"]["annotations"]
        decided_at = parse_time(record[names.ANNOTATION_DECIDED_AT]).timestamp()
        after = load.await_answers(RATE)
        seen.ends[name] = Ended(obj, kept["data"]["ledger"], after.since(before), candidate, decided_at)

    with world.load_turn, stage.load(NAME, world.digits.questions(), rate=RATE) as load:
        load.await_answers(5 * RATE)
        ends(load, "good", "2", "2", "Promoted")
        ends(load, "failing", "3", FAILING, "RolledBack")
        ends(load, "refusing", "4", RENAMED, "RolledBack")
    with world.load_turn, stage.load(NAME, world.digits.questions(), rate=SLOW_RATE) as load:
        load.await_answers(5 * SLOW_RATE)
        ends(load, "hopeless", "5", HOPELESS, "RolledBack")
    return seen


@scene
def watched(world: World) -> Object:
    """A RollingUpdate without a router to a version that fails on 3 % of what it is asked."""
    stage, name = world.stage("e2e-safety"), "watched"
    errors = {"interval": "1s", "metrics": [{"name": "errors", "type": "ErrorRate"}]}
    stage.apply(s.onnx(name, "1", replicas=1, rollout={"minReadySeconds": 1}))
    stage.until_ready(name, "1")
    with world.load_turn, stage.load(name, world.digits.questions(), rate=RATE) as load:
        load.await_answers(RATE)
        # For as long as the new pod ripens, both are asked: half of the callers make a new connection each.
        stage.apply(s.onnx(name, "2", file=FAILING, replicas=1, rollout={"minReadySeconds": 60, "analysis": errors}))
        return stage.until(name, "2 is rolled back", lambda obj: obj["status"]["phase"] == "RolledBack", 180)


def decision(ended: Ended) -> tuple[str, str]:
    found = ended.obj["status"]["rollout"]["decision"]
    return found["verdict"], found["rule"]


def test_a_good_version_is_promoted_by_evidence_without_a_failed_request(weighed: Weighed) -> None:
    good = weighed.ends["good"]

    assert decision(good) == ("Promoted", "evidence")
    assert not good.counts.failed, str(good.counts)


def test_a_version_that_fails_on_3_percent_is_rolled_back_by_evidence(weighed: Weighed) -> None:
    failing = weighed.ends["failing"]

    assert decision(failing) == ("RolledBack", "harm: errors")
    assert "of its answers failed" in failing.obj["status"]["message"]


def test_a_version_that_refuses_what_the_champion_takes_is_rolled_back_by_evidence(weighed: Weighed) -> None:
    assert decision(weighed.ends["refusing"]) == ("RolledBack", "harm: rejections")


def test_what_a_bad_version_costs_is_what_it_answered_wrongly_and_no_more(weighed: Weighed) -> None:
    for name in ("failing", "refusing"):
        ended = weighed.ends[name]
        counted = replay(read(ended.ledger)).counted  # a decision may come before there is a checkpoint
        wrong = counted["5xx"][1] + counted["4xx"][1]

        assert ended.counts.failed >= wrong > 0, f"{name}: {ended.counts}, counted {counted}"
        assert list(ended.counts.failures) == [f"status {500 if name == 'failing' else 400}"], str(ended.counts)


def test_a_version_that_fails_always_is_gone_10_seconds_after_its_first_bad_answer(weighed: Weighed) -> None:
    for name, rule in (("refusing", "harm: rejections"), ("hopeless", "harm: errors")):
        ended = weighed.ends[name]

        assert decision(ended) == ("RolledBack", rule)
        assert 0 < ended.counts.failed_for <= 10, f"{name}: {ended.counts.failed_for} s: {ended.counts}"


def test_within_a_second_of_the_decision_no_caller_reaches_the_bad_version_any_more(weighed: Weighed) -> None:
    for name in ("failing", "refusing", "hopeless"):
        ended = weighed.ends[name]
        late = ended.counts.last_failure - ended.decided_at

        assert late <= 1, f"{name}: the last bad answer came {late:.1f} s after the decision; {ended.counts}"


def test_the_ledger_replayed_gives_the_decision_that_was_made(weighed: Weighed) -> None:
    for ended in weighed.ends.values():
        given = Call.PROMOTE if decision(ended)[0] == "Promoted" else Call.ROLL_BACK

        assert decided(read(ended.ledger), Circumstances(steps_over=True)).call is given


def test_each_rollout_ended_within_three_minutes(weighed: Weighed) -> None:
    for ended in weighed.ends.values():
        rollout = ended.obj["status"]["rollout"]
        began, at = (datetime.fromisoformat(text) for text in (rollout["startedAt"], rollout["decision"]["at"]))

        assert (at - began).total_seconds() < 180


def test_without_a_router_a_version_that_fails_is_rolled_back_by_what_its_pods_count(watched: Object) -> None:
    assert watched["status"]["rollout"]["decision"]["rule"] == "harm: errors"
    assert watched["status"]["champion"]["version"] == "1"
    assert "of 400 (approximate: errors counted at the pods)" in watched["status"]["message"]
