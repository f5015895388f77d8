"""Routers and an operator of different versions: each understands what the other writes, and callers notice nothing.

The earlier version is commit 36005af, the first whose routers start on a cluster. Its agent is kept as an archive and
not taken from the history, which a shallow clone or a tarball lacks. It is what this prints, and is never edited:

    git archive --format=zip 36005af operator/src/podium/__init__.py operator/src/podium/router

Since then the format of the ConfigMap has stayed version 1, and is read more strictly: today's agent takes a ConfigMap
from the ModelDeployment of its name alone, and in it only names of that one's revisions.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.api.v1alpha1 import Traffic
from podium.manifests.owner import Owner
from podium.manifests.routing import config_map, routing, told_in
from podium.reconcile.routers.base import RouterPod, Seen
from podium.reconcile.routers.reading import doubt
from podium.router.said import Said
from tests.canaries import drawn
from tests.integration.router.routing_rig import NEW, OLD, Pod, Router, enough, failed, load, name_of

PORT = 20_000
MODEL = "fraud"
KEPT = Path(__file__).with_name("older")
AGENT = KEPT / "agent-36005af.zip"
CONFIG_MAP = KEPT / "configmap-36005af.yaml"
UNDER_WAY = 4
"""Requests of the load that may have been under way when a weight was applied: one of each caller."""


@pytest.fixture
async def pods() -> AsyncIterator[dict[str, Pod]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(Pod(name)) for name in (OLD, NEW)}


@pytest.fixture
def older(make_router: Callable[..., Router], pods: dict[str, Pod]) -> Router:
    """A router of the earlier version, not started; the pods are listed."""
    router = make_router(package=AGENT / "operator" / "src")
    for name, pod in pods.items():
        router.pods(name, pod.address)
    return router


def written(router: Router, weight: int) -> dict[str, Any]:
    """Today's operator's ConfigMap: so many of 10,000 for the candidate. It is applied when this returns."""
    told = routing(MODEL, PORT, {NEW: weight, OLD: 10_000 - weight}, [NEW, OLD], Traffic())
    obj = config_map(Owner(MODEL, router.namespace, f"uid-{MODEL}"), told)
    apply(router, obj)
    return obj


def apply(router: Router, obj: dict[str, Any]) -> None:
    at = f"--namespace={router.namespace}"
    router.plane.kubectl("apply", "--server-side", "--force-conflicts", at, "-f", "-", stdin=json.dumps(obj))


async def until_the_operator_is_sure(router: Router, obj: dict[str, Any]) -> None:
    """Until today's operator, that wrote this ConfigMap, takes what the router says for a confirmation."""

    async def sure() -> bool:
        said = Said.read(await router.said())
        pod = RouterPod("podium-router-1", ready=True, terminating=False, said=said)
        return doubt(Seen(MODEL, slices=[], pods=[], config_map=obj, routers=[pod])) == ""

    await router.until(sure)


def share(now: Counter[str], before: Counter[str]) -> tuple[int, int]:
    """Answers of the candidate, and all answers, since then."""
    since = now - before
    return since[NEW], since[NEW] + since[OLD]


async def test_an_older_router_carries_out_what_todays_operator_says_and_gives_way_to_todays_router(
    older: Router, make_router: Callable[..., Router]
) -> None:
    assert str(AGENT) in older.agent_file()
    today = make_router()
    assert str(AGENT) not in today.agent_file()
    written(older, 0)
    await older.run()

    async with load(older, PORT, instead=today.url) as seen:
        for weight in (1_000, 5_000, 10_000, 0):
            obj = await asyncio.to_thread(written, older, weight)
            await until_the_operator_is_sure(older, obj)
            before = seen.copy()
            await enough(seen, 400)
            found, of = share(seen, before)
            if weight in (0, 10_000):
                assert min(found, of - found) <= UNDER_WAY, (weight, found, of)
            else:
                assert drawn(found, of, weight // 100), (weight, found, of)

        # Brought up to date: a new router comes beside it, and it leaves once that is Ready.
        obj = await asyncio.to_thread(written, older, 5_000)
        await until_the_operator_is_sure(older, obj)
        await asyncio.to_thread(today.prepare)
        today.start("envoy")
        today.start("agent")
        await today.until(today.ready)
        await until_the_operator_is_sure(today, obj)
        await older.leave()
        assert seen["closed"] >= UNDER_WAY
        before = seen.copy()
        await enough(seen, 400)
        assert drawn(*share(seen, before), 50)
    assert failed(seen) == {}


async def test_todays_router_carries_out_what_an_older_operator_wrote(
    make_router: Callable[..., Router], pods: dict[str, Pod]
) -> None:
    today = make_router()
    for name, pod in pods.items():
        today.pods(name, pod.address)
    obj = yaml.safe_load(CONFIG_MAP.read_text())
    obj["metadata"]["namespace"] = today.namespace
    apply(today, obj)
    await today.run()

    assert (await today.said())["applied"] == {name_of(MODEL): told_in(obj)}
    async with load(today, PORT) as seen:
        await enough(seen, 400)
    assert failed(seen) == {}
    assert drawn(*share(seen, Counter()), 25)


async def test_a_later_format_is_refused_by_name_and_the_last_one_that_was_understood_serves_on(older: Router) -> None:
    obj = written(older, 5_000)
    await older.run()

    async def refused() -> bool:
        return bool((await older.said())["refused"])

    async with load(older, PORT) as seen:
        later = json.dumps({**json.loads(told_in(obj)), "version": 2})
        await asyncio.to_thread(older.config_map, name_of(MODEL), later)
        await older.until(refused)
        await enough(seen)
    assert "version is 2; this router reads version 1" in (await older.said())["refused"][name_of(MODEL)]
    assert failed(seen) == {}
    assert drawn(*share(seen, Counter()), 50)
