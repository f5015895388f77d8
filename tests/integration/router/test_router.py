"""The router: weights are exact, nothing it is told or deprived of costs a request, nobody gets more than a weight."""

import asyncio
import contextlib
import http.client
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from podium.api import names
from podium.router.bounds import CONNECTIONS, overload_manager
from podium.router.routing import Routing, Share
from tests.cluster.controlplane import APISERVER, ControlPlane
from tests.integration.router.routing_rig import (
    CALLERS,
    NEW,
    NOBODY,
    OLD,
    Pod,
    Router,
    enough,
    failed,
    load,
    revision_name,
)

PORT = 20_000


def split(*shares: tuple[str, int], model: str = "fraud", port: int = PORT) -> Routing:
    return Routing(model, port, tuple(Share(name, weight) for name, weight in shares))


@pytest.fixture
async def pods() -> AsyncIterator[dict[str, Pod]]:
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(Pod(name)) for name in (OLD, NEW)}


@pytest.fixture
def bare(make_router: Callable[..., Router]) -> Router:
    """Not started."""
    return make_router()


@pytest.fixture
async def router(bare: Router, pods: dict[str, Pod]) -> Router:
    """Started, with one ModelDeployment whose requests all go to `old`."""
    for name, pod in pods.items():
        bare.pods(name, pod.address)
    bare.ask_for(split((OLD, 10_000)))
    await bare.run()
    return bare


async def test_each_revision_gets_its_weight_and_says_who_it_is(router: Router) -> None:
    routing = split((NEW, 500), (OLD, 9_500))
    router.ask_for(routing)
    await router.until_applied(routing)

    async with load(router, PORT) as seen:
        await enough(seen, 4_000)

    assert failed(seen) == {}
    # 200 of 4,000 are expected; 5 standard deviations are 69
    assert abs(seen[NEW] - seen.total() / 20) < 69 + seen.total() / 400


async def test_weights_that_change_under_load_lose_nothing_and_weight_0_gets_nothing(
    router: Router, pods: dict[str, Pod]
) -> None:
    async with load(router, PORT) as seen:
        for weight in (100, 2_500, 5_000, 10_000, 0):
            routing = split((NEW, weight), (OLD, 10_000 - weight))
            await asyncio.to_thread(router.ask_for, routing)
            await router.until_applied(routing)
            asked = pods[NEW].asked, pods[OLD].asked
            await enough(seen, 300)
            if weight == 10_000:
                # those that were under way when it was applied
                assert pods[OLD].asked - asked[1] <= 4
        assert pods[NEW].asked - asked[0] <= 4
    assert failed(seen) == {}


async def test_pods_come_and_go_under_load(router: Router, pods: dict[str, Pod]) -> None:
    async with Pod(OLD) as second, load(router, PORT) as seen:

        async def asked() -> bool:
            return second.asked > 100

        await asyncio.to_thread(router.pods, OLD, pods[OLD].address, second.address)
        await router.until(asked)
        for addresses in ([second.address], [pods[OLD].address, NOBODY]):
            await asyncio.to_thread(router.pods, OLD, *addresses)
            await enough(seen, 400)
    assert failed(seen) == {}


async def test_without_configuration_it_is_not_ready_and_answers_nobody(bare: Router, pods: dict[str, Pod]) -> None:
    bare.prepare()
    bare.start("envoy")
    bare.pods(OLD, pods[OLD].address)
    bare.ask_for(split((OLD, 10_000)))
    await bare.until(bare.lives)
    assert not await bare.listens(PORT)
    assert not await bare.ready()

    bare.start("agent")
    await bare.until(bare.ready)

    async with load(bare, PORT) as seen:
        await enough(seen, 20)
    assert seen == {OLD: seen.total()}


async def test_nonsense_in_a_config_map_changes_nothing_and_is_told(router: Router) -> None:
    async with load(router, PORT) as seen:
        await asyncio.to_thread(router.config_map, "fraud-router", '{"static_resources": {}}')

        async def refused() -> bool:
            return bool((await router.said())["refused"])

        await router.until(refused)
        await enough(seen)
    assert seen == {OLD: seen.total()}
    said = await router.said()
    assert said["refused"] == {
        "fraud-router": "ConfigMap fraud-router, routing.json: routing has the unknown field 'static_resources'"
    }
    assert said["applied"] == {"fraud-router": split((OLD, 10_000)).to_json()}


async def test_it_serves_on_without_the_API_server_also_after_a_restart(router: Router, plane: ControlPlane) -> None:
    plane.stop(APISERVER)
    try:
        router.kill("agent")
        router.kill("envoy")
        router.start("envoy")
        router.start("agent")
        await router.until(router.ready)
        async with load(router, PORT) as seen:
            await enough(seen)
        assert failed(seen) == {}
    finally:
        plane.start(APISERVER)

    routing = split((NEW, 10_000))
    router.ask_for(routing)
    # The agent's pauses between attempts have grown, to 30 s at the most.
    await router.until_applied(routing, 90)


async def test_ModelDeployments_come_and_go_beside_one_another(router: Router) -> None:
    revision = revision_name(0, "spam")
    other = split((revision, 10_000), model="spam", port=PORT + 1)
    async with Pod(revision) as pod, load(router, PORT) as seen:
        await asyncio.to_thread(router.pods, revision, pod.address)
        await asyncio.to_thread(router.ask_for, other)
        await router.until_applied(other)

        async def reached() -> bool:
            return revision in (await router.said())["reached"]

        # Its pod is told of by another watch than its routing.
        await router.until(reached)
        async with load(router, PORT + 1) as others:
            await enough(others)
        await asyncio.to_thread(router.delete_config_map, "spam-router")
        # Its port is another's once one is told to listen there.
        last = split((OLD, 10_000), model="fraud", port=PORT)
        heir = split((revision_name(0, "heir"), 10_000), model="heir", port=PORT + 1)
        await asyncio.to_thread(router.ask_for, heir)
        await router.until_applied(heir)
        assert (await router.said())["applied"] == {"fraud-router": last.to_json(), "heir-router": heir.to_json()}
        await enough(seen)
    assert failed(seen) == {}
    assert failed(others) == {}


async def test_who_takes_a_ConfigMap_away_while_no_operator_runs_takes_nothing_from_its_callers(router: Router) -> None:
    routing, at = split((OLD, 10_000)), f"--namespace={router.namespace}"
    new_connections = aiohttp.TCPConnector(force_close=True)
    async with load(router, PORT) as seen, aiohttp.ClientSession(connector=new_connections) as http:
        for words in (["label", "configmap", "fraud-router", f"{names.LABEL_ROUTER}-"],
                      ["delete", "configmap", "fraud-router"]):  # fmt: skip
            await asyncio.to_thread(router.ask_for, routing)
            await asyncio.to_thread(router.plane.kubectl, *words, at)
            # What comes after it in the same watch is known: so is that.
            await asyncio.to_thread(router.config_map, "mark-router", " ".join(words))
            await router.until(partial(told_of, router, "mark-router"))
            await asyncio.to_thread(router.delete_config_map, "mark-router")
            async with http.post(router.url(PORT), data=b"{}") as answer:
                assert answer.headers["x-podium-revision"] == OLD
            await enough(seen)
    assert failed(seen) == {}


async def test_a_ModelDeployment_that_is_made_anew_meanwhile_listens_at_its_new_port(router: Router) -> None:
    anew = split((NEW, 10_000), port=PORT + 1)
    await asyncio.to_thread(router.delete_config_map, "fraud-router")
    await asyncio.to_thread(router.ask_for, anew)
    await router.until_applied(anew)
    async with load(router, PORT + 1) as seen:
        await enough(seen)
    assert seen == {NEW: seen.total()}
    assert not await router.listens(PORT)


async def told_of(router: Router, name: str) -> bool:
    """Whether the router says that it refuses this ConfigMap's text."""
    return name in (await router.said())["refused"]


@pytest.mark.parametrize("model", ["ready", "figures"])
async def test_a_ModelDeployment_may_have_any_name(bare: Router, model: str) -> None:
    revision = revision_name(0, model)
    routing = split((revision, 10_000), model=model)
    async with Pod(revision) as pod:
        bare.pods(revision, pod.address)
        bare.ask_for(routing)
        await bare.run()
        await bare.until_applied(routing)
        assert await bare.ready()
        assert await bare.lives()
        async with load(bare, PORT) as seen:
            await enough(seen)
    assert seen == {revision: seen.total()}


async def test_envoy_takes_no_more_inotify_instances_however_many_revisions_there_are(router: Router) -> None:
    """A node has 128 for all containers of a user; Envoy ends when it gets none (docs/decisions)."""

    def instances() -> int:
        links = [os.readlink(file) for file in Path(f"/proc/{router.process('envoy')}/fd").iterdir()]
        return links.count("anon_inode:inotify")

    few = instances()
    assert few in range(1, 4)
    for number in range(8):
        model = f"model-{number}"
        old, new = (revision_name(each, model) for each in range(2))
        for revision in (old, new):
            await asyncio.to_thread(router.pods, revision, NOBODY)
        routing = split((new, 500), (old, 9_500), model=model, port=PORT + 1 + number)
        await asyncio.to_thread(router.ask_for, routing)
    await router.until_applied(routing)
    assert instances() == few


async def test_headers_that_are_ours_come_from_nobody_else_and_the_rest_passes(router: Router) -> None:
    sent = {"X-Podium-Revision": NEW, "x-envoy-max-retries": "9", "x-request-id": "7", "authorization": "Bearer t"}

    def ask() -> tuple[dict[str, Any], list[str] | None]:
        connection = http.client.HTTPConnection(router.address, PORT, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/a//b/%2e?q=%20", headers=sent)
            answer = connection.getresponse()
            return json.load(answer), answer.headers.get_all("x-podium-revision")

    said, revisions = await asyncio.to_thread(ask)
    received = {name.lower(): value for name, value in said["headers"].items()}
    assert not [name for name in received if name.startswith(("x-podium-", "x-envoy-"))]
    assert (received["x-request-id"], received["authorization"]) == ("7", "Bearer t")
    assert said["path"] == "/a//b/%2e?q=%20"
    assert revisions == [OLD]


async def test_bodies_up_to_the_limit_and_answers_up_to_the_time_out(router: Router, pods: dict[str, Pod]) -> None:
    routing = replace(split((OLD, 10_000)), max_request_bytes=1_000_000)
    router.ask_for(routing)
    await router.until_applied(routing)
    async with aiohttp.ClientSession() as http:
        async with http.post(router.url(PORT), data=b"x" * 1_000_000) as answer:
            assert (answer.status, (await answer.json())["bytes"]) == (200, 1_000_000)
        async with http.post(router.url(PORT), data=b"x" * 1_000_001) as answer:
            assert answer.status == 413
            assert "larger than 1000000 bytes (spec.traffic.maxRequestBytes)" in (await answer.json())["error"]
        # Only now: a slow machine takes longer for a large body.
        hasty = replace(routing, timeout=0.5)
        router.ask_for(hasty)
        await router.until_applied(hasty)
        pods[OLD].delay = 2.0
        async with http.post(router.url(PORT), data=b"x") as answer:
            assert answer.status == 504
            assert json.loads(await answer.text())["error"].startswith("podium-router: ")


async def test_its_envoy_is_bounded_by_the_memory_of_its_container(router: Router) -> None:
    assert router.bootstrap()["overload_manager"] == overload_manager(512 * 2**20, CONNECTIONS)


async def test_a_router_that_stops_or_is_replaced_loses_no_request(
    router: Router, make_router: Callable[..., Router], pods: dict[str, Pod]
) -> None:
    """Its Service lists it no more; who is connected is told to go, and its answers under way are given."""
    pods[OLD].delay = 0.2
    other = make_router()
    await other.run()

    async with load(router, PORT, instead=other.url) as seen:
        await enough(seen, 40)
        await router.leave()
        await enough(seen, 40)

    assert failed(seen) == {}
    assert seen["closed"] >= 4


async def test_callers_that_keep_their_connections_end_them_once_the_Service_leads_elsewhere_and_lose_no_request(
    router: Router, pods: dict[str, Pod]
) -> None:
    revision, here = revision_name(0, "spam"), split((OLD, 10_000))
    elsewhere = split((revision, 10_000), model="spam", port=PORT + 1)
    pods[OLD].delay = 0.05
    async with Pod(revision) as pod:
        await asyncio.to_thread(router.pods, revision, pod.address)
        await asyncio.to_thread(router.ask_for, elsewhere)
        await router.until_applied(elsewhere)
        async with load(router, PORT, instead=lambda _: router.url(PORT + 1)) as seen:
            await enough(seen)
            await asyncio.to_thread(router.ask_for, replace(here, leaving=True))
            await router.until_applied(replace(here, leaving=True))

            async def all_have_gone() -> bool:
                return seen["closed"] >= CALLERS

            await router.until(all_have_gone)
            await enough(seen)
        assert failed(seen) == {}

    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.post(router.url(PORT), data=b"{}")
        # It listens again as soon as it says so.
        await asyncio.to_thread(router.ask_for, here)
        await router.until_applied(here)
        async with http.post(router.url(PORT), data=b"{}") as answer:
            assert answer.headers["x-podium-revision"] == OLD
