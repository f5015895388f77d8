"""`make test` says what each of its suites cost."""

import re

import pytest

from tests import run


def test_each_step_has_a_line_with_its_seconds() -> None:
    told = run.table({"unit": 61.4, "programs and images, the rest of it": 7.0})

    assert [re.split(r"  +", line) for line in told.splitlines()] == [
        ["suite", "seconds"],
        ["unit", "61"],
        ["programs and images, the rest of it", "7"],
    ]
    assert len({len(line) for line in told.splitlines()}) == 1, "the numbers stand below each other"


def test_a_step_that_fails_ends_the_run_and_its_cost_is_told_too() -> None:
    costs: dict[str, float] = {}

    assert not run._run([run.Step("broken", ["false"])], costs)
    assert list(costs) == ["broken"]


def test_steps_side_by_side_all_end_and_each_says_what_it_said(capfd: pytest.CaptureFixture[str]) -> None:
    costs: dict[str, float] = {}
    steps = [
        run.Step("one", ["echo", "from one"]),
        run.Step("two", ["sh", "-c", "echo from two; exit 3"]),
        run.Step("three", ["echo", "from three"]),
    ]

    assert not run._run(steps, costs)
    assert sorted(costs) == ["one", "three", "two"]
    told = capfd.readouterr().out
    assert all(said in told for said in ("from one", "from two", "from three", "== two: failed (3)", "== one: ok"))
