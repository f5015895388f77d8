"""promote, abort, retry, pause, resume, restart: which revision they name, what is written, what came of it."""

from typing import Any

import pytest

from podium.cli.command import VERBS, Answer, give, revision_of
from podium.cli.errors import CliError, Exit
from podium.cli.follow import follow
from podium.cli.view import of
from tests.unit.cli.given import (
    CANDIDATE,
    NOW,
    REFUSED,
    Played,
    Step,
    acts,
    analyzing,
    deployment,
    goes,
    healthy,
    lost,
    rolled_back,
)

OLD, NEW = "fraud-6f9c4d2b7k", "fraud-b57wq4c9d2"
TOKEN = "2026-11-27T12:04:00.000000Z"
WARM = {"revision": "fraud-a", "version": "6", "until": "x"}
FIRST = healthy(champion=None, candidate=CANDIDATE, phase="Failed")


def given(
    status: dict[str, Any], verb: str, *steps: Step | Exception, revision: str = "", seconds: float = 60
) -> tuple[Answer, Played]:
    api = Played(deployment(status), steps=steps)
    states = follow(api, "ml", "fraud", seconds=seconds, clock=api.clock, sleep=api.sleep)
    return give(api, states, "ml", "fraud", verb, revision, NOW), api


@pytest.mark.parametrize(
    ("verb", "status", "revision"),
    [
        ("promote", analyzing(), NEW),
        ("abort", analyzing(), NEW),
        ("abort", healthy(previous=WARM), OLD),
        ("retry", rolled_back(), NEW),
        ("retry", FIRST, NEW),
        ("pause", analyzing(), NEW),
        ("pause", healthy(), OLD),
        ("resume", analyzing(), NEW),
        ("resume", healthy(), OLD),
        ("restart", healthy(), OLD),
        ("restart", analyzing(), OLD),
    ],
)
def test_the_revision_is_the_one_that_status_gives_for_the_verb(
    verb: str, status: dict[str, Any], revision: str
) -> None:
    found, api = given(status, verb, acts("Done", "as asked"))
    assert api.patches == [("ml", "fraud", {"podium.dev/command": f"{verb} {revision} {TOKEN}"})]
    assert found == Answer("ml", "fraud", f"{verb} {revision} {TOKEN}", Exit.DONE, "Done", "as asked")


@pytest.mark.parametrize(
    ("verb", "status", "sentence"),
    [
        ("promote", healthy(), "there is no candidate to promote"),
        ("abort", healthy(), "there is no candidate to abort, and no predecessor is kept warm to go back to"),
        ("retry", healthy(), "no revision was rolled back that could be retried"),
        ("restart", FIRST, "there is no champion yet to restart"),
        ("pause", {}, "there is no revision yet to pause"),
        ("resume", {}, "there is no revision yet to resume"),
    ],
)
def test_where_there_is_no_such_revision_nothing_is_written(verb: str, status: dict[str, Any], sentence: str) -> None:
    api = Played(deployment(status))
    with pytest.raises(CliError, match=sentence) as raised:
        give(api, iter([]), "ml", "fraud", verb, "", NOW)
    assert raised.value.code is Exit.FAILED
    assert api.patches == []


def test_every_verb_of_the_operator_is_one_here() -> None:
    from podium.rollout import commands

    assert VERBS.keys() == commands.VERBS.keys()


def test_a_revision_that_is_given_wins_and_is_one_word() -> None:
    found, _ = given(analyzing(), "promote", acts("Refused", REFUSED), revision="fraud-x")
    assert (found.command, found.exit_code) == (f"promote fraud-x {TOKEN}", Exit.FAILED)
    with pytest.raises(CliError, match="no name of a revision"):
        given(analyzing(), "promote", revision="two words")


def test_a_refusal_is_told_with_its_sentence() -> None:
    found, _ = given(analyzing(), "promote", acts("Refused", REFUSED))
    assert (found.result, found.exit_code, found.message) == ("Refused", Exit.FAILED, REFUSED)


def test_an_accepted_retry_is_done_with_a_word_on_what_comes() -> None:
    found, _ = given(rolled_back(), "retry", acts("Accepted"))
    assert (found.result, found.exit_code) == ("Accepted", Exit.DONE)
    assert found.message.startswith(f"retry {NEW} is accepted: its rollout is to start")


def test_a_command_without_a_sentence_is_told_with_the_phase() -> None:
    found, _ = given(analyzing(), "promote", acts("Done", phase="Promoting", message="it grows to 2 pods"))
    assert found.message == f"promote {NEW} is done; Promoting: it grows to 2 pods"


def test_one_that_could_not_be_recorded_is_waited_for() -> None:
    found, _ = given(analyzing(), "pause", acts("Pending", "not recorded yet: quota"), acts("Done", "paused"))
    assert (found.result, found.message) == ("Done", "paused")


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((), "check that the operator runs: kubectl get pods -A -l app.kubernetes.io/name=podium"),
        ((acts("Pending", "not recorded yet: quota"),), "not recorded yet: quota"),
    ],
)
def test_one_that_is_not_acted_on_in_time_says_why(steps: tuple[Step, ...], why: str) -> None:
    found, api = given(analyzing(), "pause", *steps)
    assert (found.result, found.exit_code) == ("TimedOut", Exit.UNDER_WAY)
    assert found.message == (
        f'"pause {NEW} {TOKEN}" is written; Podium has not acted on it yet, and will once it can: {why}'
    )
    assert api.now == 60


def test_the_answer_to_an_earlier_command_is_not_taken_for_this_ones() -> None:
    before = {"value": f"pause {NEW} 1", "result": "Refused", "message": "no"}
    found, _ = given(analyzing(lastCommand=before), "pause", acts("Done", "paused"))
    assert found.message == "paused"


def test_one_that_another_replaces_before_it_was_acted_on_says_by_which() -> None:
    def replaced(obj: dict[str, Any]) -> None:
        obj["metadata"]["annotations"]["podium.dev/command"] = f"abort {NEW} 7"

    found, _ = given(analyzing(), "promote", replaced)
    assert (found.result, found.exit_code) == ("Replaced", Exit.FAILED)
    assert found.message == f'the command was replaced by "abort {NEW} 7" before Podium acted on it'


def test_a_lost_connection_does_not_lose_the_answer() -> None:
    found, _ = given(analyzing(), "promote", lost(), acts("Done", "promoted by a person"))
    assert found.message == "promoted by a person"


def test_one_that_is_deleted_meanwhile_is_told_of() -> None:
    with pytest.raises(CliError, match="there is no modeldeployment fraud in namespace ml any more"):
        given(analyzing(), "promote", goes)


@pytest.mark.parametrize("status", [healthy(), analyzing()])
def test_what_spec_has_left_since_it_was_rolled_back_is_not_retried(status: dict[str, Any]) -> None:
    history = [{"revision": "fraud-late", "outcome": "RolledBack"}, {"revision": OLD, "outcome": "Promoted"}]
    with pytest.raises(CliError, match="no revision was rolled back that could be retried"):
        revision_of("retry", of(deployment(status | {"history": history})))


def test_of_two_that_were_rolled_back_the_later_is_retried() -> None:
    history = [
        {"revision": "fraud-late", "outcome": "RolledBack"},
        {"revision": OLD, "outcome": "Promoted"},
        {"revision": "fraud-early", "outcome": "RolledBack"},
    ]
    assert revision_of("retry", of(deployment(rolled_back(history=history)))) == "fraud-late"
