"""The durable record of a revision: what it says, and what follows where it cannot be read."""

import json
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from podium.rollout.record import CommandRecord, CommandResult, Outcome, Record, RolloutRecord
from podium.rollout.steps import Step
from tests.integration.rollouts.junk_texts import spoilt
from tests.unit.planner.given import BLUE_GREEN, MANUAL, rolled_back, serving, switched, updating
from tests.unit.planner.world import NAME, NAMESPACE, START, World, model

ROLLOUT = RolloutRecord(
    id="r",
    started_at=START,
    strategy="BlueGreen",
    size=3,
    surge=1,
    unavailable=2,
    min_ready_seconds=7,
    request="retry x t",
    started_by="podium-a",
    available_at=START,
    held=timedelta(seconds=90.5),
    held_since=START,
    suspended_since=START,
    steps=(Step(5, timedelta(seconds=0.5)), Step(), Step(50)),
    step=2,
    stepped_at=START,
    applied_at=START,
    stood=timedelta(seconds=4),
    stood_since=START,
    promoting="person",
)
COMMAND = CommandRecord("pause x t", START, CommandResult.DONE, "said", owed="retry x s", paused=True)
RECORD = Record("in", ROLLOUT, COMMAND, Outcome.ROLLED_BACK, "deadline", "why", START)
STEPS: list[Object] = [{"weight": 20, "for": "20s"}, {"weight": 50, "for": "20s"}]
BEYOND = ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00")
"""Times that nothing can be added to, or that cannot be told in another zone, or in four digits."""
BROKEN = {
    names.ANNOTATION_ROLLOUT: [
        "{",
        "[]",
        "7",
        '{"id": "x"}',
        '{"id": 1}',
        "[" * 5000,
        ROLLOUT.to_json().replace("3", '"x"'),
        *(
            json.dumps(json.loads(ROLLOUT.to_json()) | {field: value})
            for field, values in {
                "steps": [5, "5", {}, [5], [{}], [{"weight": 0}], [{"weight": 100}], [{"weight": True}]],
                "step": [-1, 4, 1.5, "1", None],
                "appliedAt": [7, "soon"],
                "stood": [-1, "1"],
                "promoting": [True, [], "\ud800", "x" * 1025],
                "id": ["\udcff", "x" * 254],
                "strategy": ["x" * 65],
                "startedAt": ["0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"],
            }.items()
            for value in values
        ),
        json.dumps(json.loads(ROLLOUT.to_json()) | {"steps": [{"weight": 5, "holds": -1}, {"pause": True}]}),
    ],
    names.ANNOTATION_COMMAND: [
        "{",
        "[]",
        '{"value": 1}',
        COMMAND.to_json().replace("Done", "Perhaps"),
        COMMAND.to_json().replace("said", "\\ud800"),
        COMMAND.to_json().replace("said", "x" * 40_000),
        COMMAND.to_json().replace("pause x t", "pause x " + "t" * 5000),
    ],
    names.ANNOTATION_RULE: ["x" * 1025],
    names.ANNOTATION_OUTCOME: ["Promted", "promoted", "Analysed"],
    names.ANNOTATION_DECIDED_AT: ["yesterday", "2030-01-01", "2030-01-01T00:00:00", *BEYOND],
}
EACH = [(annotation, text) for annotation, texts in BROKEN.items() for text in texts]


def test_a_record_is_what_its_annotations_say() -> None:
    assert Record.from_annotations(RECORD.to_annotations()) == (RECORD, {})
    assert Record.from_annotations(Record().to_annotations()) == (Record(), {})


@pytest.mark.parametrize(("annotation", "text"), EACH)
def test_what_cannot_be_read_is_named_and_the_rest_is_read(annotation: str, text: str) -> None:
    record, broken = Record.from_annotations(RECORD.to_annotations() | {annotation: text})
    (name,) = broken
    assert record.to_annotations() == {k: v for k, v in RECORD.to_annotations().items() if k != annotation}
    assert not getattr(record, name)


def test_what_another_version_wrote_beside_it_stays() -> None:
    text = json.dumps(json.loads(ROLLOUT.to_json()) | {"evidence": [5, 25]})
    record, broken = Record.from_annotations({names.ANNOTATION_ROLLOUT: text})
    assert not broken
    assert json.loads(record.to_annotations()[names.ANNOTATION_ROLLOUT])["evidence"] == [5, 25]


# --- in the world


def annotate(world: World, revision: str, annotation: str, text: str) -> Callable[[], None]:
    """Somebody changes the annotation; answers how to put it back."""
    before = world.annotations(revision)[annotation]

    def change(to: str) -> None:
        world.change(CONTROLLER_REVISIONS, revision, lambda o: o["metadata"]["annotations"].update({annotation: to}))

    change(text)
    return lambda: change(before)


def records(world: World) -> dict[str, Object]:
    return {r["metadata"]["name"]: r["metadata"]["annotations"] for r in world.api.all(CONTROLLER_REVISIONS)}


@pytest.mark.parametrize(("annotation", "text"), [case for case in EACH if case[0] != names.ANNOTATION_COMMAND])
def test_an_old_revision_is_set_aside_and_everything_goes_on(annotation: str, text: str) -> None:
    world = updating(replicas=2)
    world.rest()
    old = world.revision("1")
    annotate(world, old, annotation, text)
    world.edit(model=model("3"))
    world.rest()
    assert world.status["champion"]["version"] == "3"
    assert world.condition("Ready") == ("True", "Serving")
    if annotation != names.ANNOTATION_ROLLOUT:  # which nobody needs of a decided one
        assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
        assert old in world.message("RecordUnreadable")
        assert annotation in world.message("RecordUnreadable")


@pytest.mark.parametrize(("annotation", "text"), EACH)
def test_a_champion_is_repaired_and_scaled_whatever_of_its_record_cannot_be_read(annotation: str, text: str) -> None:
    world = updating(replicas=2)
    world.rest()
    two = world.revision("2")
    if annotation == names.ANNOTATION_COMMAND:
        world.command("pause", two)
        world.advance(2)
        world.command("resume", two)
        world.advance(2)
    put_back = annotate(world, two, annotation, text)
    world.advance(30)
    assert world.condition("RecordUnreadable") is not None or annotation == names.ANNOTATION_ROLLOUT
    world.api.delete(DEPLOYMENTS, NAMESPACE, two)
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.edit(replicas=3)
    world.advance(60)
    assert world.status["champion"]["revision"] == two
    assert (world.replicas(two), len(world.ready_pods(two))) == (3, 3)
    assert world.backends() == {two}
    assert world.replicas(world.revision("1")) is None
    put_back()
    world.rest()
    assert world.condition("RecordUnreadable") is None
    assert world.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
@pytest.mark.parametrize("text", [*BROKEN[names.ANNOTATION_ROLLOUT], ROLLOUT.to_json().replace("BlueGreen", "Shadow")])
def test_a_candidate_is_neither_promoted_nor_shrunk_nor_rolled_back_until_its_record_is_mended(
    rollout: Object, text: str
) -> None:
    world = updating(replicas=4, rollout=rollout)
    one, two = world.revision("1"), world.revision("2")
    world.advance(10)
    had = world.replicas(two) or 0
    put_back = annotate(world, two, names.ANNOTATION_ROLLOUT, text)
    before = records(world)
    world.advance(5)
    pod = world.pods(one, terminating=False)[0]
    world.cluster.stop(pod)
    world.edit(replicas=5)
    world.advance(900)
    assert records(world) == before
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    assert world.replicas(two) == had
    assert len(world.ready_pods(one)) == 5
    put_back()
    world.edit(replicas=4, rollout={**world.spec["rollout"], "progressDeadline": "1h"})
    world.rest()
    assert world.status["champion"]["version"] == "2"


@pytest.mark.parametrize(
    ("frozen", "spec", "previews"), [(MANUAL, {}, True), ({}, BLUE_GREEN, False)], ids=["BlueGreen", "RollingUpdate"]
)
def test_until_a_record_is_mended_a_rollout_keeps_the_preview_of_its_own_strategy_whatever_spec_says_by_then(
    frozen: Object, spec: Object, previews: bool
) -> None:
    world = updating(replicas=4)
    world.rest()
    world.edit(model=model("3"), rollout=frozen)
    world.advance(3)
    annotate(world, world.revision("1"), names.ANNOTATION_OUTCOME, "?")
    world.edit(model=model("1"), rollout=spec)
    world.advance(10)
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
    three = world.revision("3")
    assert world.outcome(three) == ""
    selector = world.selector(f"{NAME}-preview")
    assert (selector or {}).get(names.LABEL_REVISION) == (three if previews else None)


def test_a_champion_that_is_down_gives_way_to_a_candidate_of_which_the_record_cannot_be_read() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.phase == "Paused")
    annotate(world, two, names.ANNOTATION_ROLLOUT, "{")
    world.advance(5)
    world.behave("1", ready_after=None)
    for pod in world.pods(one):
        world.behave(pod["metadata"]["name"], ready_after=None)
    world.advance(120)
    assert (world.outcome(two), world.rule(two)) == ("Promoted", "champion-down")
    assert world.backends() == {two}


@pytest.mark.parametrize("rule", ["verify: " + "x" * 60, "a-rule-of-the-future-" * 20])
def test_a_rule_that_another_version_wrote_fits_into_status_whatever_its_length(rule: str) -> None:
    world = rolled_back(replicas=2)
    two = world.revision("2")
    annotate(world, two, names.ANNOTATION_RULE, rule)
    world.advance(5)
    told = world.status["rollout"]["decision"]
    assert told["rule"] == rule
    assert told["by"] == ("verify" if rule.startswith("verify") else rule[:64])


@pytest.mark.parametrize("text", BROKEN[names.ANNOTATION_OUTCOME])
def test_what_was_rolled_back_is_not_rolled_out_again_though_its_outcome_cannot_be_read(text: str) -> None:
    world = rolled_back(replicas=2)
    annotate(world, world.revision("2"), names.ANNOTATION_OUTCOME, text)
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2
    assert world.backends() == {world.revision("1")}
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    world.edit(model=model("3"))
    world.rest()
    assert world.status["champion"]["version"] == "3"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("annotation", [names.ANNOTATION_ROLLOUT, names.ANNOTATION_COMMAND])
def test_a_record_with_one_wrong_place_ends_no_pass_and_once_put_back_all_is_well(annotation: str, seed: int) -> None:
    chance = random.Random(seed)
    world = updating(
        replicas=2,
        rollout={
            "strategy": "Canary",
            "steps": [{"weight": 20, "for": "20s"}, {"weight": 50, "for": "20s"}],
            "analysis": {"metrics": []},
        },
    )
    for revision in (world.revision("1"), world.revision("2")):
        world.command("pause", revision, f"{revision}-1")
        world.advance(3)
        world.command("resume", revision, f"{revision}-2")
        world.advance(3)
    for revision in (world.revision("1"), world.revision("2")):
        for _ in range(4):
            text = world.annotations(revision).get(annotation)
            if text is not None:
                put_back = annotate(world, revision, annotation, spoilt(json.loads(text), chance))
                world.advance(20)
                put_back()
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_an_outcome_that_a_person_wrote_on_a_candidate_is_none() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    two = world.revision("2")
    world.change(
        CONTROLLER_REVISIONS, two, lambda o: o["metadata"]["annotations"].update({names.ANNOTATION_OUTCOME: "Yes"})
    )
    world.advance(900)
    assert world.backends() == {world.revision("1")}
    assert world.replicas(two) == 2
    assert world.condition("Ready") == ("False", "RecordUnreadable")


@pytest.mark.parametrize(
    "annotation", [names.ANNOTATION_OUTCOME, names.ANNOTATION_DECIDED_AT, names.ANNOTATION_ROLLOUT]
)
@pytest.mark.parametrize("of", ["1", "2"])
def test_in_the_warm_window_nobody_loses_the_traffic(of: str, annotation: str) -> None:
    world = switched(replicas=2)
    two = world.revision("2")
    put_back = annotate(world, world.revision(of), annotation, "?")
    world.advance(400)
    assert world.backends() == {two}
    put_back()
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "2"


def test_a_command_that_cannot_be_read_may_be_a_pause_and_is_not_acted_on_again() -> None:
    world = serving(replicas=1)
    one = world.revision("1")
    world.command("restart", one)
    world.rest()
    annotate(world, one, names.ANNOTATION_COMMAND, "{")
    world.lose_status()
    world.edit(model=model("2"))
    world.advance(60)
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2 + 1


# --- the environment


def webhook(world: World) -> None:
    world.cluster.refused = 'Internal error occurred: failed calling webhook "policy.example.com": connection refused'


def test_time_in_which_the_cluster_takes_no_pods_does_not_count_against_the_deadline() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    webhook(world)
    world.edit(model=model("2"))
    world.advance(900)
    two = world.revision("2")
    assert world.outcome(two) == ""
    assert world.condition("Ready") == ("False", "Environment")
    assert "failed calling webhook" in world.message()
    assert "heldSince" in json.loads(world.annotations(two)[names.ANNOTATION_ROLLOUT])
    world.cluster.refused = ""
    world.until(lambda: world.outcome(two) != "", within=60)
    assert world.outcome(two) == "Promoted"
    assert 890 < json.loads(world.annotations(two)[names.ANNOTATION_ROLLOUT])["held"] < 910


def test_once_it_takes_them_again_the_deadline_is_what_was_left_of_it() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.behave("2", ready_after=None)
    webhook(world)
    world.edit(model=model("2"))
    world.advance(300)
    two = world.revision("2")
    shown = world.status["rollout"]["deadline"]
    world.cluster.refused = ""
    world.advance(10)
    assert world.status["rollout"]["deadline"] > shown
    world.advance(40)
    assert world.outcome(two) == ""
    world.advance(20)
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")


def test_a_policy_that_says_no_is_the_candidates_fault_at_its_deadline() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.cluster.refused = 'admission webhook "policy.example.com" denied the request: image not allowed'
    world.edit(model=model("2"))
    world.advance(90)
    two = world.revision("2")
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")
    assert "image not allowed" in world.annotations(two)[names.ANNOTATION_CAUSE]
