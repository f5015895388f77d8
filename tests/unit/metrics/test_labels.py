"""Goals, from an exporter that stands in for a model's server to the verdict. The CRD offers none of them yet."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from podium.analysis.decision import Call
from podium.analysis.ledger import read as read_ledger
from podium.analysis.ledger import replay
from podium.analysis.metrics import LABELLED, TYPES, Kind
from podium.analysis.plan import Role
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS, Resource
from podium.manifests.counting import Counting
from podium.metrics import course as courses
from podium.metrics import labels
from podium.metrics.pods import Pods
from podium.metrics.reading import Unreadable
from podium.metrics.rounds import Answer
from podium.metrics.scraper import Round, Scraper
from podium.metrics.sources import source
from podium.rollout.asked import Asked, Where
from podium.rollout.measuring import Snapshot, Task
from podium.rollout.wish import KINDS, Wish
from tests.unit.metrics.test_course import BEGAN, sample
from tests.unit.metrics.test_pods import pod

KEY: Key = MODEL_DEPLOYMENTS.key("ml", "fraud")
OLD, NEW = "old", "new"
GOALS = sorted(LABELLED)
RIGHT = 0.8
"""The share of the champion's answers that are right."""
MADE, EVERY = 100, 2.0
"""Labels of each revision in each round, and seconds between rounds."""
HERE = "127.0.0.1"


class Exporter:
    """The metrics of model servers. Labels of either revision come to the pods of both, half of them to each."""

    def __init__(self) -> None:
        self.told: dict[str, defaultdict[tuple[str, str], float]] = {"a": defaultdict(float), "b": defaultdict(float)}
        """By pod: by series and revision."""

    def label(self, revision: str, number: int, right: float) -> None:
        """So many more answers of a revision get a label and a reward (the mean of which is below 0)."""
        wrong = number * (1 - right)
        mean = right - 1
        grown = {
            "labelled_total": number, "correct_total": number * right,
            "true_positives_total": number * right / 2, "false_positives_total": wrong / 2,
            "false_negatives_total": wrong / 2,
            "reward_count": number, "reward_sum": number * mean, "reward_sumsq": number * (mean**2 + 0.5),
        }  # fmt: skip
        for told in self.told.values():
            for name, count in grown.items():
                told[name, revision] += count / 2

    def text(self, name: str) -> str:
        """What a pod says."""
        return "".join(
            f'podium_feedback_{series}{{model="fraud",revision="{revision}"}} {count}\n'
            for (series, revision), count in self.told[name].items()
        )

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(text=self.text(request.match_info["pod"]))


class Cache:
    """The pods of one ModelDeployment; it has no routers."""

    def __init__(self) -> None:
        self.pods = [pod("a", OLD), pod("b", NEW)]
        for each in self.pods:
            each["status"]["podIP"] = HERE

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        return self.pods if (resource, namespace, model) == (PODS, "ml", "fraud") else []


class Rollout:
    """Half of the requests go to the candidate, which is to be better in one goal."""

    def __init__(self, exporter: Exporter, port: int, kind: Kind = Kind.ACCURACY) -> None:
        goal = Wish("goal", kind, TYPES[kind].max_ratio, 1.0, 0.0)
        self.exporter, self.cache, self.now = exporter, Cache(), BEGAN
        self.task = Task(
            rollout="r1", champion=OLD, candidate=NEW, asked=Asked((goal,)), weights=1, longest=3600.0, weight=5_000,
            applied=True, applied_since=None, step=0, begins=True, pods=(1, 1), warm_at=0.0,
            counting={OLD: Counting("/a", port, (), ()), NEW: Counting("/b", port, (), ())},
        )  # fmt: skip
        self.course = courses.begun(self.task, BEGAN, None)

    @property
    def live(self) -> Snapshot:
        """What the rounds have come to."""
        assert self.course.live is not None
        return self.course.live

    async def rounds(self, number: int, right: float, *routers: Answer) -> None:
        """So many rounds, at each of which new labels have come; `routers` answer, too."""
        async with Scraper(clock=lambda: self.now) as scraper:
            for _ in range(number):
                self.now += EVERY
                self.exporter.label(OLD, MADE, RIGHT)
                self.exporter.label(NEW, MADE, right)
                targets = source(self.task.asked).targets(self.cache, KEY, self.task)
                found = await scraper.round(targets.asks, EVERY)
                found = Round(found.began, (*found.samples, *routers), found.failed)
                known = targets.known | {each.pod for each in routers}
                self.course = courses.after(self.course, self.task, found, known, targets.needed, self.now)


@pytest.fixture
async def port(exporter: Exporter) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/{pod}", exporter.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.fixture
async def exporter() -> Exporter:
    """The champion's answers were labelled before."""
    made = Exporter()
    made.label(OLD, 5_000, RIGHT)
    return made


@pytest.mark.parametrize("kind", GOALS)
@pytest.mark.parametrize(
    ("right", "call", "rule"),
    [(0.9, Call.PROMOTE, "evidence"), (RIGHT, Call.GO_ON, ""), (0.7, Call.ROLL_BACK, "harm: goal")],
    ids=["better", "alike", "worse"],
)
async def test_a_goal_decides_by_what_pods_tell_of_labels(
    exporter: Exporter, port: int, kind: Kind, right: float, call: Call, rule: str
) -> None:
    rollout = Rollout(exporter, port, kind)
    await rollout.rounds(40, right)
    found = rollout.live
    assert (found.decision.call, found.decision.rule) == (call, rule)
    assert found.ledger.plan.metrics[0].role is Role.GOAL
    assert replay(read_ledger(found.ledger.to_text())) == found.state


async def test_each_label_counts_once_for_the_revision_that_answered_whichever_pod_it_came_to(
    exporter: Exporter, port: int
) -> None:
    rollout = Rollout(exporter, port)
    await rollout.rounds(11, 0.9)
    assert rollout.live.state.counted["labelled"] == (1_000, 1_000)
    assert rollout.live.state.counted["wrong"] == pytest.approx((200, 100))
    exporter.told["b"].clear()  # its server is started anew, and counts from 0
    await rollout.rounds(1, 0.9)
    assert rollout.live.state.counted["labelled"] == (1_100, 1_100)


async def test_a_champion_that_was_often_wrong_before_the_rollout_is_compared_by_odds(
    exporter: Exporter, port: int
) -> None:
    rollout = Rollout(exporter, port)
    rollout.task = replace(rollout.task, weight=0, begins=False)
    await rollout.rounds(1, 0.9, sample("r", 2, 5_000, 0))
    await rollout.rounds(1, 0.9, sample("r", 4, 7_000, 0))
    rollout.task = replace(rollout.task, begins=True)
    await rollout.rounds(1, 0.9, sample("r", 6, 7_000, 0))
    (goal,) = rollout.live.ledger.plan.metrics
    assert (goal.base, goal.odds) == (pytest.approx(1 - RIGHT), True), "many requests in it, and few labels"


async def test_labels_are_counted_beside_requests_in_one_round(exporter: Exporter, port: int) -> None:
    rollout = Rollout(exporter, port)
    for at, answered in ((2, 0), (4, 10), (6, 20), (8, 30)):
        await rollout.rounds(1, 0.9, sample("r", at, 5_000 + answered, answered))
    counted = rollout.live.state.counted
    assert (counted["finished"], counted["labelled"]) == ((30, 30), (300, 300))
    await rollout.rounds(1, 0.9)
    counted = rollout.live.state.counted
    assert (counted["finished"], counted["labelled"]) == ((30, 30), (400, 400)), "the router missed a round"


@pytest.mark.parametrize(
    ("series", "why"),
    [
        ('labelled_total{revision="x"} NaN', "no count"),
        ('labelled_total{revision="x"} -1', "no count"),
        ('reward_sum{revision="x"} +Inf', "no count"),
        ('correct_total{revision="x"} 1', "more labels are told to be correct than there are"),
    ],
)
def test_what_cannot_be_is_not_counted(series: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        labels.read(Counting("/", 1, (), ()), "a", OLD, 0.0, BEGAN, f"podium_feedback_{series}\n")


def test_a_pod_that_tells_of_no_label_has_been_told_none() -> None:
    found = labels.read(Counting("/", 1, (), ()), "a", OLD, 0.0, BEGAN, "up 1\n")
    assert found.series(NEW)[NEW]["labelled"] == 0


async def test_a_pod_whose_labels_cannot_be_read_holds_and_rolls_nothing_back(exporter: Exporter, port: int) -> None:
    rollout = Rollout(exporter, port)
    await rollout.rounds(5, 0.9)
    rollout.task = replace(
        rollout.task, counting={**rollout.task.counting, NEW: Counting("/none/at/all", port, (), ())}
    )
    await rollout.rounds(40, 0.9)
    found = courses.found(rollout.course, rollout.task, None, rollout.now)
    assert "not all routers and pods have been read for 80 s: pod b: " in found.holds[0]
    assert found.unread_since is None


def test_without_a_router_nobody_asks_for_labels() -> None:
    goal = Wish("goal", Kind.F1, 1.5, 1.0, 0.0)
    assert isinstance(source(Asked((goal,))), labels.Labelled)
    assert isinstance(source(Asked((goal,), at=Where.PODS)), Pods)


def test_no_spec_can_ask_for_a_goal_yet() -> None:
    assert not KINDS & LABELLED
