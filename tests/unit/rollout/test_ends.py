"""Which ends of containers count, as plain arithmetic over the pods' own counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podium.rollout.ends import HOLDS, Ends
from podium.rollout.record import RolloutRecord
from podium.rollout.revision import Pod

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
OOM, SIGNAL = "exit code 137, OOMKilled", "exit code 139, Error"


def pod(name: str, ends: int = 0, ended: str = OOM) -> Pod:
    """A pod whose container ended so often, and how the last time."""
    return Pod(name, NOW, ends=ends, ended=ended if ends else "")


def test_what_ended_before_the_first_weight_is_of_no_account() -> None:
    before = [pod("new-1", 3)], [pod("old-1", 7), pod("old-2")]
    ends = Ends.begun(*before)
    assert ends == Ends(seen={"new-1": 3, "old-1": 7})
    assert ends.after(*before, LATER) is ends


def test_an_end_counts_once_however_often_it_is_looked_at() -> None:
    ends = Ends().after([pod("new-1", 1)], [], NOW)
    assert ends == Ends(candidate=1, at=NOW, how=OOM, seen={"new-1": 1})
    assert ends.after([pod("new-1", 1)], [], LATER) is ends
    assert not ends.are_evidence


@pytest.mark.parametrize(
    "pods", [[pod("new-1", 2, SIGNAL)], [pod("new-1", 1), pod("new-2", 1, SIGNAL)]], ids=["one pod", "two pods"]
)
def test_the_second_end_is_evidence_whichever_pod_it_is_of(pods: list[Pod]) -> None:
    ends = Ends().after([pod("new-1", 1)], [], NOW).after(pods, [], LATER)
    assert (ends.candidate, ends.at, ends.how) == (2, LATER, SIGNAL)
    assert ends.are_evidence


def test_ends_that_nobody_saw_are_told_by_the_count() -> None:
    assert Ends().after([pod("new-1", 4)], [], NOW).candidate == 4


def test_the_ends_of_a_pod_that_is_gone_stay_and_its_count_is_forgotten() -> None:
    ends = Ends().after([pod("new-1", 1)], [], NOW).after([pod("new-2", 1)], [], LATER)
    assert (ends.candidate, ends.seen) == (2, {"new-2": 1})


@pytest.mark.parametrize("first", ["champion", "candidate"])
def test_an_end_of_the_champion_s_takes_the_evidence_away_whichever_was_first(first: str) -> None:
    champion, candidate = [pod("old-1", 1)], [pod("new-1", 1)]
    ends = Ends().after([], champion, NOW) if first == "champion" else Ends().after(candidate, [], NOW)
    ends = ends.after([pod("new-1", 2)], champion, LATER)
    assert (ends.candidate, ends.champion) == (2, 1)
    assert not ends.are_evidence


def test_no_more_than_one_of_the_champion_s_is_counted() -> None:
    ends = Ends().after([], [pod("old-1", 1)], NOW)
    assert ends.after([], [pod("old-1", 9), pod("old-2", 9)], LATER) is ends


def test_a_container_that_its_node_lost_has_not_ended_by_itself() -> None:
    lost = pod("new-1", 1, ended="")
    ends = Ends().after([lost], [replace(lost, name="old-1")], NOW)
    assert (ends.candidate, ends.champion, ends.at) == (0, 0, None)
    assert ends.after([pod("new-1", 2)], [], LATER).candidate == 1, "the next one counts alone"


def test_a_pod_that_is_none_of_the_revision_s_says_nothing() -> None:
    stray = replace(pod("new-1", 2), stray=True)
    ends = Ends()
    assert ends.after([stray], [stray], NOW) is ends


def test_a_count_that_falls_as_its_pod_is_deleted_takes_nothing_back() -> None:
    ends = Ends().after([pod("new-1", 2)], [], NOW)
    assert ends.after([pod("new-1", 1)], [], LATER) is ends


def test_the_promotion_is_held_from_the_last_end_on() -> None:
    ends = Ends().after([pod("new-1", 1)], [pod("old-1", 1)], NOW)
    assert ends.hold_until == NOW + HOLDS
    assert ends.after([pod("new-1", 2)], [], LATER).hold_until == LATER + HOLDS
    assert Ends().after([], [pod("old-1", 1)], NOW).hold_until is None


@pytest.mark.parametrize("ends", [None, Ends(), Ends().after([pod("new-1", 1)], [pod("old-1", 2)], NOW)])
def test_the_record_says_what_was_written(ends: Ends | None) -> None:
    record = RolloutRecord("r", NOW, "Canary", 4, ends=ends)
    assert RolloutRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    "text",
    ['"many"', "{}", '{"candidate": -1, "champion": 0, "seen": {}}', '{"candidate": 0, "champion": 0, "seen": []}',
     '{"candidate": 0, "champion": 0, "seen": {"new-1": "two"}}', "null"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str) -> None:
    written = RolloutRecord("r", NOW, "Canary", 4).to_json()
    with pytest.raises((ValueError, KeyError)):
        RolloutRecord.from_json(f'{written[:-1]}, "ends": {text}}}')
