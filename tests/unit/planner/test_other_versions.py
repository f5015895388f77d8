"""A rollout under way that another version of Podium began: docs/install.md, "A rollout that is under way"."""

import json
from collections.abc import Callable
from typing import Any

from podium.analysis.ledger import digest, read
from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS
from tests.unit.planner.given import updating
from tests.unit.planner.test_canary import two
from tests.unit.planner.weighed import outcome, stored, weighing
from tests.unit.planner.world import World


def rewritten(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """The ledger as a Podium writes it whose format is another one: its digest is right."""
    record = world.need(CONTROLLER_REVISIONS, two(world))["metadata"]["annotations"][names.ANNOTATION_ROLLOUT]

    def write(ledger: Object) -> None:
        content = json.loads(ledger["data"]["ledger"])
        change(content)
        text = json.dumps(content)
        ledger["data"]["ledger"] = text
        ledger["metadata"]["annotations"][names.ANNOTATION_LEDGER] = digest(text, json.loads(record)["id"])

    world.change(CONFIG_MAPS, f"{two(world)}-ledger", write)


def test_evidence_of_another_format_starts_again_and_the_condition_says_so() -> None:
    world = weighing()
    rewritten(world, lambda ledger: ledger.update(version=2))

    world.hand_over()
    begun = world.now.timestamp()
    world.step()

    assert world.condition("LedgerChanged") == ("True", "LedgerChanged")
    assert "version 2" in world.message("LedgerChanged")
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert read(stored(world)).plan.started_at >= begun


def test_evidence_with_a_field_more_is_continued() -> None:
    world = weighing()
    began = read(stored(world)).plan.started_at
    rewritten(world, lambda ledger: ledger.update(segments=["gold"]))

    world.hand_over()
    world.step()

    assert world.condition("LedgerChanged") is None
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert read(stored(world)).plan.started_at == began


def test_beside_a_strategy_that_is_not_known_the_champion_serves_and_nothing_is_decided() -> None:
    world = updating(replicas=2)
    candidate = world.revision("2")

    def newer(record: Object) -> None:
        content = json.loads(record["metadata"]["annotations"][names.ANNOTATION_ROLLOUT])
        record["metadata"]["annotations"][names.ANNOTATION_ROLLOUT] = json.dumps(content | {"strategy": "ABTest"})

    world.change(CONTROLLER_REVISIONS, candidate, newer)

    world.hand_over()
    world.advance(3600)

    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
    assert names.ANNOTATION_ROLLOUT in world.message("RecordUnreadable")
    assert not world.outcome(candidate)
    assert len(world.ready_pods(world.revision("1"))) == 2
