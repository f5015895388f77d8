"""kstatus, by which Flux judges custom resources, over what the real planner makes of each situation.

The pure tests have its rules written down (tests/unit/planner/kstatus.py): here both must say the same.
"""

from collections.abc import Iterator

import pytest

from tests.integration.flux import Kstatus
from tests.integration.test_argocd_scripts import TABLE, given
from tests.unit.planner.given import serving
from tests.unit.planner.kstatus import kstatus as by_its_rules
from tests.unit.planner.test_conditions import ROWS

ARGO_CD = {"Healthy": "Current", "Degraded": "Failed", "Progressing": "InProgress"}
"""What Argo CD shows, and what kstatus says then; Suspended is one or the other."""


@pytest.fixture(scope="module")
def kstatus() -> Iterator[Kstatus]:
    with Kstatus() as kstatus:
        yield kstatus


@pytest.mark.parametrize("name", ROWS)
def test_each_row_of_the_table(kstatus: Kstatus, name: str) -> None:
    row = ROWS[name]

    assert kstatus.judge(row.given().md) == row.kstatus


@pytest.mark.parametrize("name", TABLE)
def test_it_says_what_the_rules_say_and_what_Argo_CD_shows(kstatus: Kstatus, name: str) -> None:
    obj = given(name).md

    found = kstatus.judge(obj)

    assert found == by_its_rules(obj)
    assert TABLE[name].health == "Suspended" or found == ARGO_CD[TABLE[name].health]


def test_without_a_status_it_would_be_Current_so_the_API_server_adds_one(kstatus: Kstatus) -> None:
    obj = given("created, not seen").md

    assert kstatus.judge({key: value for key, value in obj.items() if key != "status"}) == "Current"
    assert kstatus.judge(obj) == "InProgress"


def test_while_it_is_deleted_it_is_Terminating(kstatus: Kstatus) -> None:
    obj = serving().md
    deleted = obj | {"metadata": obj["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}}

    assert kstatus.judge(deleted) == by_its_rules(deleted) == "Terminating"
