"""Deletion in every way that Kubernetes knows, with the operator there and not there."""

import asyncio

import pytest

from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import Played
from tests.integration.rollouts.scenarios import AUTOSCALING, nothing_left
from tests.integration.rollouts.stage import MODEL, Cluster, spec

UP_AND_DOWN = pytest.mark.parametrize("operator", ["up", "down"])


async def serving(played: Played, operator: str) -> None:
    """Given a ModelDeployment with every kind of child, mid-rollout, and the operator as asked."""
    stage = played.stage
    rollout = {"strategy": "BlueGreen", "promotion": "Manual"}
    await stage.apply(spec("v1", 2, autoscaling=AUTOSCALING, rollout=rollout))
    await stage.until(lambda: stage.is_ready("v1") and stage.all("HorizontalPodAutoscaler"), "Ready with an HPA")
    await stage.apply(spec("v2", 2, autoscaling=AUTOSCALING, rollout=rollout))
    await stage.until(lambda: stage.get("Service", f"{MODEL}-preview") and len(stage.pods("v2")) == 2, "v2 in preview")
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    if operator == "down":
        played.operator.kill()


@UP_AND_DOWN
@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_all_children_go_with_their_model_deployment(
    cluster: Cluster, nursery: Nursery, propagation: str, operator: str
) -> None:
    async with Played(cluster, nursery, f"{propagation.lower()}-{operator}") as played:
        stage = played.stage
        await serving(played, operator)

        await stage.delete(propagation)

        await stage.until(lambda: nothing_left(stage), "nothing left")
        if operator == "down":
            # and one that comes later brings nothing back
            before = played.writes
            await start_again(played)
            assert played.writes == before
        await played.rests()
        assert nothing_left(stage)


@UP_AND_DOWN
async def test_orphaned_children_serve_on_and_are_adopted_by_the_next_of_the_name(
    cluster: Cluster, nursery: Nursery, operator: str
) -> None:
    async with Played(cluster, nursery, f"orphan-{operator}") as played:
        stage = played.stage
        await stage.apply(spec("v1", 2))
        await stage.until_ready("v1")
        if operator == "down":
            played.operator.kill()
        uid, pods = stage.uid, names(stage.pods())
        revision = stage.revision("v1")

        # When the ModelDeployment goes and its children are to stay,
        await stage.delete("Orphan")
        await stage.until(lambda: stage.world.get(MODEL_DEPLOYMENT, stage.namespace, MODEL) is None, "its end")
        # then they do, and nobody writes to them;
        if operator == "down":
            await start_again(played)
        await played.rests()
        assert names(stage.pods()) == pods
        assert len(stage.endpoints()) == 2
        # when it is made anew, then they are its own, and no pod was restarted.
        await stage.apply(spec("v1", 2))
        assert stage.uid != uid
        await stage.until_ready("v1")
        for kind, name in (
            ("Deployment", revision),
            ("ControllerRevision", revision),
            ("Service", MODEL),
            ("PodDisruptionBudget", MODEL),
        ):
            found = stage.get(kind, name)
            assert found is not None, kind
            owners = [one["uid"] for one in found["metadata"]["ownerReferences"]]
            assert owners == [stage.uid], kind
        assert names(stage.pods()) == pods
        assert stage.revision("v1") == revision


@UP_AND_DOWN
async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster, nursery: Nursery, operator: str) -> None:
    async with Played(cluster, nursery, f"namespace-{operator}") as played:
        stage = played.stage
        await serving(played, operator)

        await stage.api.delete("Namespace", None, stage.namespace)

        await stage.until(lambda: nothing_left(stage), "nothing left")
        await stage.world.until("", lambda: stage.world.get("Namespace", "", stage.namespace) is None, "its end")
        if operator == "up":
            assert played.operator.alive
            errors = [one["message"] for one in played.operator.lines() if one["level"] == "error"]
            assert not errors, errors


async def start_again(played: Played) -> None:
    """Start the operator, and return once it knows all of the cluster and has looked at every ModelDeployment."""

    def leading() -> int:
        return sum("the Lease is held" in one["message"] for one in played.operator.lines())

    terms = leading()
    played.operator.start()
    await asyncio.to_thread(played.operator.await_true, lambda: leading() > terms, "the Lease")
    await asyncio.to_thread(played.operator.await_ready)


def names(objects: list[Object]) -> list[str]:
    return sorted(one["metadata"]["name"] for one in objects)
