"""Which of a Deployment's pods count as available, whatever its controller last reported."""

from datetime import datetime, timedelta

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS
from podium.reconcile.readings import read_pod, read_workload
from podium.reconcile.sightings import Sightings
from podium.rollout.moment import Moment
from podium.rollout.revision import Pod, Seasoned
from tests.unit.planner.apiserver import wire_time
from tests.unit.planner.given import created, updating
from tests.unit.planner.world import START, model

MINUTE = timedelta(minutes=1)
LONG_AGO = START - timedelta(hours=1)


def deployment(ready: int, *, replicas: int = 3, available: int = 0) -> Object:
    status = {"replicas": replicas, "readyReplicas": ready, "availableReplicas": available}
    return {"metadata": {"name": "d"}, "spec": {"replicas": replicas, "minReadySeconds": 10}, "status": status}


def pod(since: datetime | None, *, name: str = "p", created: datetime = LONG_AGO) -> Object:
    """Ready since then by its kubelet, or not ready."""
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": wire_time(since)}] if since else []
    meta = {"name": name, "labels": {}, "creationTimestamp": wire_time(created)}
    return {"metadata": meta, "status": {"phase": "Running", "conditions": ready}}


def look(now: datetime, one: Object, last: Sightings | None = None, *, min_ready: int = 10) -> tuple[Pod, Sightings]:
    """One pass's look at one pod."""
    sightings = Sightings.after(last, Moment(now))
    return read_pod(one, sightings, timedelta(seconds=min_ready)), sightings


def pods(kinds: str) -> list[Pod]:
    """One for each letter: beyond Doubt, Yes, Perhaps, No (ready for too short a time), - (not ready)."""
    known = {"D": Seasoned.BEYOND_DOUBT, "Y": Seasoned.YES, "P": Seasoned.PERHAPS}
    return [Pod(f"p{n}", START, kind != "-", known.get(kind, Seasoned.NO)) for n, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("ready", "reported", "seen", "available", "ripening"),
    [
        (3, 3, "YYY", 3, 0),
        (3, 3, "YY-", 2, 0),  # the report is of before a pod turned unready
        (3, 3, "YYN", 2, 0),
        (3, 3, "YPN", 1, 1),
        (3, 2, "YYY", 2, 0),  # the report is on its way
        (3, 0, "DDD", 3, 0),  # it will not come: it goes by a clock that is ahead
        (3, 1, "DDY", 2, 0),
        (3, 3, "YYYY", 3, 0),  # one more than is asked for
        (2, 2, "DDD", 2, 0),  # the watch of pods is late
        (3, 3, "YYYP", 3, 0),
    ],
)
def test_which_pods_count_as_available(ready: int, reported: int, seen: str, available: int, ripening: int) -> None:
    workload = read_workload(deployment(ready, available=reported), pods(seen))
    assert (workload.available, workload.ripening) == (available, ripening)


@pytest.mark.parametrize("ahead", [-5 * MINUTE, -MINUTE, timedelta(0), 3 * MINUTE, 5 * MINUTE])
def test_a_pod_that_was_seen_to_turn_ready_counts_by_the_operators_own_clock(ahead: timedelta) -> None:
    _, last = look(START, pod(None))
    seen = START + timedelta(seconds=5)
    one = pod(seen + ahead)
    found, last = look(seen, one, last)
    assert (found.ready, found.seasoned) == (True, Seasoned.NO)
    assert last.moment.wake_at == seen + timedelta(seconds=10)
    found, _ = look(seen + timedelta(seconds=10), one, last)
    assert found.seasoned is Seasoned.YES
    found, _ = look(seen + timedelta(seconds=13), one, last)
    assert found.seasoned is Seasoned.BEYOND_DOUBT


def test_a_pod_that_turned_unready_in_between_counts_from_anew() -> None:
    _, last = look(START, pod(None))
    _, last = look(START + timedelta(seconds=1), pod(START), last)
    found, _ = look(START + timedelta(seconds=12), pod(START + timedelta(seconds=9)), last)
    assert found.seasoned is Seasoned.NO


@pytest.mark.parametrize("ahead", [-5 * MINUTE, timedelta(0), 5 * MINUTE])
def test_a_pod_that_is_ready_at_the_first_look_may_be_available_and_counts_from_then(ahead: timedelta) -> None:
    one = pod(START - timedelta(seconds=4) + ahead)
    found, last = look(START, one)
    assert found.seasoned is Seasoned.PERHAPS
    found, _ = look(START + timedelta(seconds=10), one, last)
    assert found.seasoned in (Seasoned.YES, Seasoned.BEYOND_DOUBT)


def test_at_the_first_look_a_pod_counts_whose_kubelet_leaves_no_doubt() -> None:
    assert look(START, pod(START - 5 * MINUTE - timedelta(seconds=10)))[0].seasoned is Seasoned.YES
    found, first = look(START, pod(START - 5 * MINUTE - timedelta(seconds=7)))
    assert found.seasoned is Seasoned.PERHAPS
    assert first.moment.wake_at == START + timedelta(seconds=3)


def test_without_minReadySeconds_no_clock_is_asked() -> None:
    found, sightings = look(START, pod(START + MINUTE), min_ready=0)
    assert (found.seasoned, sightings.moment.wake_at) == (Seasoned.BEYOND_DOUBT, None)


def test_nothing_is_remembered_of_a_pod_that_has_been_ready_for_long() -> None:
    one = pod(START - timedelta(seconds=1))
    _, last = look(START, pod(None))
    _, last = look(START + timedelta(seconds=1), one, last)
    assert last.since
    found, last = look(START + 11 * MINUTE, one, last)
    assert (found.seasoned, last.since) == (Seasoned.BEYOND_DOUBT, {})
    found, _ = look(START + 12 * MINUTE, one, last, min_ready=500)  # not even when more is asked of it
    assert found.seasoned is Seasoned.BEYOND_DOUBT


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
