"""Forks: what goes wrong in another process is this one's failure."""

import os
import signal

import pytest

from tests.unit.planner.forks import Forks


def played(here: list[str], *, wrong: str = "", killed: bool = False) -> None:
    """A block that goes on in another process, and then here."""
    with Forks() as forks:
        if forks.another():
            here.append("only there")
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
            assert not wrong, wrong
            return
        here.append("here")


def test_a_block_goes_on_in_another_process_and_then_in_this_one() -> None:
    here: list[str] = []
    played(here)
    assert here == ["here"]


def test_what_goes_wrong_there_is_told_here_at_the_end_of_the_block() -> None:
    here: list[str] = []
    with pytest.raises(AssertionError, match="that was it"):
        played(here, wrong="that was it")
    assert here == ["here"]


def test_a_process_that_is_killed_is_told_too() -> None:
    with pytest.raises(AssertionError, match="ended with -9"):
        played([], killed=True)
