"""Commands: each verb done, refused with a sentence, acted on once, and not lost with status."""

import json
from typing import Any

import pytest

from podium.api import names
from podium.kube.resources import CONTROLLER_REVISIONS
from tests.unit.planner.given import BLUE_GREEN, MANUAL, created, rolled_back, serving, switched, updating
from tests.unit.planner.world import World, model


def _last(world: World) -> tuple[str, str]:
    found: dict[str, Any] = world.status.get("lastCommand") or {}
    return found.get("value", ""), found.get("result", "")


def _refused(world: World, verb: str, revision: str, token: str = "t1") -> str:
    """Send a command that must be refused; the sentence."""
    value = world.command(verb, revision, token)
    world.advance(3)
    assert _last(world) == (value, "Refused")
    sentence = str(world.status["lastCommand"]["message"])
    assert sentence in world.events("CommandRefused")
    return sentence


def _waiting(**spec: Any) -> World:
    world = updating(replicas=2, rollout=MANUAL, **spec)
    world.until(lambda: world.phase == "Paused")
    return world


# --- done


def test_promote_promotes_a_candidate_that_is_available_in_full() -> None:
    world = _waiting()
    value = world.command("promote", world.revision("2"))
    world.advance(3)
    assert world.rule(world.revision("2")) == "person"
    assert _last(world) == (value, "Done")


def test_abort_rolls_a_candidate_back() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    value = world.command("abort", two)
    world.rest()
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "person")
    assert world.phase == "RolledBack"
    assert _last(world) == (value, "Done")


def test_retry_starts_a_new_rollout_of_a_rolled_back_revision() -> None:
    world = rolled_back()
    old = world.revision("2")
    world.behave("2")
    value = world.command("retry", old)
    world.rest()
    assert world.revision("2") != old
    assert world.status["champion"]["revision"] == world.revision("2")
    assert world.outcome(old) == "Superseded"
    assert _last(world) == (value, "Done")


def test_restart_starts_a_rollout_of_the_champions_own_inputs_with_its_token_in_the_template() -> None:
    world = serving(replicas=2)
    old = world.revision("1")
    value = world.command("restart", old, "2030-01-01")
    world.rest()
    new = world.need(CONTROLLER_REVISIONS, world.revision("1"))
    assert new["metadata"]["name"] != old
    assert new["data"]["template"]["metadata"]["annotations"][names.ANNOTATION_RESTART] == "2030-01-01"
    assert world.status["champion"]["revision"] == new["metadata"]["name"]
    assert _last(world) == (value, "Done")


def test_pause_holds_the_candidate_and_resume_lets_it_go_on() -> None:
    world = updating(replicas=3)
    two = world.revision("2")
    world.command("pause", two, "1")
    world.advance(120)
    assert world.phase == "Paused"
    assert world.condition("Paused") == ("True", "PausedByCommand")
    assert world.replicas(two) == 1
    value = world.command("resume", two, "2")
    world.rest()
    assert world.outcome(two) == "Promoted"
    assert _last(world) == (value, "Done")


def test_pause_without_a_candidate_names_the_champion_and_no_rollout_starts() -> None:
    world = serving()
    one = world.revision("1")
    world.command("pause", one, "1")
    world.advance(3)
    world.edit(model=model("2"))
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 1
    world.command("resume", one, "2")
    world.rest()
    assert world.status["champion"]["version"] == "2"


# --- refused with a sentence


@pytest.mark.parametrize("value", ["promote", "explode fraud-x t", "promote a b c", "abort fraud", "  "])
def test_what_is_no_command_is_Refused_and_told_the_form(value: str) -> None:
    world = serving()
    world.annotate(names.ANNOTATION_COMMAND, value)
    world.advance(3)
    if value.strip():
        assert _last(world) == (value, "Refused")
        assert '"<verb> <revision> <token>"' in world.status["lastCommand"]["message"]
        assert len(world.events("CommandRefused")) == 1
    else:
        assert _last(world) == ("", "")


@pytest.mark.parametrize("verb", ["promote", "abort", "retry", "pause", "resume", "restart"])
def test_a_revision_that_does_not_exist_is_Refused_and_told_those_that_do(verb: str) -> None:
    world = serving()
    assert world.revision("1") in _refused(world, verb, "fraud-unknown")


@pytest.mark.parametrize("verb", ["promote", "abort", "retry", "pause", "restart"])
def test_a_stale_revision_is_Refused(verb: str) -> None:
    world = serving()
    one = world.revision("1")
    world.edit(model=model("2"))
    world.rest()
    assert world.revision("2") in _refused(world, verb, one)


def test_promote_is_Refused_for_RollingUpdate() -> None:
    world = updating(replicas=2)
    assert "RollingUpdate" in _refused(world, "promote", world.revision("2"))


def test_promote_is_Refused_while_the_candidate_is_not_available_in_full() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    assert "0 of 2 pods" in _refused(world, "promote", world.revision("2"))


def test_promote_is_Refused_while_paused() -> None:
    world = _waiting()
    world.edit(paused=True)
    world.advance(2)
    assert "paused" in _refused(world, "promote", world.revision("2"))


def test_promote_of_the_champion_is_Refused() -> None:
    world = serving()
    _refused(world, "promote", world.revision("1"))


def test_promote_and_abort_of_a_first_revision_are_Refused() -> None:
    world = created(replicas=1)
    world.behave("1", ready_after=None)
    world.advance(5)
    _refused(world, "promote", world.revision("1"), "1")
    _refused(world, "abort", world.revision("1"), "2")


def test_abort_of_a_champion_without_a_warm_predecessor_is_Refused() -> None:
    world = serving()
    assert "warm" in _refused(world, "abort", world.revision("1"))


def test_abort_in_the_warm_window_is_Refused_when_the_predecessor_has_no_available_pod() -> None:
    world = switched(replicas=1)
    for pod in world.pods(world.revision("1")):
        world.behave(pod["metadata"]["name"], ready_after=None)
    world.advance(5)
    _refused(world, "abort", world.revision("2"))
    assert world.outcome(world.revision("2")) == "Promoted"


def test_retry_of_what_was_not_rolled_back_is_Refused() -> None:
    world = serving()
    _refused(world, "retry", world.revision("1"))


def test_restart_is_Refused_during_a_rollout() -> None:
    world = updating(replicas=2)
    assert "version 2" in _refused(world, "restart", world.revision("1"))


def test_restart_names_the_champion() -> None:
    world = updating(replicas=2)
    _refused(world, "restart", world.revision("2"))


def test_pause_of_the_champion_during_a_rollout_is_Refused() -> None:
    world = updating(replicas=2)
    _refused(world, "pause", world.revision("1"))


def test_resume_of_what_is_not_paused_is_Refused() -> None:
    world = serving()
    _refused(world, "resume", world.revision("1"))


# --- acted on once


def test_an_equal_value_is_never_acted_on_again() -> None:
    world = serving()
    one = world.revision("1")
    world.command("restart", one, "t")
    world.rest()
    world.restart_operator()
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2


def test_an_equal_value_is_never_acted_on_again_though_status_is_lost() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    value = world.command("abort", two)
    world.rest()
    world.lose_status()
    world.restart_operator()
    world.rest()
    assert world.outcome(two) == "RolledBack"
    assert _last(world) == (value, "Done")


def test_a_refusal_is_said_once() -> None:
    world = updating(replicas=2)
    _refused(world, "promote", world.revision("2"))
    world.restart_operator()
    world.rest()
    assert len(world.events("CommandRefused")) == 1


def test_a_command_refused_before_is_not_acted_on_when_it_would_fit_later() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    two = world.revision("2")
    _refused(world, "promote", two)
    world.until(lambda: world.phase == "Paused")
    world.lose_status()
    world.restart_operator()
    world.rest()
    assert world.outcome(two) == ""
    assert world.phase == "Paused"


def test_the_same_command_with_a_new_token_is_acted_on() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    two = world.revision("2")
    _refused(world, "promote", two, "1")
    world.until(lambda: world.phase == "Paused")
    world.command("promote", two, "2")
    world.rest()
    assert world.outcome(two) == "Promoted"


def test_a_paused_rollout_stays_paused_through_lost_status_and_a_restart() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.command("pause", two)
    world.advance(3)
    world.lose_status()
    world.restart_operator()
    world.advance(120)
    assert world.phase == "Paused"
    assert world.outcome(two) == ""


def test_a_refused_command_during_a_pause_does_not_end_it() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.command("pause", two, "1")
    world.advance(3)
    _refused(world, "promote", two, "2")
    assert world.phase == "Paused"


@pytest.mark.parametrize("verb", ["promote", "abort", "retry", "restart"])
@pytest.mark.parametrize("nth", range(1, 8))
def test_killed_after_any_write_a_command_is_done_once_and_recorded(verb: str, nth: int) -> None:
    world, revision = {
        "promote": lambda: (w := _waiting(), w.revision("2")),
        "abort": lambda: (w := updating(replicas=2, rollout=BLUE_GREEN), w.revision("2")),
        "retry": lambda: (w := rolled_back(), w.revision("2")),
        "restart": lambda: (w := serving(), w.revision("1")),
    }[verb]()
    if verb == "retry":
        world.rest()
        world.behave("2")
    before = len(world.api.all(CONTROLLER_REVISIONS))
    value = world.command(verb, revision)
    world.client.kill_after = nth
    world.rest()
    assert _last(world) == (value, "Done")
    assert len(world.api.all(CONTROLLER_REVISIONS)) == before + (verb in ("retry", "restart"))
    assert world.phase == ("RolledBack" if verb == "abort" else "Healthy")


def test_the_last_command_and_its_result_stand_on_the_revision_that_it_named() -> None:
    world = updating(replicas=2)
    value = world.command("abort", world.revision("2"))
    world.rest()
    record = json.loads(world.annotations(world.revision("2"))[names.ANNOTATION_COMMAND])
    assert (record["value"], record["result"]) == (value, "Done")


def test_a_token_may_be_used_again_for_another_command() -> None:
    world = serving()
    one = world.revision("1")
    world.command("restart", one, "now")
    world.rest()
    two = world.revision("1")
    world.command("restart", two, "now")
    world.rest()
    assert world.revision("1") not in (one, two)
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 3


def test_a_command_is_not_acted_on_again_though_another_one_was_in_between() -> None:
    world = serving()
    one = world.revision("1")
    world.command("restart", one, "now")
    world.rest()
    world.command("pause", world.revision("1"), "t")
    world.advance(3)
    world.command("resume", world.revision("1"), "t")
    world.advance(3)
    world.command("restart", one, "now")
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2


def test_a_command_whose_revision_could_be_forgotten_stays_Done_though_status_is_lost() -> None:
    world = rolled_back(rollout={"revisionHistoryLimit": 0})
    world.behave("2")
    value = world.command("retry", world.revision("2"))
    world.rest()
    assert _last(world) == (value, "Done")
    world.lose_status()
    world.advance(3)
    assert _last(world) == (value, "Done")
    assert world.events("CommandRefused") == []


def test_a_pause_of_a_candidate_outlasts_a_new_spec_and_says_how_to_go_on() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.command("pause", two)
    world.advance(2)
    world.edit(model=model("3"))
    world.rest()
    assert world.phase == "Paused"
    assert f"resume {two}" in world.message("Paused")
    assert {revision["data"]["version"] for revision in world.api.all(CONTROLLER_REVISIONS)} == {"1", "2"}
    world.command("resume", two)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "3"


def test_an_abort_ends_the_pause_of_what_it_aborts() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.command("pause", two)
    world.advance(2)
    world.command("abort", two)
    world.rest()
    world.edit(model=model("3"))
    world.rest()
    assert world.status["champion"]["version"] == "3"


def test_a_restart_that_succeeds_after_one_that_failed_leaves_nothing_behind() -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    world.command("restart", one, "t1")
    world.advance(2)
    world.command("abort", world.revision("1"))
    world.until(lambda: world.phase == "RolledBack")
    world.command("restart", one, "t2")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.phase == "Healthy"


# --- a request lasts as long as its cause


def test_a_restart_that_waits_outlives_the_pause_and_the_resume_that_come_after_it() -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    world.edit(paused=True)
    world.advance(3)
    world.command("restart", one, "t1")
    world.advance(3)
    assert _last(world) == (f"restart {one} t1", "Accepted")
    world.command("pause", one, "t2")
    world.advance(3)
    world.edit(paused=False)
    world.advance(3)
    world.command("resume", one, "t3")
    world.rest()
    assert _last(world) == (f"resume {one} t3", "Done")
    assert [r["data"]["version"] for r in world.api.all(CONTROLLER_REVISIONS)] == ["1", "1"]
    assert world.condition("Ready") == ("True", "Serving")


def test_a_restart_that_was_done_is_not_owed_any_more_when_its_revision_is_forgotten() -> None:
    world = serving(replicas=2, rollout={"revisionHistoryLimit": 1})
    one = world.revision("1")
    world.edit(paused=True)
    world.advance(3)
    for verb, token in (("restart", "t1"), ("pause", "t2"), ("resume", "t3")):
        world.command(verb, one, token)
        world.advance(3)
    world.edit(paused=False)
    world.rest()
    world.edit(model=model("2"))
    world.rest()
    before = len(world.events("RolloutStarted"))
    world.edit(model=model("1"))
    world.rest()
    assert len(world.events("RolloutStarted")) == before + 1
    assert _last(world) == (f"resume {one} t3", "Done")


def test_what_is_owed_is_dropped_with_its_cause_and_the_resume_after_it_stays_done() -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    world.edit(paused=True)
    world.advance(3)
    for verb, token in (("pause", "t0"), ("restart", "t1"), ("resume", "t2")):
        world.command(verb, one, token)
        world.advance(3)
    world.edit(model=model("2"))
    world.advance(3)
    assert _last(world) == (f"resume {one} t2", "Done")
    world.edit(paused=False)
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2


def _retried_while_paused() -> tuple[World, str]:
    """Version 2 was rolled back; its retry is accepted, and a pause holds it."""
    world = rolled_back()
    two = world.revision("2")
    world.edit(paused=True)
    world.advance(3)
    value = world.command("retry", two)
    world.advance(3)
    assert _last(world) == (value, "Accepted")
    return world, two


def test_a_retry_is_dropped_when_spec_is_put_back_before_it_could_start() -> None:
    world, two = _retried_while_paused()
    before = len(world.api.all(CONTROLLER_REVISIONS))
    world.edit(model=model("1"))
    world.advance(3)
    assert _last(world) == (f"retry {two} t1", "Refused")
    assert "spec no longer asks for it" in world.status["lastCommand"]["message"]
    assert len(world.events("CommandRefused")) == 1
    world.edit(paused=False)
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == before
    assert world.condition("Ready") == ("True", "Serving")


def test_a_request_that_was_dropped_is_not_acted_on_when_spec_asks_for_its_revision_again() -> None:
    world, two = _retried_while_paused()
    world.edit(model=model("1"))
    world.advance(3)
    world.lose_status()
    world.restart_operator()
    world.edit(paused=False, model=model("2"))
    world.behave("2")
    world.rest()
    record = json.loads(world.annotations(world.revision("2"))[names.ANNOTATION_ROLLOUT])
    assert world.status["champion"]["version"] == "2"
    assert "request" not in record
    assert _last(world) == (f"retry {two} t1", "Refused")


def test_a_restart_is_dropped_when_spec_asks_for_something_else_before_it_could_start() -> None:
    world = serving()
    world.edit(paused=True)
    world.advance(3)
    world.command("restart", world.revision("1"))
    world.advance(3)
    world.edit(model=model("2"), paused=False)
    world.rest()
    assert [r["data"]["version"] for r in world.api.all(CONTROLLER_REVISIONS)] == ["1", "2"]
    assert _last(world)[1] == "Refused"


def _failed_restart() -> tuple[World, str, str]:
    """Version 1 serves; a restart of it was aborted."""
    world = serving()
    one = world.revision("1")
    world.command("restart", one, "first")
    world.advance(2)
    failed = world.revision("1")
    world.command("abort", failed, "second")
    world.rest()
    assert world.phase == "RolledBack"
    return world, one, failed


def test_retry_is_Refused_while_a_rollout_of_the_same_inputs_is_under_way() -> None:
    world, one, failed = _failed_restart()
    world.command("restart", one, "third")
    world.advance(2)
    under_way = world.revision("1")
    assert under_way in _refused(world, "retry", failed, "fourth")
    world.rest()
    assert world.status["champion"]["revision"] == under_way == world.revision("1")


@pytest.mark.parametrize("verbs", [("restart", "retry"), ("retry", "restart")], ids=" then ".join)
def test_of_two_requests_that_could_both_start_later_the_second_is_Refused(verbs: tuple[str, str]) -> None:
    world, one, failed = _failed_restart()
    named = {"restart": one, "retry": failed}
    world.edit(paused=True)
    world.advance(3)
    first = world.command(verbs[0], named[verbs[0]], "third")
    world.advance(3)
    assert first in _refused(world, verbs[1], named[verbs[1]], "fourth")
    before = len(world.api.all(CONTROLLER_REVISIONS))
    world.edit(paused=False)
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == before + 1


def test_retry_of_a_failed_first_revision_is_allowed_though_it_is_the_candidate() -> None:
    world = created()
    world.behave("1", failure="crash")
    world.until(lambda: world.phase == "Failed")
    old = world.revision("1")
    world.behave("1")
    world.behave(world.pods()[0]["metadata"]["name"], failure="crash")
    value = world.command("retry", old)
    world.rest()
    assert _last(world) == (value, "Done")
    assert world.status["champion"]["revision"] == world.revision("1") != old


def test_an_abort_ends_the_pause_of_a_promoted_revision_that_it_undoes() -> None:
    world = switched(replicas=1)
    two = world.revision("2")
    world.command("pause", two)
    world.advance(2)
    world.command("abort", two)
    world.rest()
    assert world.outcome(two) == "RolledBack"
    assert world.condition("Paused") is None
    world.edit(model=model("3"))
    world.rest()
    assert world.status["champion"]["version"] == "3"
