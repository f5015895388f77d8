"""A backup is restored, here or in another cluster: new uids, no owners, no status. The champion is the same one.

In most orders something that tells of the records (a Service, a Deployment), or the records themselves, come before the
ModelDeployment. A ModelDeployment that comes alone, with no command of a person's to tell either, starts as a new one
does; the records that come later decide then, as far as they say (docs/backup.md).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import permutations

import pytest

from podium.api import names
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from tests.unit.planner.backup import KINDS, Backup
from tests.unit.planner.given import AUTOSCALING, MANUAL, serving, switched
from tests.unit.planner.world import NAME, NAMESPACE, World, model


def two_promoted() -> World:
    world = serving(replicas=2)
    world.edit(model=model("2"))
    world.rest()
    return world


def promoted_by_a_person() -> World:
    world = serving(replicas=2, rollout=MANUAL)
    world.edit(model=model("2"))
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForPromotion"))
    world.command("promote", world.revision("2"))
    world.rest()
    return world


def aborted_by_a_person() -> World:
    world = switched(replicas=2)
    world.command("abort", world.revision("2"))
    world.rest()
    return world


def waiting_for_a_person() -> World:
    world = serving(replicas=2, rollout=MANUAL)
    world.edit(model=model("2"))
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForPromotion"))
    return world


def rolled_back() -> World:
    world = two_promoted()
    world.behave("3", failure="crash")
    world.edit(model=model("3"))
    world.rest()
    return world


def autoscaled() -> World:
    world = serving(autoscaling=AUTOSCALING)
    world.edit(model=model("2"))
    world.rest()
    return world


LIVES = (two_promoted, promoted_by_a_person, aborted_by_a_person, waiting_for_a_person, rolled_back, autoscaled)
TELLING = {SERVICES, DEPLOYMENTS}


def orders() -> list[tuple[Resource, ...]]:
    """Pods first or last; of what decides, every order but those that begin with the ModelDeployment alone."""
    found = []
    for order in permutations((SERVICES, CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS)):
        before = set(order[: order.index(MODEL_DEPLOYMENTS)])
        if before & TELLING or CONTROLLER_REVISIONS in before:
            found += [(PODS, *order, HPAS, PDBS), (*order, HPAS, PDBS, PODS)]
    return found


def decisions(world: World) -> dict[str, tuple[str, str, int]]:
    """Outcome, time of decision and number of every revision."""
    return {
        one["metadata"]["name"]: (
            one["metadata"]["annotations"].get(names.ANNOTATION_OUTCOME, ""),
            one["metadata"]["annotations"].get(names.ANNOTATION_DECIDED_AT, ""),
            one["revision"],
        )
        for one in world.api.all(CONTROLLER_REVISIONS)
    }


def _outcomes(decided: dict[str, tuple[str, str, int]]) -> dict[str, str]:
    return {revision: outcome for revision, (outcome, _, _) in decided.items()}


def another_cluster(before: World) -> World:
    new = World()
    new.now = before.now + timedelta(hours=1)
    new.cluster.behaviours = dict(before.cluster.behaviours)
    return new


def never_without_an_endpoint(world: World) -> None:
    """From now on: once a pod is ready behind the stable Service, there always is one."""
    served: list[set[str]] = []

    def check() -> None:
        backends = world.backends() if world.live(SERVICES) else set()
        assert backends or not any(served), f"nobody serves any more:\n{world.describe()}"
        served.append(backends)

    world.after_pass.append(check)


@pytest.mark.parametrize("pause", [0.0, 8.0], ids=["at once", "slowly"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_a_restore_in_any_order_changes_nothing_that_was_decided(life: Callable[[], World], pause: float) -> None:
    before = life()
    backup, decided, champion = Backup.of(before), decisions(before), before.status["champion"]["revision"]
    for order in orders():
        world = another_cluster(before)
        never_without_an_endpoint(world)
        backup.restore(world, order, pause=pause)
        world.advance(120)
        told = f"restored as {[kind.kind for kind in order]}:\n{world.describe()}"
        assert world.status["champion"]["revision"] == champion, told
        assert world.backends() == {champion}, told
        if life is rolled_back and order.index(MODEL_DEPLOYMENTS) < order.index(CONTROLLER_REVISIONS):
            # No child is left of version 3, so nothing tells of its record: it is tried, and rolled back, once more.
            assert _outcomes(decisions(world)) == _outcomes(decided), told
        else:
            assert decisions(world) == decided, told
            assert world.events("RolloutStarted") == [], told
        owners = {
            reference["uid"]
            for kind in (CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, HPAS, PDBS)
            for child in world.api.all(kind)
            for reference in child["metadata"].get("ownerReferences") or [{"uid": f"orphan {child['kind']}"}]
        }
        assert owners == {world.md["metadata"]["uid"]}, told


def begun_alone() -> list[tuple[Resource, ...]]:
    """Every order that begins with the ModelDeployment."""
    rest = permutations((SERVICES, CONTROLLER_REVISIONS, DEPLOYMENTS))
    return [order for one in rest for order in ((MODEL_DEPLOYMENTS, *one, HPAS, PDBS, PODS),)]


def restored_after(
    before: World, cluster: Callable[[World], World], pause: float, *, always_served: bool = True
) -> Iterator[tuple[World, str]]:
    """Worlds into which `before` has come back after its ModelDeployment, in every order: its champion serves there.

    The text tells of the order and the world. `always_served`: the stable Service has an endpoint all the time.
    """
    backup, champion = Backup.of(before), before.status["champion"]["revision"]
    for order in begun_alone():
        world = cluster(before)
        if always_served:
            never_without_an_endpoint(world)
        backup.restore(world, order, pause=pause)
        world.advance(1800)
        told = f"restored as {[kind.kind for kind in order]}:\n{world.describe()}"
        assert world.status["champion"]["revision"] == champion, told
        assert world.backends() == {champion}, told
        yield world, told


@pytest.mark.parametrize("pause", [0.0, 8.0, 60.0], ids=["at once", "slowly", "very slowly"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_records_that_come_after_the_ModelDeployment_still_say_who_is_champion(
    life: Callable[[], World], pause: float
) -> None:
    before = life()
    decided, champion = decisions(before), before.status["champion"]["revision"]
    for world, told in restored_after(before, another_cluster, pause):
        assert len(world.pods(champion)) == len(before.pods(champion)), told
        if before.md["metadata"].get("annotations"):  # a command of a person's names a revision
            assert decisions(world) == decided, told
            assert world.events("RolloutStarted") == [], told


@pytest.mark.parametrize("pause", [0.0, 8.0, 60.0], ids=["at once", "slowly", "very slowly"])
@pytest.mark.parametrize("keep", ["command", "no command"])
def test_what_a_person_aborted_is_not_promoted_by_a_restore(keep: str, pause: float) -> None:
    before = aborted_by_a_person()
    if keep == "no command":  # the ModelDeployment comes from a repository
        before.change(MODEL_DEPLOYMENTS, NAME, lambda obj: obj["metadata"].pop("annotations"))
    for world, told in restored_after(before, another_cluster, pause, always_served=False):
        assert world.condition("Ready") == ("False", "RolledBack"), told
        assert world.outcome(before.revision("2")) == "RolledBack", told


def with_another_runtime(before: World) -> World:
    """A cluster in which the same spec makes a revision of another name: nothing that is restored is in its way."""
    world = another_cluster(before)
    name = before.spec.get("runtime", {}).get("name", "onnxruntime")
    world.api.update(MODEL_RUNTIMES, "", name, lambda o: o["spec"].update(image="example.com/newer:1"), "kubectl")
    return world


@pytest.mark.parametrize("pause", [0.0, 8.0, 60.0], ids=["at once", "slowly", "very slowly"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_all_records_that_can_come_back_count_as_if_they_had_come_first(
    life: Callable[[], World], pause: float
) -> None:
    before = life()
    decided = decisions(before)
    for world, told in restored_after(before, with_another_runtime, pause):
        assert {name: decisions(world)[name] for name in decided} == decided, told
        assert {one["metadata"]["name"] for one in world.api.all(DEPLOYMENTS)} <= {*decided}, told


def test_a_rolled_back_record_holds_the_promotion_until_its_champions_record_comes() -> None:
    before = rolled_back()
    backup = Backup.of(before)
    world = with_another_runtime(before)
    world.behave("3")
    records = [obj for obj in backup.objects if obj["kind"] == CONTROLLER_REVISIONS.kind]
    first = [r for r in records if r["metadata"]["name"] == before.revision("3")]
    Backup(tuple(obj for obj in backup.objects if obj["kind"] == MODEL_DEPLOYMENTS.kind)).restore(world, KINDS, pause=5)
    Backup(tuple(first)).restore(world, KINDS, pause=5)
    world.advance(1200)
    assert world.condition("Ready") == ("False", "RecordMissing")
    assert world.status.get("champion") is None
    Backup(tuple(records)).restore(world, KINDS, pause=5)
    world.advance(120)
    assert world.status["champion"]["revision"] == before.status["champion"]["revision"]
    assert world.condition("Ready") == ("False", "RolledBack")


def test_where_its_champions_record_is_lost_for_good_the_command_in_the_message_tries_the_version_anew() -> None:
    before = rolled_back()
    backup, loser = Backup.of(before), before.revision("3")
    world = with_another_runtime(before)
    world.behave("3")
    for kind, name in ((MODEL_DEPLOYMENTS, NAME), (CONTROLLER_REVISIONS, loser)):
        found = [obj for obj in backup.objects if obj["kind"] == kind.kind and obj["metadata"]["name"] == name]
        Backup(tuple(found)).restore(world, KINDS, pause=5)
    world.advance(1200)
    assert world.message().endswith(f"or: kubectl delete controllerrevision {loser} -n {NAMESPACE}")
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, loser)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "3"


def test_a_revision_that_gave_way_to_a_restored_champion_says_why_and_can_be_retried() -> None:
    before = waiting_for_a_person()
    world = another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS, CONTROLLER_REVISIONS, DEPLOYMENTS), pause=0)
    world.advance(60)
    begun = before.revision("2")
    assert world.condition("Ready") == ("False", "RolledBack")
    assert "before the records of this ModelDeployment were restored" in world.message()
    assert f"retry {begun}" in world.message()
    world.command("retry", begun)
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForPromotion"))
    assert world.status["champion"]["revision"] == before.status["champion"]["revision"]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_a_restore_that_is_paused_begins_nothing_until_all_is_there(life: Callable[[], World]) -> None:
    before = life()
    backup, decided, champion = Backup.of(before), decisions(before), before.status["champion"]["revision"]
    for obj in backup.objects:
        if obj["kind"] == MODEL_DEPLOYMENTS.kind:
            obj["spec"]["paused"] = True
            obj["metadata"].pop("annotations", None)
    for order in begun_alone():
        world = another_cluster(before)
        backup.restore(world, order, pause=8)
        world.advance(60)
        world.edit(paused=None)
        world.advance(1800)
        told = f"restored as {[kind.kind for kind in order]}:\n{world.describe()}"
        assert world.status["champion"]["revision"] == champion, told
        assert decisions(world) == decided, told


def test_a_restored_Deployment_without_a_record_is_kept_and_told_of() -> None:
    before = waiting_for_a_person()
    champion = before.status["champion"]["revision"]
    world = another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS, DEPLOYMENTS), pause=30)
    world.advance(600)
    assert world.condition("RecordMissing") == ("True", "RecordMissing")
    assert f"kubectl delete deployment {champion}" in world.message("RecordMissing")
    assert world.live(DEPLOYMENTS, champion) is not None


def test_a_copy_under_another_name_is_held_by_no_command_of_its_original() -> None:
    before = promoted_by_a_person()
    world = another_cluster(before)
    world.create()
    world.command("promote", "other-bcdfghjklm")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_a_command_whose_revision_is_lost_is_taken_away_and_spec_is_rolled_out() -> None:
    before = promoted_by_a_person()
    world = another_cluster(before)
    Backup.of(before).restore(world, (MODEL_DEPLOYMENTS,), pause=5)
    world.advance(60)
    assert world.condition("Stalled") == ("True", "RecordMissing")
    assert f"remove the annotation {names.ANNOTATION_COMMAND}" in world.message()
    world.change(MODEL_DEPLOYMENTS, NAME, lambda obj: obj["metadata"].pop("annotations"))
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_pods_of_a_restore_are_not_made_a_second_time() -> None:
    before = two_promoted()
    world = another_cluster(before)
    backup = Backup.of(before)
    backup.restore(world, KINDS, pause=0)
    world.rest()
    restored = {obj["metadata"]["name"] for obj in backup.objects if obj["kind"] == "Pod"}
    assert {pod["metadata"]["name"] for pod in world.pods()} == restored


def test_a_restore_while_no_operator_runs_may_come_in_any_order_at_all() -> None:
    before = promoted_by_a_person()
    decided = decisions(before)
    for order in permutations((SERVICES, CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS)):
        world = another_cluster(before)
        _restore_unseen(Backup.of(before), world, order)
        world.restart_operator()
        world.rest()
        assert decisions(world) == decided
        assert world.condition("Ready") == ("True", "Serving")


def _restore_unseen(backup: Backup, world: World, order: Sequence[Resource]) -> None:
    deliver, world.deliver = world.deliver, lambda *_: None  # type: ignore[method-assign]
    backup.restore(world, (*order, PODS, PDBS), pause=1)
    world.deliver = deliver  # type: ignore[method-assign]


def _without_records() -> World:
    """What somebody has who backs up Deployments, Services and ModelDeployments only."""
    before = promoted_by_a_person()
    world = another_cluster(before)
    Backup.of(before).restore(world, (PODS, SERVICES, DEPLOYMENTS, MODEL_DEPLOYMENTS), pause=0)
    world.advance(30)
    return world


def test_a_missing_record_is_named_and_what_serves_without_it_serves_on() -> None:
    world = _without_records()
    assert world.condition("Ready") == ("False", "RecordMissing")
    assert world.condition("Stalled") == ("True", "RecordMissing")
    (deployment,) = world.api.all(DEPLOYMENTS)
    assert f"names revision {deployment['metadata']['name']}, which has no" in world.message()
    assert len(world.ready_pods()) == 2
    assert world.backends() == {deployment["metadata"]["name"]}
    written = {call.verb for call in world.client.calls if call.resource is not MODEL_DEPLOYMENTS}
    assert written == set()


def test_children_whose_record_is_lost_are_given_over_and_spec_is_rolled_out_without_a_break() -> None:
    world = _without_records()
    never_without_an_endpoint(world)
    adopt = {names.ANNOTATION_ADOPT: world.md["metadata"]["uid"]}
    for kind in (SERVICES, DEPLOYMENTS):
        for child in world.api.all(kind):
            world.change(kind, child["metadata"]["name"], lambda o: o["metadata"]["annotations"].update(adopt))
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "2"


def test_records_that_a_person_deletes_later_are_made_anew_at_once() -> None:
    world = two_promoted()
    world.client.after.clear()  # without its record a champion is none: the invariants rule that out
    for record in world.api.all(CONTROLLER_REVISIONS):
        world.api.delete(CONTROLLER_REVISIONS, record["metadata"]["namespace"], record["metadata"]["name"])
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "2"
