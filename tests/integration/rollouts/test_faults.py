"""An API server that is away, slow, or says no: the operator waits, slows down, and comes to the same end."""

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from tests.integration.proxy import Call, Fault, writes
from tests.integration.rollouts.kubelet import SERVES, Serves
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import Played, all_well, undisturbed
from tests.integration.rollouts.scenarios import BY_NAME, run
from tests.integration.rollouts.stage import RARELY, Cluster, spec
from tests.integration.rollouts.world import PATIENCE
from tests.until import until

TERM: Final = 4.0
AWAY: Final = 60.0
"""Seconds without an API server: many of a Lease's terms."""
QUICK: Final = {
    "lease_duration": TERM,
    "lease_write_deadline": 3,
    "lease_renew_interval": 0.5,
    "lease_poll_interval": 0.25,
}


def every(number: int) -> Callable[[Call], bool]:
    """Every so many-th write, beginning with the first."""
    counter = itertools.count()
    return lambda call: writes(call) and next(counter) % number == 0


FAULTS: Final = {
    "409": lambda: Fault(every(2), status=409),
    "429": lambda: Fault(every(3), status=429, retry_after=1),
    "429-without-a-time": lambda: Fault(every(3), status=429),
    "500": lambda: Fault(every(2), status=500),
    "504": lambda: Fault(every(2), status=504),
    "no-answer": lambda: Fault(every(2), lose_answer=True),
    "late": lambda: Fault(writes, delay=0.5),
}
"""What happens to writes again and again from before the ModelDeployment is made to its end."""


@pytest.mark.parametrize("name", ["rolling-update", "blue-green-undone"])
async def test_writes_that_fail_again_and_again_lead_to_the_same_end(
    cluster: Cluster, nursery: Nursery, name: str
) -> None:
    # Given the end without faults
    count, _, expected = await undisturbed(cluster, nursery, BY_NAME[name])
    ways: list[str] = list(FAULTS)

    async def play(way: str) -> None:
        async with Played(cluster, nursery, f"{way}-{name}", **RARELY) as played:
            # when writes fail in one way all the time
            fault = played.proxy.fault(FAULTS[way]())
            await run(BY_NAME[name], played.stage)
            # then the end is the same,
            await played.until_same(expected)
            assert fault.hits >= 5, f"only {fault.hits} requests were hit"
            # with no more writes than failures explain (the preparation's are in both),
            assert played.writes <= 3 * (count + 12), f"{played.writes} writes, {count} without faults"
            # and no rule is broken on the way.
            broken = await played.broken()
            assert not broken, "\n".join(broken)

    await all_well({way: partial(play, way) for way in ways})


async def test_an_api_server_that_is_away_longer_than_the_lease_is_waited_for(
    cluster: Cluster, nursery: Nursery
) -> None:
    async with Played(cluster, nursery, "away", **QUICK) as played:
        stage = played.stage
        # Given a rollout with one pod of v2 beside three of v1,
        await stage.apply(spec("v1", 3))
        await stage.until_ready("v1")
        stage.kubelet.script(stage.namespace, "v2", Serves(limit=0))
        await stage.apply(spec("v2", 3))
        await stage.until(lambda: stage.pods("v2"), "a pod of v2")
        pid = played.operator.pid
        # when the API server is away from the operator while pods get ready and a person asks for v3,
        away = played.proxy.away()
        await asyncio.to_thread(away.__enter__)
        stage.kubelet.script(stage.namespace, "v2", SERVES)
        await stage.until(lambda: len(stage.endpoints()) == 4, "the pod of v2 beside those of v1")
        await stage.apply(spec("v3", 3))
        before = played.writes
        await asyncio.sleep(AWAY)  # the length of the outage is what is tested
        assert played.writes == before
        await asyncio.to_thread(away.__exit__, None, None, None)
        # then the same process goes on once it is back.
        await stage.until_ready("v3")
        assert played.operator.alive
        assert played.operator.pid == pid
        assert [one["rule"] for one in stage.status["history"]] == ["rolling-complete", "spec-changed", "first"]
        broken = await played.broken()
        assert not broken, "\n".join(broken)


async def test_watches_that_break_and_expire_lose_nothing(cluster: Cluster, nursery: Nursery) -> None:
    expected = (await undisturbed(cluster, nursery, BY_NAME["rolling-update"])).end
    async with Played(cluster, nursery, "watches") as played:
        # When all watches are cut again and again and those of the children have expired each time,
        cutter = asyncio.create_task(_cut(played))
        try:
            await run(BY_NAME["rolling-update"], played.stage)
        finally:
            cutter.cancel()
        # then the end is the same.
        await played.until_same(expected)
        broken = await played.broken()
        assert not broken, "\n".join(broken)


async def _cut(played: Played) -> None:
    kinds = ("pods", "deployments", "services", "controllerrevisions", "endpointslices", "modeldeployments")
    while True:
        await asyncio.sleep(1.5)  # the rhythm of the cuts
        await until(lambda: not played.proxy.expiring, PATIENCE)
        await asyncio.to_thread(played.proxy.expire_watches, *kinds)
