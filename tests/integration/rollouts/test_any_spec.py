"""Any valid spec: the operator says something about it, does not fall over it, and comes to rest."""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from hypothesis import HealthCheck, Phase, given, settings

from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object, Refusal, path_of
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import Played
from tests.integration.rollouts.stage import Cluster
from tests.strategies import model_deployment_specs

COUNT: Final = 60
MOST_PODS: Final = 5
WRITES: Final = 60
"""Writes that one ModelDeployment may take from its making to its rest: a rollout of five pods takes about 30."""
PATIENCE: Final = 120.0


def specs(count: int) -> list[Object]:
    """So many generated specs, other ones each time; those of many pods are cut down to a few."""
    found: list[Object] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(model_deployment_specs())
    def collect(spec: Object) -> None:
        found.append(small(spec))

    collect()
    return found


def small(spec: Object) -> Object:
    """The spec with no more pods than a fake kubelet can look after in time."""
    spec = {**spec, "replicas": min(int(spec.get("replicas", 1)), MOST_PODS)}
    if spec.get("autoscaling"):
        scaling = spec["autoscaling"]
        least = min(int(scaling.get("minReplicas", 1)), MOST_PODS)
        spec["autoscaling"] = {**scaling, "minReplicas": least, "maxReplicas": max(least, MOST_PODS)}
    return spec


async def test_any_valid_spec_gets_a_status_and_comes_to_rest(cluster: Cluster, nursery: Nursery) -> None:
    async with Played(cluster, nursery, "any") as played:
        namespace, world = played.stage.namespace, cluster.world
        # Given an operator, when specs of every kind are applied and, as updates, the next one over each of them,
        generated = specs(2 * COUNT)
        made = {f"m{index}": one for index, one in enumerate(generated[:COUNT])}
        for name, spec in made.items():
            await write(played, name, spec)
        await until_told(played, list(made))
        for name, spec in zip(made, generated[COUNT:], strict=False):
            await write(played, name, spec)
        # then each of them gets a status of its latest generation with a sentence in it,
        await until_told(played, list(made))
        for name in made:
            obj = world.get(MODEL_DEPLOYMENT, namespace, name)
            assert obj is not None
            ready = next(one for one in obj["status"]["conditions"] if one["type"] == "Ready")
            assert ready["message"], obj["status"]
        # no pass fails,
        assert played.operator.alive
        failed = [one for one in played.operator.lines() if one["level"] == "error"]
        assert not failed, failed[:3]
        # and none of them is written again and again.
        await until_rest(played, made)
        counts: dict[str, int] = {}
        for path in written(played):
            found = re.search(r"/(m\d+)[-/]?", path + "/")
            counts[found.group(1) if found else ""] = counts.get(found.group(1) if found else "", 0) + 1
        hot = {name: count for name, count in counts.items() if name and count > WRITES}
        assert not hot, {name: (count, made[name]) for name, count in hot.items()}


async def write(played: Played, name: str, spec: Object) -> None:
    """Make the ModelDeployment, or put the spec in the place of its present one; the API server must take it.

    Not by server-side apply: where one spec sets a map's fields and the next says `{}`, that makes it null.
    """
    api, namespace = played.stage.api, played.stage.namespace
    try:
        if played.stage.get(MODEL_DEPLOYMENT, name) is None:
            metadata = {"name": name, "namespace": namespace}
            kind = {"apiVersion": "podium.dev/v1alpha1", "kind": MODEL_DEPLOYMENT}
            await api.create({**kind, "metadata": metadata, "spec": spec})
        else:
            path = path_of(MODEL_DEPLOYMENT, namespace, name)
            patch = [{"op": "replace", "path": "/spec", "value": spec}]
            await api.request("PATCH", path, patch, content_type="application/json-patch+json")
    except Refusal as refusal:
        raise AssertionError(f"the API server refuses a spec that should be valid: {refusal}\n{spec}") from None


async def until_told(played: Played, names: list[str]) -> None:
    """Wait until the status of each of them is of its latest generation."""
    namespace, world = played.stage.namespace, played.stage.world

    def silent() -> list[str]:
        found = []
        for name in names:
            obj = world.get(MODEL_DEPLOYMENT, namespace, name) or {}
            told = (obj.get("status") or {}).get("observedGeneration")
            if not obj or told != obj["metadata"]["generation"]:
                found.append(name)
        return found

    await world.until(
        namespace,
        lambda: not silent(),
        "a status of every ModelDeployment",
        seconds=PATIENCE,
        explain=lambda: f"silent: {silent()}\n{played.operator.tail(40)}",
    )


async def until_rest(played: Played, made: Mapping[str, Object]) -> None:
    """Wait until nothing has been written for three seconds."""
    last, end = -1, asyncio.get_running_loop().time() + PATIENCE
    while len(paths := written(played)) != last:
        who = {name: one for name, one in made.items() if any(re.search(rf"/{name}(-|/|$)", at) for at in paths[last:])}
        assert asyncio.get_running_loop().time() < end, f"it does not come to rest: {paths[last:]}\n{who}"
        last = len(paths)
        await asyncio.sleep(3)  # nothing can be awaited where nothing is to happen


def written(played: Played) -> list[str]:
    """What was written so far. What the API server refuses (half a GPU) is tried again, here each second."""
    return [one.call.path for one in played.proxy.answered() if one.status < HTTPStatus.BAD_REQUEST]
