"""Status is a copy: it is wiped whenever a new phase shows, and what a scenario leaves behind is the same."""

import asyncio
from functools import partial

from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import Played, all_well, undisturbed
from tests.integration.rollouts.scenarios import BY_NAME, Scenario, run
from tests.integration.rollouts.stage import MODEL, Cluster, Stage
from tests.invariants import Version

PLAYED = (
    "first-rollout",
    "late-rollback",
    "blue-green-undone",
    "promoted-by-a-person",
    "canary",
    "canary-in-place",
    "canary-aborted",
    "reverted-midway",
    "updated-under-autoscaling",
    "paused-and-resumed",
    "retried",
)


async def test_a_status_lost_at_every_phase_is_rebuilt(cluster: Cluster, nursery: Nursery) -> None:
    await all_well({name: partial(wiped, cluster, nursery, BY_NAME[name]) for name in PLAYED})


async def wiped(cluster: Cluster, nursery: Nursery, scenario: Scenario) -> None:
    """Play the scenario; each phase is wiped out once, as soon as it shows."""
    expected = (await undisturbed(cluster, nursery, scenario)).end
    async with Played(cluster, nursery, f"wiped-{scenario.name}") as played:
        async with Wiper(played.stage) as wiper:
            await run(scenario, played.stage)
            await played.until_same(expected)
        assert expected["status"]["phase"] in wiper.phases, wiper.phases
        broken = await played.broken()
        assert not broken, "\n".join(broken)


class Wiper:
    """Sets `.status` to nothing whenever it says a phase for the first time."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self.phases: list[str] = []

    async def __aenter__(self) -> "Wiper":
        self._stage.world.listen(MODEL_DEPLOYMENT, self._seen)
        self._task = asyncio.create_task(self._wipe())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._due.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _seen(self, version: Version) -> None:
        phase = (version.obj.get("status") or {}).get("phase")
        if version.obj["metadata"]["namespace"] == self._stage.namespace and phase and phase not in self.phases:
            self.phases.append(phase)
            self._due.put_nowait(phase)

    async def _wipe(self) -> None:
        while True:
            await self._due.get()
            nothing: Object = {"status": None}
            await self._stage.api.merge(
                MODEL_DEPLOYMENT, self._stage.namespace, MODEL, nothing, subresource="status", manager="a-restore"
            )
            self._due.task_done()
