"""What routers are deprived of: what one knew last goes on, and none takes the place of another that knows more."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from podium.router.places import READY_PORT
from podium.router.routing import Routing, Share
from tests.cluster.controlplane import APISERVER, ControlPlane
from tests.integration.router.routing_rig import (
    NEW,
    NOBODY,
    OLD,
    Pod,
    Router,
    enough,
    failed,
    load,
    name_of,
    revision_name,
)

PORT = 20_000
ALL_OLD = Routing("fraud", PORT, (Share(OLD, 10_000),))
TORN = ALL_OLD.to_json()[:-20]


@pytest.fixture
async def old() -> AsyncIterator[Pod]:
    async with Pod(OLD) as pod:
        yield pod


@pytest.fixture
def bare(make_router: Callable[..., Router], old: Pod) -> Router:
    """Not started; there is one ModelDeployment whose requests all go to `old`."""
    found = make_router()
    found.pods(OLD, old.address)
    found.ask_for(ALL_OLD)
    return found


@pytest.fixture
async def router(bare: Router) -> Router:
    await bare.run()
    return bare


async def test_a_new_pod_does_not_start_without_the_API_server_and_one_that_is_set_up_anew_does(
    bare: Router, make_router: Callable[..., Router], plane: ControlPlane
) -> None:
    await bare.run()
    fresh = make_router()
    plane.stop(APISERVER)
    try:
        with pytest.raises(subprocess.CalledProcessError):
            fresh.prepare()

        # the node has made the pod's sandbox anew: all containers end, and its volumes stay
        bare.kill("agent")
        bare.kill("envoy")
        bare.prepare()
        bare.start("envoy")
        bare.start("agent")
        await bare.until(bare.ready)
        async with load(bare, PORT) as seen:
            await enough(seen)
        assert failed(seen) == {}
    finally:
        plane.start(APISERVER)


async def test_a_torn_config_map_costs_no_request_also_when_containers_start_anew(router: Router) -> None:
    async def refused() -> bool:
        return list((await router.said())["refused"]) == [name_of("fraud")]

    async with load(router, PORT) as seen:
        await asyncio.to_thread(router.config_map, name_of("fraud"), TORN)
        await router.until(refused)
        await enough(seen)
        router.kill("agent")
        router.start("agent")
        await router.until(refused)
        assert await router.ready()
        await enough(seen)
    assert failed(seen) == {}

    router.kill("envoy")
    router.start("envoy")
    await router.until(router.ready)
    async with load(router, PORT) as seen:
        await enough(seen)
    assert failed(seen) == {}


async def test_a_new_router_is_not_ready_before_it_knows_every_listener(
    router: Router, make_router: Callable[..., Router]
) -> None:
    router.config_map(name_of("fraud"), TORN)
    other = make_router()
    other.prepare()
    other.start("envoy")
    other.start("agent")

    async def told() -> bool:
        return str((await other.said())["problem"]).startswith("not ready: ConfigMap fraud-router, routing.json: ")

    await other.until(told)
    assert not await other.ready()

    other.ask_for(ALL_OLD)
    await other.until(other.ready)
    assert await other.listens(PORT)


async def test_what_no_ModelDeployment_controls_keeps_no_router_from_being_ready(bare: Router) -> None:
    bare.config_map(name_of("churn"), TORN, owned=False)
    bare.config_map(
        name_of("spam"), Routing("spam", PORT + 1, (Share(revision_name(0, "spam"), 10_000),)).to_json(), owned=False
    )
    await bare.run()

    await bare.until_applied(ALL_OLD)
    assert (await bare.said())["refused"] == {}
    assert not await bare.listens(PORT + 1)
    log = bare.log("agent").read_text()
    assert log.count("is ignored: no ModelDeployment of its name controls it") == 2


async def test_an_agent_that_starts_anew_leaves_the_router_ready(router: Router) -> None:
    async def ready_and_applied() -> bool:
        assert await router.ready()
        return bool((await router.said())["applied"])

    router.kill("agent")
    router.start("agent")
    await router.until(ready_and_applied)
    assert await router.ready()


async def test_a_crash_of_envoy_costs_what_was_under_way_and_nothing_after_it(router: Router) -> None:
    router.kill("envoy")
    router.start("envoy")
    await router.until(router.ready)

    async with load(router, PORT) as seen:
        await enough(seen)
    assert failed(seen) == {}
    # and it still hears the agent
    routing = Routing("fraud", PORT, (Share(NEW, 0), Share(OLD, 10_000)))
    router.ask_for(routing)
    await router.until_applied(routing)


async def test_a_candidate_without_a_pod_costs_its_own_share_alone(router: Router) -> None:
    waiting = Routing("fraud", PORT, (Share(NEW, 0), Share(OLD, 10_000)))
    async with load(router, PORT) as seen:
        await asyncio.to_thread(router.ask_for, waiting)
        await router.until_applied(waiting)
        await enough(seen)
    assert failed(seen) == {}

    half = Routing("fraud", PORT, (Share(NEW, 5_000), Share(OLD, 5_000)))
    router.ask_for(half)
    await router.until_applied(half)
    async with load(router, PORT) as seen:
        await enough(seen, 400)
    (why,) = failed(seen)
    assert "503" in why
    assert "no healthy upstream" in why
    # 200 of 400 are expected; 6 standard deviations are 60
    assert abs(seen[OLD] - seen.total() / 2) < 60 + seen.total() / 100


async def test_no_request_of_a_candidate_whose_only_pod_is_dead_goes_to_the_champion(router: Router, old: Pod) -> None:
    half = Routing("fraud", PORT, (Share(NEW, 5_000), Share(OLD, 5_000)))
    router.pods(NEW, NOBODY)
    router.ask_for(half)
    await router.until_applied(half)

    async def reached() -> bool:
        return bool((await router.said())["reached"] == [OLD])

    await router.until(reached)  # the agent asks a pod as well
    before = old.asked

    async def ask(http: aiohttp.ClientSession) -> tuple[int, str]:
        async with http.post(router.url(PORT), data=b"{}") as answer:
            return answer.status, answer.headers["x-podium-revision"]

    async with aiohttp.ClientSession() as http:
        seen = Counter(await asyncio.gather(*(ask(http) for _ in range(400))))

    assert seen.keys() == {(200, OLD), (503, NEW)}
    assert old.asked - before == seen[200, OLD]
    # 200 are expected; 6 standard deviations are 60
    assert abs(seen[503, NEW] - 200) < 60, seen


async def test_a_pod_that_is_listed_no_more_finishes_what_it_was_asked(router: Router, old: Pod) -> None:
    old.delay = 1.0
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(Pod(OLD))
        async with aiohttp.ClientSession() as http:
            asked = [asyncio.create_task(_status(http, router)) for _ in range(8)]

            async def all_asked() -> bool:
                return old.asked >= len(asked)

            await router.until(all_asked)
            await asyncio.to_thread(router.pods, OLD, second.address)
            while not second.asked:
                assert await _status(http, router) == 200
            assert await asyncio.gather(*asked) == [200] * len(asked)


async def _status(http: aiohttp.ClientSession, router: Router) -> int:
    async with http.post(router.url(PORT), data=b"{}") as answer:
        return answer.status


@pytest.mark.parametrize("family", ["127.0.0.1", "[::1]"])
async def test_it_listens_on_both_families(make_router: Callable[..., Router], old: Pod, family: str) -> None:
    router = make_router("::")
    router.pods(OLD, old.address)
    router.ask_for(ALL_OLD)
    await router.run()

    async with aiohttp.ClientSession() as http:
        for port in (PORT, READY_PORT):
            async with http.get(f"http://{family}:{port}/") as answer:
                assert answer.status == 200, await answer.text()
