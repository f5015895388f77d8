"""Which of a Deployment's pods count as available, whatever its controller last reported."""

from datetime import datetime, timedelta

import pytest

from podium import names
from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS
from podium.reconcile.readings import read_workload
from podium.rollout.moment import Moment
from podium.rollout.state import Pod
from tests.unit.planner.controllers import is_ready
from tests.unit.planner.given import created, serving, updating
from tests.unit.planner.world import START, model


def deployment(available: int, *, replicas: int = 3, min_ready: int = 10) -> Object:
    status = {"replicas": replicas, "readyReplicas": available, "availableReplicas": available}
    return {"metadata": {"name": "d"}, "spec": {"replicas": replicas, "minReadySeconds": min_ready}, "status": status}


def pods(*ready_for: float | None) -> list[Pod]:
    """One for each: ready for so many seconds at START, or not."""
    since = [None if age is None else START - timedelta(seconds=age) for age in ready_for]
    return [Pod(f"p{number}", START - timedelta(hours=1), at) for number, at in enumerate(since)]


@pytest.mark.parametrize(
    ("ready_for", "available", "wake_at"),
    [
        ((60, 60, 60), 3, None),
        ((60, 60, None), 2, None),
        ((60, 60, 4), 2, START + timedelta(seconds=6)),  # the report is of another pod, which has turned unready
        ((60, 4, 2), 1, START + timedelta(seconds=6)),
        ((60, 60, 60, 60), 3, None),
        ((60, 60, 60, 1), 3, START + timedelta(seconds=9)),
    ],
)
def test_a_pod_counts_once_it_has_been_ready_for_minReadySeconds(
    ready_for: tuple[float | None, ...], available: int, wake_at: datetime | None
) -> None:
    moment = Moment(START)
    workload = read_workload(deployment(available=3), pods(*ready_for), moment)
    assert (workload.available, moment.wake_at) == (available, wake_at)


def test_without_minReadySeconds_no_clock_is_asked() -> None:
    moment = Moment(START)
    workload = read_workload(deployment(available=1, replicas=1, min_ready=0), pods(-30), moment)
    assert (workload.available, moment.wake_at) == (1, None)


def test_a_count_that_the_clock_alone_completes_is_looked_at_then(monkeypatch: pytest.MonkeyPatch) -> None:
    world = serving(replicas=1)
    monkeypatch.setattr(world.cluster, "is_available", lambda pod, min_ready: is_ready(pod))  # its clock runs ahead
    world.edit(model=model("2"))
    world.advance(1)
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted", within=60)


def test_without_a_champion_at_most_one_revision_is_still_going_when_the_next_one_starts() -> None:
    world = created(replicas=2)
    world.cluster.grace = 120
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, len({pod["metadata"]["labels"]["podium.dev/revision"] for pod in world.pods()}))

    world.after_pass.append(count)
    world.behave("1", ready_after=None)
    for version in ("2", "3", "4"):
        world.behave(version, ready_after=None)
        world.advance(3)
        world.edit(model=model(version))
    world.behave("4")
    world.until(lambda: world.phase == "Healthy", within=600)
    assert most == 2


def test_a_report_that_comes_with_the_answer_to_our_own_write_is_looked_at_though_its_event_is_no_news_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a Deployment controller that has not told yet of the candidate's one pod, which is ready,
    world = updating(replicas=1, rollout={"minReadySeconds": 0})
    champion, candidate = world.revision("1"), world.revision("2")
    tell = world.cluster.run_deployments
    monkeypatch.setattr(world.cluster, "run_deployments", lambda: None)
    world.until(lambda: len(world.ready_pods(candidate)) == 1)
    world.advance(5)
    assert world.replicas(champion) == 1
    # when it tells in the very moment in which Podium repairs something else of that Deployment,
    world.client.before.append(lambda call: tell() if (call.verb, call.resource) == ("apply", DEPLOYMENTS) else None)
    world.change(DEPLOYMENTS, candidate, lambda o: o["metadata"]["labels"].pop(names.LABEL_INSTANCE))
    world.advance(2)
    # then the rollout goes on at once.
    assert world.replicas(champion) == 0
