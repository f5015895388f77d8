"""docs/messages.md: every reason of a condition and of an Event has its sentence there, and Podium says exactly that.

tests/unit/planner/situations.py and variants.py have the situations; each is played by the real reconciler on the
cluster in memory.
"""

import re

import pytest

from podium.api.reasons import EventReason, Reason
from tests.messages import FOREIGN, ONE_AS_MANY, PAGE, ROWS, Row
from tests.unit.planner import variants
from tests.unit.planner.situations import CONDITIONS, EVENTS, Condition, Event

PLAYED: dict[str, Condition | Event | variants.Passed | variants.Added] = {
    **{f"{condition.kind}: {name}": condition for name, condition in CONDITIONS.items()},
    **{f"{condition.kind}: {name}": condition for name, condition in variants.CONDITIONS.items()},
    **{f"Added: {name}": added for name, added in variants.ADDED.items()},
    **{f"Event: {name}": event for name, event in (EVENTS | variants.EVENTS).items()},
}


def test_each_reason_of_a_condition_has_a_row() -> None:
    own = {row.reason for row in ROWS.values() if row.where not in ("Event", "Added", FOREIGN)}
    assert own == {reason.value for reason in Reason}


def test_each_reason_of_an_event_that_no_condition_gives_has_a_row() -> None:
    found = {row.reason for row in ROWS.values() if row.where == "Event"}
    own = {reason.value for reason in EventReason}
    assert found >= own
    assert found - own <= {reason.value for reason in Reason}


def test_no_row_is_without_a_situation_and_none_is_written_wrongly() -> None:
    assert ROWS.keys() == PLAYED.keys()
    assert len(ROWS) == len([line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`" in line])


@pytest.mark.parametrize("name", PLAYED)
def test_podium_says_exactly_the_example(name: str) -> None:
    assert PLAYED[name].said() == ROWS[name].example


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_example_is_one_of_the_sentence(row: Row) -> None:
    assert row.fits(row.example)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_command_to_copy_names_the_namespace(row: Row) -> None:
    for command in re.findall(r"kubectl (?:get|delete|annotate|describe) .*?(?=kubectl|$)", row.example):
        assert re.match(r"kubectl (get modelruntimes\.|\w+ [^.:]* -n ml( |$)|get pods -n ml )", command), command


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_no_sentence_has_json_in_it_or_counts_one_as_many(row: Row) -> None:
    assert '{"' not in row.example
    assert not ONE_AS_MANY.search(row.example)
