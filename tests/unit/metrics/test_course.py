"""The course of one rollout's measuring, from its first round to an operator that takes over."""

from dataclasses import replace

import pytest

from podium.analysis.edges import EDGES
from podium.analysis.ledger import read as read_ledger
from podium.analysis.metrics import Kind
from podium.metrics import course as courses
from podium.metrics.course import EXPECTED, Course
from podium.metrics.heard import LATE, PATIENCE
from podium.metrics.queried import Answers, Level, Look
from podium.metrics.rounds import Sample
from podium.metrics.scraper import Round
from podium.rollout.asked import Asked
from podium.rollout.measuring import UNASKED, UNREAD, Task
from podium.rollout.wish import Wish
from tests.unit.metrics.given import cluster, ended, reading

BEGAN = 10_000.0
ERRORS = Wish("errors", Kind.ERROR_RATE, 1.5, 1.0, 0.001)
SLOW = Wish("slow", Kind.LATENCY, 1.5, 1.5, 0.01)
TASK = Task(
    rollout="r1", champion="old", candidate="new", asked=Asked((ERRORS, SLOW)), weights=2, longest=3600.0, weight=0,
    applied=True, applied_since=None, step=0, begins=False, pods=(2, 1), warm_at=0.0,
)  # fmt: skip
HALF = replace(TASK, weight=5_000, begins=True)


def sample(pod: str, at: float, old: int, new: int, failed: int = 0, behind: float = 0.0) -> Sample:
    """A router that has counted so many answers of each revision, in 5 ms, and so many 500 of the candidate.

    `behind`: seconds by which the clock that `at` is of is behind that of the operator before.
    """
    parts = [cluster("old.http", total=old, times={5: old}), ended(200, count=old, name="old.http")]
    parts += [cluster("new.http", total=new + failed, times={5: new + failed}), ended(200, count=new)]
    parts += [ended(500, count=failed)] if failed else []
    return Sample(BEGAN + at, reading(*parts, pod=pod, uptime=int(500 + at + behind)))


class Rollout:
    """Rounds one after the other, of routers a and b."""

    def __init__(self, course: Course | None = None) -> None:
        self.course = course or courses.begun(TASK, BEGAN, None)

    def round(self, at: float, *samples: Sample, task: Task = HALF, **failed: str) -> "Rollout":
        found = Round(BEGAN + at - 0.1, samples, failed)
        self.course = courses.after(self.course, task, found, ("a", "b"), {"a": "", "b": ""}, BEGAN + at)
        return self

    @property
    def counted(self) -> tuple[float, float]:
        """Answers so far: the champion's, the candidate's."""
        assert self.course.live is not None
        return self.course.live.state.counted["finished"]

    @property
    def alarm(self) -> bool:
        """Whether requests are found to be split otherwise than asked."""
        assert self.course.live is not None
        return self.course.live.state.alarmed


@pytest.fixture
def weighed() -> Rollout:
    """The champion answered 2,000 requests before; evidence is counted from second 4 on."""
    found = Rollout()
    found.round(0, sample("a", 0, 5_000, 0), sample("b", 0, 5_000, 0), task=TASK)
    found.round(2, sample("a", 2, 6_000, 0), sample("b", 2, 6_000, 0), task=TASK)
    return found.round(4, sample("a", 4, 6_010, 0), sample("b", 4, 6_010, 0), task=replace(TASK, begins=True))


def test_figures_are_frozen_as_the_first_weight_is_near(weighed: Rollout) -> None:
    assert weighed.course.live is not None
    errors, slow = weighed.course.live.ledger.plan.metrics
    assert errors.base == 0.0
    assert slow.edge == next(edge for edge in EDGES if edge >= 0.005)
    assert slow.weighed


def test_before_that_nothing_is_evidence(weighed: Rollout) -> None:
    assert weighed.course.live is not None
    assert weighed.course.live.state.intervals == 0
    assert weighed.course.live.ledger.plan.started_at == BEGAN + 4


def test_with_few_answers_in_the_rollout_the_totals_of_the_routers_are_taken() -> None:
    found = Rollout().round(0, sample("a", 0, 900, 0), sample("b", 0, 900, 0), task=TASK)
    found.round(2, sample("a", 2, 901, 0), sample("b", 2, 901, 0), task=replace(TASK, begins=True))
    assert found.course.live is not None
    assert found.course.live.ledger.plan.metrics[1].weighed


def test_with_few_answers_at_all_latency_is_shown_and_not_weighed() -> None:
    found = Rollout().round(0, sample("a", 0, 9, 0), sample("b", 0, 9, 0), task=TASK)
    found.round(2, sample("a", 2, 10, 0), sample("b", 2, 10, 0), task=replace(TASK, begins=True))
    assert found.course.live is not None
    assert [each.weighed for each in found.course.live.ledger.plan.metrics] == [True, False]


def test_nothing_is_frozen_while_a_router_cannot_be_read() -> None:
    found = Rollout().round(0, sample("a", 0, 5_000, 0), b="b did not answer", task=replace(TASK, begins=True))
    assert found.course.live is None


def test_the_interval_of_a_change_is_counted_and_not_weighed(weighed: Rollout) -> None:
    weighed.round(6, sample("a", 6, 6_020, 10), sample("b", 6, 6_020, 10))
    weighed.round(8, sample("a", 8, 6_030, 20), sample("b", 8, 6_030, 20))
    weighed.round(10, sample("a", 10, 6_040, 30), sample("b", 10, 6_040, 30))
    assert weighed.counted == (60, 60)
    assert weighed.course.live is not None
    assert weighed.course.live.state.weighed["finished"] == (20, 20), "the round after it ends with late latencies"


def test_while_routers_disagree_nothing_is_weighed(weighed: Rollout) -> None:
    apart = replace(HALF, applied=False)
    for at in range(6, 30, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at), sample("b", at, 6_000 + at, at), task=apart)
    assert weighed.course.live is not None
    assert weighed.counted[1] > 0
    assert "finished" not in weighed.course.live.state.weighed


def test_a_router_that_is_silent_holds_after_a_while_and_is_unreachable_after_a_minute(weighed: Rollout) -> None:
    for at in range(6, 80, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at), b="b did not answer")
        found = courses.found(weighed.course, HALF, None, BEGAN + at)
        assert bool(found.holds) == (at - 4 > LATE + 2)
        assert bool(found.unreachable) == (at - 4 >= PATIENCE)
    assert "b did not answer" in found.unreachable


def test_routers_that_miss_rounds_in_turn_have_been_read_all_the_same(weighed: Rollout) -> None:
    for at in range(6, 80, 4):
        weighed.round(at, sample("a", at, 6_000 + at, at), b="b did not answer")
        weighed.round(at + 2, sample("b", at + 2, 6_000 + at, at), a="a did not answer")
        found = courses.found(weighed.course, HALF, None, BEGAN + at + 2)
        assert not found.holds
        assert not found.unreachable


def test_after_a_restart_of_the_operator_routers_may_answer_in_different_rounds(weighed: Rollout) -> None:
    assert weighed.course.live is not None
    after = Rollout(courses.begun(HALF, BEGAN + 40, weighed.course.live.ledger))
    after.round(42, sample("a", 42, 6_100, 100), b="b did not answer")
    assert courses.found(after.course, HALF, None, BEGAN + 42).holds == (UNREAD,)
    after.round(44, sample("b", 44, 6_100, 100), a="a did not answer")
    assert courses.found(after.course, HALF, None, BEGAN + 44).holds == ()


def test_only_the_routers_are_named_that_miss_more_than_a_round(weighed: Rollout) -> None:
    for at in range(6, 80, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at), b="b did not answer")
    weighed.round(80, a="a did not answer", b="b did not answer")
    assert courses.found(weighed.course, HALF, None, BEGAN + 80).unreachable == "b did not answer"


def test_a_candidate_that_no_request_reaches_is_told_after_a_minute(weighed: Rollout) -> None:
    for at in range(6, 80, 2):
        weighed.round(at, sample("a", at, 6_000 + at * 10, 0), sample("b", at, 6_000 + at * 10, 0))
    found = courses.found(weighed.course, HALF, None, BEGAN + 78)
    assert found.silent.startswith("the candidate has had no request for 7")
    assert found.holds == (found.silent,)


def test_requests_that_a_weight_not_in_effect_yet_would_bring_are_not_missed(weighed: Rollout) -> None:
    awaited = replace(HALF, applied=False)
    for at in range(6, 80, 2):
        both = [sample(pod, at, 6_000 + at * 10, 0) for pod in ("a", "b")]
        weighed.round(at, *both, task=awaited)
    assert not courses.found(weighed.course, awaited, None, BEGAN + 78).silent


def test_where_few_requests_were_to_be_expected_their_absence_says_nothing(weighed: Rollout) -> None:
    few = replace(HALF, weight=10)
    for at in range(6, 200, 2):
        weighed.round(at, sample("a", at, 6_000 + at, 0), sample("b", at, 6_000 + at, 0), task=few)
    assert EXPECTED > 120 * 0.001
    assert not courses.found(weighed.course, few, None, BEGAN + 198).silent


def test_another_operator_goes_on_from_the_ledger_and_counts_nothing_twice(weighed: Rollout) -> None:
    for at in (6, 8, 10, 12):
        weighed.round(at, sample("a", at, 6_000 + at * 5, at * 5), sample("b", at, 6_000 + at * 5, at * 5))
    before = weighed.counted
    assert weighed.course.live is not None
    stored = read_ledger(weighed.course.live.ledger.to_text())
    task = replace(HALF, applied_since=BEGAN + 6)
    after = Rollout(courses.begun(task, BEGAN + 40, stored))
    assert courses.found(after.course, task, None, BEGAN + 40).holds == (UNREAD,)
    after.round(42, sample("a", 42, 6_000 + 210, 210), sample("b", 42, 6_000 + 210, 210), task=task)
    assert after.counted == (before[0] + 300, before[1] + 300)
    assert after.course.live is not None
    state = after.course.live.state
    assert state.dropped == weighed.course.live.state.dropped, "the weight stayed: what was missed is one interval"
    assert not courses.found(after.course, task, None, BEGAN + 42).holds


def test_what_a_restart_missed_is_counted_alone_if_the_weight_changed(weighed: Rollout) -> None:
    for at in (6, 8, 10, 12):
        weighed.round(at, sample("a", at, 6_000 + at * 5, at * 5), sample("b", at, 6_000 + at * 5, at * 5))
    assert weighed.course.live is not None
    stored = read_ledger(weighed.course.live.ledger.to_text())
    task = replace(HALF, weight=7_500, applied_since=BEGAN + 20)
    after = Rollout(courses.begun(task, BEGAN + 40, stored))
    after.round(42, sample("a", 42, 6_210, 210), sample("b", 42, 6_210, 210), task=task)
    assert after.course.live is not None
    assert after.course.live.state.weighed == weighed.course.live.state.weighed
    assert after.counted == (weighed.counted[0] + 300, weighed.counted[1] + 300)


def test_a_clock_that_is_behind_the_last_operators_loses_no_count(weighed: Rollout) -> None:
    for at in (6, 8, 10, 12):
        weighed.round(at, sample("a", at, 6_000 + at * 5, at * 5), sample("b", at, 6_000 + at * 5, at * 5))
    assert weighed.course.live is not None
    ledger = weighed.course.live.ledger.checkpointed()
    ahead = replace(ledger, checkpoint=replace(ledger.checkpoint, until=BEGAN + 60))
    seen = {name: {**levels, "at": BEGAN} if "at" in levels else levels for name, levels in ledger.seen.items()}
    task = replace(HALF, applied_since=BEGAN + 6)
    after = Rollout(courses.begun(task, BEGAN + 40, replace(ahead, seen=seen)))
    after.round(42, sample("a", 42, 6_210, 210), sample("b", 42, 6_210, 210), task=task)
    assert after.counted[0] > weighed.counted[0]
    assert after.course.live is not None
    assert after.course.live.state.until == BEGAN + 60


def test_a_resume_ends_an_alarm_on_the_sample_ratio(weighed: Rollout) -> None:
    weighed.round(6, sample("a", 6, 6_010, 0), sample("b", 6, 6_010, 0))
    for at in range(8, 60, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at * 50), sample("b", at, 6_000 + at, at * 50))
    assert weighed.course.live is not None
    assert weighed.course.live.state.alarmed
    resumed = replace(HALF, resumed="resume new t1")
    weighed.round(60, sample("a", 60, 6_108, 2_950), sample("b", 60, 6_108, 2_950), task=resumed)
    assert not weighed.course.live.state.alarmed


@pytest.fixture
def alarmed(weighed: Rollout) -> Rollout:
    """The candidate gets far more requests than its weight says; the last round is that of second 58."""
    weighed.round(6, sample("a", 6, 6_010, 0), sample("b", 6, 6_010, 0))
    for at in range(8, 60, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at * 50), sample("b", at, 6_000 + at, at * 50))
    assert weighed.alarm
    return weighed


def test_a_resume_that_comes_while_no_router_can_be_read_is_not_lost(alarmed: Rollout) -> None:
    resumed = replace(HALF, resumed="resume new t1")
    alarmed.round(60, a="a did not answer", b="b did not answer", task=resumed)
    assert alarmed.alarm
    alarmed.round(62, sample("a", 62, 6_108, 2_950), sample("b", 62, 6_108, 2_950), task=resumed)
    assert not alarmed.alarm


@pytest.mark.parametrize(("later", "ends"), [(121, True), (119, False)], ids=["surely later", "perhaps not"])
def test_a_resume_that_no_ledger_tells_of_ends_an_older_alarm_at_the_next_start(
    alarmed: Rollout, later: int, ends: bool
) -> None:
    assert alarmed.course.live is not None
    stored = read_ledger(alarmed.course.live.ledger.checkpointed().to_text())
    since = alarmed.course.live.state.alarmed_at
    assert since is not None
    task = replace(HALF, resumed="resume new t1", resumed_at=since + later)
    after = Rollout(courses.begun(task, BEGAN + 60, stored))
    after.round(62, sample("a", 62, 6_108, 2_950), sample("b", 62, 6_108, 2_950), task=task)
    after.round(64, sample("a", 64, 6_109, 2_951), sample("b", 64, 6_109, 2_951), task=task)
    assert after.alarm is not ends


def test_another_command_after_a_resume_is_no_resume(alarmed: Rollout) -> None:
    resumed = replace(HALF, resumed="resume new t1")
    alarmed.round(60, sample("a", 60, 6_060, 2_950), sample("b", 60, 6_060, 2_950), task=resumed)
    for at in range(62, 120, 2):
        alarmed.round(at, sample("a", at, 6_000 + at, at * 50), sample("b", at, 6_000 + at, at * 50), task=resumed)
    assert alarmed.alarm
    alarmed.round(120, sample("a", 120, 6_119, 5_901), sample("b", 120, 6_119, 5_901), task=replace(HALF, resumed=""))
    assert alarmed.alarm


def test_an_operator_whose_clock_is_behind_the_last_one_s_goes_on_weighing_at_once(weighed: Rollout) -> None:
    for at in range(6, 100, 2):
        weighed.round(at, sample("a", at, 6_000 + at * 5, at * 5), sample("b", at, 6_000 + at * 5, at * 5))
    before, live = weighed.counted, weighed.course.live
    assert live is not None
    task = replace(HALF, applied_since=BEGAN + 6)
    after = Rollout(courses.begun(task, BEGAN + 40, live.ledger))
    for at, more in ((42, 510), (44, 520), (46, 530)):
        samples = [sample(pod, at, 6_000 + more, more, behind=60) for pod in ("a", "b")]
        after.round(at, *samples, task=task)
    assert after.course.live is not None
    state = after.course.live.state
    assert after.counted == (before[0] + 80, before[1] + 80), "98 s is 490; nothing is lost, nothing counted twice"
    assert state.weighed["finished"][1] == live.state.weighed["finished"][1] + 80, "the weight stayed all the time"


def test_a_clock_that_is_put_back_in_mid_rollout_loses_no_evidence(weighed: Rollout) -> None:
    for at in range(6, 100, 2):
        weighed.round(at, sample("a", at, 6_000 + at * 5, at * 5), sample("b", at, 6_000 + at * 5, at * 5))
    assert weighed.course.live is not None
    before = weighed.course.live.state.weighed["finished"][1]
    for at, more in ((40, 500), (42, 510), (44, 520)):
        samples = [sample(pod, at, 6_000 + more, more, behind=60) for pod in ("a", "b")]
        weighed.round(at, *samples)
    assert weighed.course.live.state.weighed["finished"][1] == before + 60


def test_a_clock_that_is_put_back_hides_no_router_that_is_silent(weighed: Rollout) -> None:
    for at in range(6, 100, 2):
        weighed.round(at, sample("a", at, 6_000 + at, at), sample("b", at, 6_000 + at, at))
    for at in range(40, 56, 2):
        weighed.round(at, sample("a", at, 6_060 + at, 60 + at, behind=60), b="b did not answer")
    assert "b did not answer" in courses.found(weighed.course, HALF, None, BEGAN + 54).holds[0]


CHECKOUT = Wish("checkout", Kind.PROMETHEUS, 1.5, 1.0, 0.0, events="e", total="t")
ASKED = replace(HALF, asked=Asked((ERRORS, CHECKOUT)))
MINUTE = 60.0


def looked(found: Rollout, at: float, old: tuple[int, int] | str, new: tuple[int, int] | str = "none yet") -> Rollout:
    """Prometheus is looked at: events and total of each revision, or why there are none."""
    arms: list[Answers] = [{"checkout": each if isinstance(each, str) else Level(*each)} for each in (old, new)]
    found.course = courses.looked(found.course, ASKED, Look(BEGAN + at, *arms), MINUTE, BEGAN + at)
    return found


@pytest.fixture
def asked() -> Rollout:
    """Prometheus has told of the champion; the ledger begins at second 4, and a first round is counted at second 6."""
    found = looked(Rollout(), 0, (300, 2_000))
    found.round(0, sample("a", 0, 5_000, 0), sample("b", 0, 5_000, 0), task=replace(ASKED, weight=0))
    found.round(4, sample("a", 4, 6_010, 0), sample("b", 4, 6_010, 0), task=ASKED)
    return found.round(6, sample("a", 6, 6_020, 10), sample("b", 6, 6_020, 10), task=ASKED)


def test_nothing_begins_before_prometheus_has_told_of_the_champion() -> None:
    found = Rollout()
    for at, why in ((0, UNASKED), (4, "metric checkout: no")):
        found.round(at, sample("a", at, 5_000, 0), sample("b", at, 5_000, 0), task=ASKED)
        assert found.course.live is None
        assert why in courses.found(found.course, ASKED, None, BEGAN + at).holds
        looked(found, at + 1, "metric checkout: no")
    looked(found, 6, (0, 10)).round(8, sample("a", 8, 5_000, 0), sample("b", 8, 5_000, 0), task=ASKED)
    assert found.course.live is not None


def test_the_base_rate_is_frozen_from_what_prometheus_told(asked: Rollout) -> None:
    assert asked.course.live is not None
    _, checkout = asked.course.live.ledger.plan.metrics
    assert (checkout.base, checkout.odds) == (0.15, True)


def test_a_look_is_counted_beside_the_rounds_and_takes_no_time(asked: Rollout) -> None:
    assert asked.course.live is not None
    seconds, until = asked.course.live.state.seconds, asked.course.live.state.until
    looked(looked(asked, 70, (310, 2_100), (0, 50)), 130, (320, 2_200), (5, 100))
    state = asked.course.live.state
    assert state.weighed["total:checkout"] == (100, 50)
    assert state.weighed["events:checkout"] == (10, 5)
    assert (state.seconds, state.until) == (seconds, until)
    assert asked.course.live.ledger.intervals[-1].counted == {"events:checkout": (10, 5), "total:checkout": (100, 50)}


def test_a_look_soon_after_a_change_of_weight_is_counted_and_not_weighed(asked: Rollout) -> None:
    looked(looked(asked, 30, (310, 2_100), (0, 50)), 90, (320, 2_200), (5, 100))
    assert asked.course.live is not None
    assert asked.course.live.state.counted["total:checkout"] == (100, 50)
    assert "total:checkout" not in asked.course.live.state.weighed


def test_no_answer_for_an_arm_holds_until_there_is_one(asked: Rollout) -> None:
    looked(asked, 7, (310, 2_100), "metric checkout: nothing")
    assert courses.found(asked.course, ASKED, None, BEGAN + 8).holds == ("metric checkout: nothing",)
    looked(asked, 10, (310, 2_100), (0, 1))
    assert courses.found(asked.course, ASKED, None, BEGAN + 11).holds == ()


def test_whoever_leads_next_counts_on_from_what_the_ledger_has_seen(asked: Rollout) -> None:
    looked(asked, 70, (310, 2_100), (0, 50))
    assert asked.course.live is not None
    stored = read_ledger(asked.course.live.ledger.to_text())
    task = replace(ASKED, applied_since=BEGAN + 5)
    after = Rollout(courses.begun(task, BEGAN + 100, stored))
    assert UNASKED in courses.found(after.course, task, None, BEGAN + 100).holds
    looked(after, 130, (320, 2_200), (5, 100))
    assert after.course.live is not None
    assert after.course.live.state.weighed["total:checkout"] == (100, 50)


def test_an_interval_that_began_while_pods_were_warming_up_is_one_of_warming_up(weighed: Rollout) -> None:
    young = replace(HALF, warm_at=BEGAN + 60)
    for at in (50, 52, 54):  # the first two are of the change of weight
        weighed.round(at, sample("a", at, 6_100, 1_000), sample("b", at, 6_100, 1_000), task=young)
    weighed.round(350, sample("a", 350, 9_000, 4_000), sample("b", 350, 9_000, 4_000), task=young)
    weighed.round(352, sample("a", 352, 9_050, 4_050), sample("b", 352, 9_050, 4_050), task=young)
    assert weighed.course.live is not None
    assert [each.warming for each in weighed.course.live.ledger.intervals[-2:]] == [True, False]


def test_a_clock_that_is_put_back_goes_on_taking_what_prometheus_says(asked: Rollout) -> None:
    looked(asked, 3_600, (310, 2_100), (0, 50))
    asked.round(8, sample("a", 8, 6_030, 20), sample("b", 8, 6_030, 20), task=ASKED)
    looked(asked, 70, (320, 2_200), (5, 100))
    assert asked.course.live is not None
    assert asked.course.live.state.counted["total:checkout"] == (100, 50)
    assert "has not been asked" in " ".join(courses.found(asked.course, ASKED, None, BEGAN + 400).holds)
