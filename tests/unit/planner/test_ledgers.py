"""Ledgers: what a decision was made from is written before it, and another hand changes nothing."""

import json
from collections.abc import Callable
from contextlib import closing

import pytest

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import Ledger, decided, digest, read, replay
from podium.api import names
from podium.kube.client import ApiError, Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, Resource
from podium.manifests.fetch import Fetcher
from podium.manifests.ledger import ledger_in
from podium.reconcile.observe import Observer
from podium.rollout.moment import Moment
from tests.unit.planner import apiserver
from tests.unit.planner.counting import Counting
from tests.unit.planner.test_canary import record, two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.weighed import (
    ALIKE,
    ALL_FAIL,
    is_decided_from,
    outcome,
    stored,
    until_weighed,
    weighed,
    weighing,
)
from tests.unit.planner.world import KEY, NAMESPACE


def edited(ledger: Object) -> None:
    """A person makes the evidence stronger than it is."""
    text = json.loads(ledger["data"]["ledger"])
    text["checkpoint"]["counted"]["finished"] = [10**6, 10**6]
    ledger["data"]["ledger"] = json.dumps(text)


def broken(ledger: Object) -> None:
    """A person takes away what decisions are made from."""
    text = json.loads(ledger["data"]["ledger"])
    text["checkpoint"]["metrics"]["errors"]["starts"] = []
    ledger["data"]["ledger"] = json.dumps(text)


def unsealed(ledger: Object) -> None:
    """Somebody takes the digest away."""
    del ledger["metadata"]["annotations"][names.ANNOTATION_LEDGER]


def restored_of_another(ledger: Object) -> None:
    """A backup brings the ledger of another rollout."""
    ledger["metadata"]["annotations"][names.ANNOTATION_LEDGER] = digest(ledger["data"]["ledger"], "another")


@pytest.mark.parametrize("change", [edited, broken, unsealed, restored_of_another])
def test_a_new_operator_goes_on_from_no_ledger_that_another_hand_changed(change: Callable[[Object], None]) -> None:
    world = weighing()
    world.change(CONFIG_MAPS, f"{two(world)}-ledger", change)
    world.hand_over()
    begun = world.now.timestamp()
    world.step()
    assert world.condition("LedgerChanged") == ("True", "LedgerChanged")
    assert "Evidence starts again from the beginning." in world.message("LedgerChanged")
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert read(stored(world)).plan.started_at >= begun
    assert len(world.events("LedgerChanged")) == 1


def test_a_ledger_that_the_cache_left_out_is_read_again_where_its_outcome_is_taken_away() -> None:
    world = weighed(candidate=ALL_FAIL)
    world.until(lambda: world.phase == "RolledBack")
    ledger, before = f"{two(world)}-ledger", stored(world)
    assert ledger_in(world.cache.get(CONFIG_MAPS, NAMESPACE, ledger)) == ""
    decided = (names.ANNOTATION_OUTCOME, names.ANNOTATION_RULE, names.ANNOTATION_DECIDED_AT, names.ANNOTATION_LEDGER)
    world.hand_over()
    world.change(
        CONTROLLER_REVISIONS, two(world), lambda obj: [obj["metadata"]["annotations"].pop(name) for name in decided]
    )
    calls = len(world.client.calls)
    world.after_pass.clear()  # the pass after it takes the figures out of status, as for any rollout of the past
    world.step()
    made = [str(call) for call in world.client.calls[calls:]]
    assert f"get ConfigMap {ledger}" in made
    assert stored(world) == before, "another hand changed nothing of it"
    assert outcome(world) == ("RolledBack", "harm: errors"), "it is decided again from what was counted"


def test_a_new_operator_parses_a_ledger_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = weighed()
    until_weighed(world)
    parsed: list[str] = []

    def counted(text: str, *of: str) -> Ledger:
        parsed.append(text)
        return read(text, *of)

    monkeypatch.setattr("podium.rollout.measuring.read", counted)
    nobody_measures = Observer(world.cache, world.settings, Fetcher(world.settings.fetcher_image), world.routers)
    for _ in range(3):
        nobody_measures.observe(KEY, Moment(world.now))
    assert parsed == [stored(world)]
    parsed.clear()
    world.after_pass.clear()  # they look for themselves
    world.restart_operator()
    for _ in range(3):
        world.reconcile()
    assert len(parsed) == 1


def test_what_another_hand_changes_under_an_operator_that_leads_is_put_back() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    before = stored(world)
    world.change(CONFIG_MAPS, f"{two(world)}-ledger", edited)
    world.step()
    assert stored(world) == before
    assert not world.condition("LedgerChanged")


def test_the_outcome_is_recorded_with_the_digest_of_the_ledger_that_it_came_from() -> None:
    world = weighed(candidate=ALL_FAIL)
    world.until(lambda: world.phase == "RolledBack")
    assert is_decided_from(world)


@pytest.mark.parametrize("fails", [ALIKE, ALL_FAIL])
def test_an_operator_that_is_killed_between_two_writes_is_no_other_hand(fails: float) -> None:
    world = weighed(candidate=fails, rate=2000.0)
    killed: set[str] = set()

    def kill(call: apiserver.Call) -> None:
        name = f"{call.verb} {call.resource.kind} {call.name}"
        if call.resource in (CONFIG_MAPS, CONTROLLER_REVISIONS) and name not in killed:
            killed.add(name)
            raise apiserver.Killed

    world.client.after.append(kill)
    world.until(lambda: bool(outcome(world)[0]))
    assert any("-ledger" in each for each in killed)
    assert not world.events("LedgerChanged")


def test_while_a_candidate_grows_no_older_ledger_is_put_back() -> None:
    world = weighed()
    with closing(Counting(world)) as counting:
        world.measuring = counting
        world.hand_over()
        until_weighed(world)
        world.advance(17)  # beyond the last checkpoint
        world.behave("2", ready_after=30.0)
        seen = len(world.api.streams[CONFIG_MAPS])
        world.command("promote", two(world))
        world.until(lambda: outcome(world) == ("Promoted", "person"))
    written = [each.obj for each in world.api.streams[CONFIG_MAPS][seen:]]
    ends = [replay(read(ledger_in(obj))).until for obj in written if obj["metadata"]["name"].endswith("-ledger")]
    assert len(ends) > 1
    assert ends == sorted(ends)


def refuse_ledgers(resource: Resource, obj: Object) -> None:
    if resource is CONFIG_MAPS and obj["metadata"]["name"].endswith(names.LEDGER_SUFFIX):
        raise ApiError(403, "Forbidden", "exceeded quota: count/configmaps")


def test_without_a_ledger_no_weight_is_given() -> None:
    world = weighed(rate=500.0)
    world.api.admit.append(refuse_ledgers)
    world.advance(120)
    assert shares(world)[1] == 0
    assert "exceeded quota" in world.status["message"]
    world.api.admit.clear()
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_a_ledger_that_is_refused_holds_the_steps_and_harm_rolls_back_all_the_same() -> None:
    world = weighed(rate=500.0)
    until_weighed(world)
    world.api.admit.append(refuse_ledgers)
    world.advance(300)
    assert record(world).get("step", 0) == 0
    assert "exceeded quota" in world.status["message"]
    world.measuring.callers.candidate = ALL_FAIL
    world.until(lambda: outcome(world) == ("RolledBack", "harm: errors"), within=60)
    assert shares(world)[1] == 0
    world.advance(600)
    world.api.admit.clear()
    world.until(lambda: is_decided_from(world))


def test_a_promotion_by_evidence_waits_for_its_ledger() -> None:
    world = weighed(rate=500.0)
    refused: list[str] = []

    def refuse_what_promotes(resource: Resource, obj: Object) -> None:
        text = ledger_in(obj) if resource is CONFIG_MAPS else ""
        if text and decided(read(text), Circumstances(steps_over=True)).call is Call.PROMOTE and len(refused) < 3:
            refused.append(text)
            assert not record(world).get("promoting")
            refuse_ledgers(resource, obj)

    world.api.admit.append(refuse_what_promotes)
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert len(refused) == 3
    assert is_decided_from(world)
