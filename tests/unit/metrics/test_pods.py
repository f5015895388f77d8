"""Where pods count: who is read, and what comes of it from round to round."""

from dataclasses import replace

import pytest

from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS, Resource
from podium.manifests.counting import Counting
from podium.metrics import course as courses
from podium.metrics.heard import PATIENCE
from podium.metrics.pods import Pods
from podium.metrics.rounds import Answer
from podium.metrics.scraper import Round
from podium.rollout.asked import Asked, Where
from podium.rollout.measuring import Task
from tests.unit.metrics.test_course import BEGAN, ERRORS

COUNTS = Counting("/metrics", 8080, ("requests_total",), ('requests_total{code="500"}',))
KEY: Key = MODEL_DEPLOYMENTS.key("ml", "fraud")
TASK = Task(
    rollout="r1", champion="fraud-old", candidate="fraud-new", asked=Asked((ERRORS,), at=Where.PODS), weights=0,
    longest=3600.0, weight=5_000, applied=True, applied_since=None, step=0, begins=True, pods=(1, 1), warm_at=0.0,
    counting={"fraud-old": COUNTS, "fraud-new": COUNTS},
)  # fmt: skip


def pod(name: str, revision: str, *, ready: bool = True, **meta: object) -> Object:
    """A pod of a revision's Deployment, made long ago."""
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "labels": {names.LABEL_REVISION: revision},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{revision}-abc", "controller": True}],
            **meta,
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


class Cache:
    """The pods of one ModelDeployment."""

    def __init__(self, *pods: Object) -> None:
        self.pods = list(pods)

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        return self.pods if (resource, namespace, model) == (PODS, "ml", "fraud") else []


class Rollout:
    """Rounds one after the other; each pod says how many it answered and how many of these failed."""

    def __init__(self, *pods: Object) -> None:
        self.cache = Cache(*pods)
        self.course = courses.begun(TASK, BEGAN, None)
        self.task = TASK

    def round(self, at: float, **said: tuple[int, int] | None) -> "Rollout":
        """None: the pod does not answer."""
        targets = Pods().targets(self.cache, KEY, self.task)
        samples: list[Answer] = []
        for ask in targets.asks:
            figures = said[ask.pod]
            if figures is not None:
                text = (
                    f'requests_total{{code="200"}} {figures[0] - figures[1]}\nrequests_total{{code="500"}} {figures[1]}'
                )
                samples.append(ask.read(BEGAN + at, text))
        failed = {ask.pod: f"pod {ask.pod} is silent" for ask in targets.asks if said[ask.pod] is None}
        found = Round(BEGAN + at - 0.1, tuple(samples), failed)
        self.course = courses.after(self.course, self.task, found, targets.known, targets.needed, BEGAN + at)
        return self

    @property
    def counted(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Champion's and candidate's answers, and failed ones."""
        assert self.course.live is not None
        counted = self.course.live.state.counted
        return counted.get("finished", (0, 0)), counted.get("5xx", (0, 0))


@pytest.fixture
def rollout() -> Rollout:
    """One pod each; the champion's answered 1,000 before."""
    return Rollout(pod("a", "fraud-old"), pod("b", "fraud-new"))


def test_only_ready_pods_of_both_revisions_deployments_are_read() -> None:
    stray = pod("e", "fraud-new")
    stray["metadata"]["ownerReferences"] = []
    cache = Cache(
        pod("a", "fraud-old"),
        pod("b", "fraud-new"),
        pod("c", "fraud-new", ready=False),
        pod("d", "fraud-third"),
        stray,
        pod("f", "fraud-old", deletionTimestamp="2026-01-01T00:00:00Z"),
    )
    found = Pods().targets(cache, KEY, TASK)
    assert [(ask.pod, ask.address, ask.port, ask.path) for ask in found.asks] == [
        ("a", "10.0.0.7", 8080, "/metrics"), ("b", "10.0.0.7", 8080, "/metrics"), ("f", "10.0.0.7", 8080, "/metrics"),
    ]  # fmt: skip
    assert found.needed == {"a": "fraud-old", "b": "fraud-new"}
    assert found.known == {"a", "b", "c", "f"}


def test_what_pods_count_from_round_to_round_is_evidence(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0)).round(2, a=(1_100, 11), b=(50, 5)).round(4, a=(1_200, 12), b=(100, 10))
    assert rollout.counted == ((200, 100), (2, 10))
    assert rollout.course.live is not None
    assert rollout.course.live.ledger.plan.needed_for_harm == pytest.approx(400)


def test_a_candidates_pod_that_comes_counts_from_its_first_request(rollout: Rollout) -> None:
    rollout.cache.pods.pop()
    rollout.round(0, a=(1_000, 10))
    rollout.cache.pods.append(pod("b", "fraud-new", creationTimestamp="1970-01-01T02:46:45Z"))  # 10,005 s
    rollout.round(8, a=(1_100, 10), b=(40, 4))
    assert rollout.counted == ((100, 40), (0, 4))


def test_a_server_that_was_started_anew_counts_from_nothing(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0)).round(2, a=(1_100, 10), b=(50, 5)).round(4, a=(1_200, 10), b=(20, 2))
    assert rollout.counted == ((200, 70), (0, 7))


def test_a_pod_that_misses_a_round_loses_nothing(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0)).round(2, a=(1_100, 10), b=None).round(4, a=(1_200, 10), b=(100, 10))
    assert rollout.counted == ((200, 100), (0, 10))


def test_a_pod_that_is_unready_for_a_while_is_counted_once(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0)).round(2, a=(1_100, 10), b=(50, 5))
    ready = rollout.cache.pods.pop()
    rollout.cache.pods.append(pod("b", "fraud-new", ready=False))
    rollout.round(4, a=(1_200, 10))
    rollout.cache.pods[-1] = ready
    rollout.round(6, a=(1_300, 10), b=(60, 6))
    assert rollout.counted == ((300, 60), (0, 6))


def test_what_is_counted_while_shares_change_is_not_weighed(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0)).round(2, a=(1_100, 10), b=(50, 5))
    rollout.task = replace(TASK, weight=2_500)
    rollout.round(4, a=(1_200, 10), b=(100, 10)).round(8, a=(1_300, 10), b=(150, 15))
    rollout.round(10, a=(1_400, 10), b=(200, 20))
    assert rollout.course.live is not None
    state = rollout.course.live.state
    assert state.counted["finished"] == (400, 200)
    assert state.weighed["finished"] == (100, 50)


def test_pods_that_cannot_be_read_for_a_minute_are_told(rollout: Rollout) -> None:
    rollout.round(0, a=(1_000, 10), b=(0, 0))
    for at in range(2, 80, 2):
        rollout.round(at, a=(1_000 + at, 10), b=None)
        found = courses.found(rollout.course, TASK, None, BEGAN + at)
        assert bool(found.unreachable) == (at >= PATIENCE)
    assert "pod b is silent" in found.unreachable
    assert found.unread_since == BEGAN + 2, "the candidate's alone"


class Deaf:
    """A rollout whose candidate's pod b cannot be read from second 2 on; a and c are the champion's."""

    def __init__(self) -> None:
        self.rollout = Rollout(pod("a", "fraud-old"), pod("c", "fraud-old"), pod("b", "fraud-new"))
        self.rollout.round(0, a=(1_000, 10), b=(0, 0), c=(1_000, 10))
        self.at = 0

    def rounds(self, until: int, **said: tuple[int, int] | None) -> "Deaf":
        """A round each 2 s; a and c answer unless said otherwise."""
        while self.at < until:
            self.at += 2
            well = (1_000 + self.at, 10)
            self.rollout.round(self.at, **{"a": well, "b": None, "c": well, **said})
        return self

    def ready(self, name: str, *, ready: bool) -> None:
        """One of the pods is Ready from now on, or no longer."""
        pods = self.rollout.cache.pods
        revision = {"b": "fraud-new"}.get(name, "fraud-old")
        pods[:] = [*(each for each in pods if each["metadata"]["name"] != name), pod(name, revision, ready=ready)]

    @property
    def since(self) -> float | None:
        """Since when the candidate's pods alone cannot be read, in seconds from the first round."""
        found = courses.found(self.rollout.course, TASK, None, BEGAN + self.at).unread_since
        return None if found is None else found - BEGAN


@pytest.fixture
def deaf() -> Deaf:
    return Deaf().rounds(300)


def test_a_pod_of_the_champion_that_misses_a_round_does_not_excuse_the_candidate(deaf: Deaf) -> None:
    assert deaf.rounds(302, a=None).since == 2
    assert deaf.rounds(304, a=None, c=None).since == 2
    assert deaf.rounds(600).since == 2


def test_nor_does_a_candidates_pod_that_is_unready_for_a_moment(deaf: Deaf) -> None:
    deaf.ready("b", ready=False)
    assert deaf.rounds(310).since == 2
    deaf.ready("b", ready=True)
    assert deaf.rounds(600).since == 2


def test_a_candidate_that_answers_once_is_not_silent(deaf: Deaf) -> None:
    assert deaf.rounds(302, b=(10, 0)).since is None
    assert deaf.rounds(310).since == 304


def test_while_the_champion_cannot_be_read_either_nobody_is_to_blame(deaf: Deaf) -> None:
    silent = 300 + int(PATIENCE)
    assert deaf.rounds(silent - 2, a=None, c=None).since == 2
    assert deaf.rounds(silent, a=None, c=None).since is None
    assert deaf.rounds(silent + 2).since == silent + 2


def test_a_candidate_that_was_not_asked_for_a_minute_is_asked_anew(deaf: Deaf) -> None:
    deaf.ready("b", ready=False)
    assert deaf.rounds(300 + int(PATIENCE)).since is None
    deaf.ready("b", ready=True)
    assert deaf.rounds(400).since == 302 + int(PATIENCE)


def test_pods_of_the_candidate_of_which_one_answers_can_be_read() -> None:
    found = Deaf()
    found.rollout.cache.pods.append(pod("d", "fraud-new"))
    assert found.rounds(300, d=(5, 0)).since is None


def test_where_the_candidate_alone_is_silent_its_pods_are_named_and_no_others(deaf: Deaf) -> None:
    deaf.rounds(302, a=None)
    found = courses.found(deaf.rollout.course, TASK, None, BEGAN + 302)
    assert found.unreachable == "pod b is silent"
