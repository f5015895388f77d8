"""`analyze NAME`: which ledger is meant, and whether it is the one that was decided from."""

import json
from typing import Any

import pytest

from podium.analysis.ledger import digest
from podium.cli.errors import CliError, Missing
from podium.cli.stored import Comparison, stored
from tests.unit.cli.given import Played, analyzing, deployment, healthy, rolled_back

CANDIDATE, CHAMPION = "fraud-b57wq4c9d2", "fraud-6f9c4d2b7k"
TEXT, ROLLOUT = '{"version":1}', "7f3a"
AS_WRITTEN, ANOTHER = digest(TEXT, ROLLOUT), digest("another text", ROLLOUT)


def played(
    status: dict[str, Any] | None = None,
    *,
    written: str | None = AS_WRITTEN,
    decided: str | None = None,
    rollout: str | None = json.dumps({"id": ROLLOUT}),
    revision: str = CANDIDATE,
) -> Played:
    """`written`, `decided`: the digest in the ConfigMap, and in the record of the revision."""
    api = Played(deployment(status or rolled_back()))
    beside = {} if written is None else {"podium.dev/ledger": written}
    record = {} if decided is None else {"podium.dev/ledger": decided}
    record |= {} if rollout is None else {"podium.dev/rollout": rollout}
    api.config_maps[f"{revision}-ledger"] = {"metadata": {"annotations": beside}, "data": {"ledger": TEXT}}
    api.revisions[revision] = {"metadata": {"name": revision, "annotations": record}}
    return api


def comparison(**given: Any) -> Comparison:
    return stored(played(**given), "ml", "fraud").comparison


@pytest.mark.parametrize(
    ("status", "revision", "asked"),
    [(analyzing(), CANDIDATE, ""), (rolled_back(), CANDIDATE, ""), (rolled_back(), CHAMPION, CHAMPION)],
    ids=["the candidate's", "without one, of what was decided on last", "the one of --revision"],
)
def test_which_ledger_is_meant(status: dict[str, Any], revision: str, asked: str) -> None:
    found = stored(played(status, revision=revision), "ml", "fraud", asked)
    assert (found.text, found.source) == (TEXT, f"configmap ml/{revision}-ledger")


def test_before_any_revision_there_is_no_ledger() -> None:
    with pytest.raises(CliError, match="ml/fraud has no revision yet, so there is no ledger"):
        stored(played(healthy()), "ml", "fraud")


def test_a_revision_without_a_ledger_is_told_with_the_reason_and_with_the_way_to_another() -> None:
    api = played()
    api.config_maps.clear()
    with pytest.raises(CliError) as raised:
        stored(api, "ml", "fraud")
    assert not isinstance(raised.value, Missing)  # the ModelDeployment is there
    assert raised.value.message == (
        f"ml/fraud: revision {CANDIDATE} has no ledger (ConfigMap {CANDIDATE}-ledger): only a rollout with analysis "
        "has one; --revision names another"
    )


def test_one_that_is_as_the_record_says_needs_no_word() -> None:
    assert comparison(decided=AS_WRITTEN) == Comparison(True)


def test_what_the_record_says_counts_more_than_what_stands_beside_the_ledger() -> None:
    assert comparison(decided=AS_WRITTEN, written=ANOTHER) == Comparison(True)


def test_before_the_decision_the_digest_that_was_written_with_it_counts() -> None:
    assert comparison(status=analyzing()) == Comparison(True)


def test_another_than_the_one_that_was_decided_from_is_said_to_be_one() -> None:
    assert comparison(decided=ANOTHER) == Comparison(
        False,
        "This is not the ledger that was decided from, since the record of fraud-b57wq4c9d2 has another digest: the "
        "operator ended before it could write it, or somebody changed it.",
    )


@pytest.mark.parametrize("decided", [None, ANOTHER])
def test_one_that_is_not_as_it_was_written_was_changed_by_another_hand(decided: str | None) -> None:
    assert comparison(written=ANOTHER, decided=decided) == Comparison(
        False, "This ledger was changed, and not by Podium: its digest is not the one that was written with it."
    )


def test_the_same_text_of_another_rollout_is_another_ledger() -> None:
    assert comparison(decided=AS_WRITTEN, written=None, rollout='{"id": "another"}').as_recorded is False


def test_where_nothing_is_recorded_nothing_is_claimed() -> None:
    assert comparison(written=None, decided=None) == Comparison(None)


@pytest.mark.parametrize("rollout", [None, "", "{", "[]", '{"other": 1}'])
def test_a_record_that_cannot_be_read_does_not_hide_the_ledger(rollout: str | None) -> None:
    assert comparison(decided=AS_WRITTEN, rollout=rollout) == Comparison(
        None,
        "This ledger is not compared with the record of its revision: its annotation podium.dev/rollout cannot be "
        "read.",
    )


def test_a_record_that_is_gone_does_not_hide_the_ledger() -> None:
    api = played()
    api.revisions.clear()
    found = stored(api, "ml", "fraud")
    assert found.text == TEXT
    assert found.comparison == Comparison(
        None,
        "This ledger is not compared with the record of its revision: there is no controllerrevision fraud-b57wq4c9d2 "
        "in namespace ml.",
    )
