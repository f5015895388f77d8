"""A canary that goes by what its callers see: promoted by evidence, rolled back by evidence, on a real cluster."""

from dataclasses import dataclass, field
from datetime import datetime

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import read, replay, verdict
from tests import stage as s
from tests.canaries import until_routed
from tests.client import Object
from tests.e2e.world import World, scene
from tests.load import Counts
from tests.models.digits import FAILING, RENAMED

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


@dataclass
class Ended:
    """One rollout at its end."""

    obj: Object
    ledger: str
    counts: Counts
    """What callers saw from its beginning on."""
    candidate: str


@dataclass
class Weighed:
    """Rollouts by name."""

    ends: dict[str, Ended] = field(default_factory=dict)


def model(version: str, file: str) -> Object:
    return s.onnx(NAME, version, file=file, replicas=1, traffic={"router": "Envoy"}, rollout=ROLLOUT)


@scene
def weighed(world: World) -> Weighed:
    """A good version 2; one that fails on 3 % of what it is asked; one that refuses what the champion takes."""
    stage, seen = world.stage("e2e-evidence"), Weighed()
    stage.apply(model("1", "1"))
    stage.until_ready(NAME, "1")
    until_routed(stage, NAME)

    def ends(name: str, version: str, file: str, verdict: str) -> None:
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
        after = load.await_answers(RATE)
        seen.ends[name] = Ended(obj, kept["data"]["ledger"], after.since(before), candidate)

    with world.load_turn, stage.load(NAME, world.digits.questions(), rate=RATE) as load:
        load.await_answers(5 * RATE)
        ends("good", "2", "2", "Promoted")
        ends("failing", "3", FAILING, "RolledBack")
        ends("refusing", "4", RENAMED, "RolledBack")
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
        counted = replay(read(ended.ledger)).counted  # a verdict may come before there is a checkpoint
        wrong = counted["5xx"][1] + counted["4xx"][1]

        assert ended.counts.failed >= wrong > 0, f"{name}: {ended.counts}, counted {counted}"
        assert list(ended.counts.failures) == [f"status {500 if name == 'failing' else 400}"], str(ended.counts)


def test_a_version_that_fails_always_is_gone_10_seconds_after_its_first_bad_answer(weighed: Weighed) -> None:
    counts = weighed.ends["refusing"].counts

    assert 0 < counts.failed_for <= 10, f"{counts.failed_for} s: {counts}"


def test_the_ledger_replayed_gives_the_verdict_that_was_given(weighed: Weighed) -> None:
    for ended in weighed.ends.values():
        given = Call.PROMOTE if decision(ended)[0] == "Promoted" else Call.ROLL_BACK

        assert verdict(read(ended.ledger), Circumstances(steps_over=True)).call is given


def test_each_rollout_ended_within_three_minutes(weighed: Weighed) -> None:
    for ended in weighed.ends.values():
        rollout = ended.obj["status"]["rollout"]
        began, at = (datetime.fromisoformat(text) for text in (rollout["startedAt"], rollout["decision"]["at"]))

        assert (at - began).total_seconds() < 180


def test_without_a_router_a_version_that_fails_is_rolled_back_by_what_its_pods_count(watched: Object) -> None:
    assert watched["status"]["rollout"]["decision"]["rule"] == "harm: errors"
    assert watched["status"]["champion"]["version"] == "1"
    assert "of 400 (approximate: errors counted at the pods)" in watched["status"]["message"]
