"""`status`: the exit code that a pipeline reads."""

from typing import Any

import pytest

from podium.cli.errors import CliError, Exit
from podium.cli.follow import follow, views_of
from podium.cli.outcome import awaited, outcome
from podium.cli.view import of
from tests.unit.cli.given import (
    SERVES,
    Played,
    Step,
    acts,
    analyzing,
    becomes,
    condition,
    conditions,
    deployment,
    goes,
    healthy,
    lost,
    rolled_back,
)

INVALID = conditions("False", "RuntimeNotFound", "x", condition("Stalled", "True", "RuntimeNotFound", "x"))
DEGRADED = conditions("False", "Degraded", "x", condition("Reconciling", "True", "Degraded", "x"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (healthy(), Exit.DONE),
        (rolled_back(), Exit.FAILED),
        (healthy(phase="Failed", conditions=INVALID), Exit.FAILED),
        (healthy(conditions=INVALID), Exit.FAILED),
        (analyzing(), Exit.UNDER_WAY),
        (analyzing(phase="Paused"), Exit.UNDER_WAY),
        (healthy(conditions=DEGRADED), Exit.UNDER_WAY),
        (healthy(phase="Suspended"), Exit.UNDER_WAY),
        (healthy(conditions=[]), Exit.UNDER_WAY),
        (None, Exit.UNDER_WAY),
    ],
)
def test_the_exit_code_of_each_state(status: dict[str, Any] | None, code: Exit) -> None:
    assert outcome(of(deployment(status))).code is code


@pytest.mark.parametrize("status", [healthy(), rolled_back()])
def test_a_status_of_an_older_spec_decides_nothing(status: dict[str, Any]) -> None:
    found = outcome(of(deployment(status, generation=4)))
    assert found.code is Exit.UNDER_WAY
    assert found.line == "ml/fraud: Podium has seen generation 3; its spec is of generation 4"


def test_one_that_is_being_deleted_is_neither_healthy_nor_failed() -> None:
    assert outcome(of(deployment(healthy(), deletionTimestamp="x"))).code is Exit.UNDER_WAY


@pytest.mark.parametrize("last", [{}, {"lastCommand": {"value": "pause a 1", "result": "Done"}}])
def test_a_retry_that_no_operator_has_seen_yet_is_under_way(last: dict[str, Any]) -> None:
    found = outcome(of(deployment(rolled_back(**last), command="retry fraud-b57wq4c9d2 2")))
    assert found.code is Exit.UNDER_WAY
    assert found.line.startswith('ml/fraud: the command "retry fraud-b57wq4c9d2 2" is under way: ')


@pytest.mark.parametrize(("result", "code"), [("Accepted", 2), ("Pending", 2), ("Done", 1), ("Refused", 1)])
def test_a_retry_is_under_way_until_its_rollout_has_begun(result: str, code: int) -> None:
    last = {"value": "retry fraud-b57wq4c9d2 2", "result": result}
    assert outcome(of(deployment(rolled_back(lastCommand=last), command=last["value"]))).code == code


def test_the_line_is_phase_and_message() -> None:
    assert outcome(of(deployment(healthy()))).line == f"ml/fraud: Healthy: {SERVES}"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((becomes(analyzing(message="75 %")), becomes(healthy())), Exit.DONE),
        ((becomes(rolled_back()),), Exit.FAILED),
        ((lost(), becomes(healthy())), Exit.DONE),
        ((), Exit.UNDER_WAY),
    ],
)
def test_waiting_ends_with_the_first_state_that_is_an_answer_or_with_the_time(
    steps: tuple[Step | Exception, ...], code: Exit
) -> None:
    api = Played(deployment(analyzing()), steps=steps)
    states = follow(api, "ml", "fraud", seconds=600, clock=api.clock, sleep=api.sleep)
    view, found = awaited(views_of(states, "ml", "fraud"))
    assert (found.code, view.name) == (code, "fraud")
    assert ("when the time was up" in found.line) == (code is Exit.UNDER_WAY)
    assert api.now <= 600


def test_waiting_for_one_that_is_deleted_meanwhile_says_so() -> None:
    api = Played(deployment(analyzing()), steps=(goes,))
    with pytest.raises(CliError, match="there is no modeldeployment fraud in namespace ml any more"):
        awaited(views_of(follow(api, "ml", "fraud", clock=api.clock, sleep=api.sleep), "ml", "fraud"))


def test_waiting_for_one_that_is_not_there_asks_if_its_name_or_its_namespace_is_another() -> None:
    api = Played()
    with pytest.raises(CliError, match=r"get -n ml lists those that there are; is it in another namespace \(-n\)\?"):
        awaited(views_of(follow(api, "ml", "fruad", clock=api.clock, sleep=api.sleep), "ml", "fruad"))


def test_waiting_goes_on_over_what_the_watch_cannot_go_on_from() -> None:
    class Expired(Played):
        def watch(self, *words: Any) -> Any:
            if self.lists == 1:
                self.objects["fraud"]["status"] = healthy()
                return iter([{"type": "ERROR", "object": {"code": 410}}])
            return super().watch(*words)

    api = Expired(deployment(analyzing()))
    states = follow(api, "ml", "fraud", clock=api.clock, sleep=api.sleep)
    assert awaited(views_of(states, "ml", "fraud"))[1].code is Exit.DONE
    assert api.lists == 2


def test_a_cluster_that_is_away_for_longer_than_half_a_minute_is_told_of() -> None:
    class Away(Played):
        def deployments(self, *words: Any) -> Any:
            if self.lists:
                raise lost()
            return super().deployments(*words)

    api = Away(deployment(analyzing()), steps=(lost(),))
    with pytest.raises(CliError, match="no answer"):
        list(follow(api, "ml", "fraud", clock=api.clock, sleep=api.sleep))
    assert api.now == 30


def test_watches_that_end_as_soon_as_they_begin_are_asked_for_once_a_second() -> None:
    class Closing(Played):
        asked = 0

        def watch(self, *words: Any) -> Any:
            self.asked += 1
            return iter(())

    api = Closing(deployment(analyzing()))
    assert len(list(follow(api, "ml", "fraud", seconds=10, clock=api.clock, sleep=api.sleep))) == 1
    assert (api.asked, api.lists) == (10, 1)


def test_a_first_question_without_an_answer_is_told_of_at_once() -> None:
    class Away(Played):
        def deployments(self, *words: Any) -> Any:
            raise lost()

    api = Away()
    with pytest.raises(CliError, match="no answer"):
        list(follow(api, "ml", "fraud", clock=api.clock, sleep=api.sleep))
    assert api.now == 0


def test_a_command_of_another_does_not_stay_under_way_once_it_is_acted_on() -> None:
    api = Played(deployment(healthy(), command="restart fraud-6f9c4d2b7k 1"), steps=(acts("Done"),))
    states = follow(api, "ml", "fraud", clock=api.clock, sleep=api.sleep)
    assert awaited(views_of(states, "ml", "fraud"))[1].code is Exit.DONE
