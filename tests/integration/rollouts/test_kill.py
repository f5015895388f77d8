"""kill -9 after every write: whatever the operator had not come to do, its successor does, and no write breaks a rule.

The N-th write (Lease and Events aside) reaches the API server, its answer does not reach the operator, and nothing of
what it sends after that does either; then it is killed and started again at once. The end is that of a run in which
nothing happened.
"""

import asyncio
import datetime
import os
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration.proxy import Proxy
from tests.integration.rollouts.api import Object
from tests.integration.rollouts.dump import differences, dump
from tests.integration.rollouts.invariants import violations
from tests.integration.rollouts.nursery import Nursery, Nursling
from tests.integration.rollouts.scenarios import SCENARIOS, Scenario, run
from tests.integration.rollouts.stage import SHORT, USER, Cluster, Stage

AT_ONCE: Final = 8
ALWAYS: Final = ("first-rollout", "rolling-update", "blue-green-undone")
"""Scenarios that are killed after every write in every run of the tests; of the others a third, by the day."""
THIRD: Final = datetime.datetime.now(datetime.UTC).date().toordinal() % 3
EVERYTHING: Final = os.environ.get("PODIUM_TEST_ALL") == "1"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_kill_after_any_write_changes_nothing(
    cluster: Cluster, nursery: Nursery, scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given what the scenario leaves behind when nothing happens,
    writes, expected = await undisturbed(cluster, nursery, scenario)
    # when the operator is killed after one write, for each of them,
    numbers = range(1, writes + 1) if EVERYTHING or scenario.name in ALWAYS else range(1 + THIRD, writes + 1, 3)
    with capsys.disabled():
        part = "all" if len(numbers) == writes else f"third {THIRD + 1} of 3"
        print(f"\n  {scenario.name}: {writes} writes, killed after {len(numbers)} of them ({part})", end="", flush=True)
    slots = asyncio.Semaphore(AT_ONCE)
    found = await asyncio.gather(
        *(killed(cluster, nursery, scenario, number, expected, slots) for number in numbers), return_exceptions=True
    )
    # then the end is the same, and no rule was broken on the way.
    wrong = [f"killed after write {number}: {one}" for number, one in zip(numbers, found, strict=True) if one]
    assert not wrong, "\n\n".join(wrong)


async def undisturbed(cluster: Cluster, nursery: Nursery, scenario: Scenario) -> tuple[int, Object]:
    """How many writes the scenario takes after its preparation, and what it leaves behind."""
    async with Played(cluster, nursery, scenario) as played:
        before = 0

        async def count() -> None:
            nonlocal before
            before = len(played.proxy.answered())

        await run(scenario, played.stage, count)
        assert (broken := await played.broken()) == [], broken
        return len(played.proxy.answered()) - before, dump(played.stage)


async def killed(
    cluster: Cluster, nursery: Nursery, scenario: Scenario, number: int, expected: Object, slots: asyncio.Semaphore
) -> str:
    """Play the scenario with a kill after write `number`; answers what was wrong, nothing if all was well."""
    async with slots, Played(cluster, nursery, scenario) as played:

        async def arm() -> None:
            played.proxy.cut_after_write(number)

        killer = asyncio.create_task(played.kill_when_cut())
        try:
            await run(scenario, played.stage, arm)
            try:
                await played.stage.until(lambda: dump(played.stage) == expected, "the end of an undisturbed run")
            except AssertionError:
                return "\n".join(["another end:", *differences(expected, dump(played.stage)), played.stage.explain()])
        except AssertionError as error:
            return str(error)
        finally:
            killer.cancel()
        return "\n".join(await played.broken())


class Played:
    """A stage whose operator comes from the nursery and speaks through a proxy."""

    def __init__(self, cluster: Cluster, nursery: Nursery, scenario: Scenario) -> None:
        self._cluster = cluster
        self._nursery = nursery
        self._name = f"kill-{scenario.name}"
        self.proxy = Proxy(cluster.plane.kubeconfig(USER))

    async def __aenter__(self) -> "Played":
        namespace = await self._cluster.namespace(self._name)
        folder = self._cluster.folder / namespace
        await asyncio.to_thread(self.proxy.__enter__)
        self.operator = Nursling(
            self._nursery,
            folder,
            self.proxy.kubeconfig(folder),
            watch_namespaces=namespace,
            lease_namespace=namespace,
            **SHORT,
        )
        self.operator.start()
        self.stage = Stage(self._cluster, namespace, self.operator, self.proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.operator.kill()
        await asyncio.to_thread(self.proxy.__exit__, None, None, None)

    async def kill_when_cut(self) -> None:
        """Once the proxy has cut the operator off: kill it, and start it again with a way to the API server."""
        loop, cut = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(cut.set)

        self.proxy.on_cut = tell
        await cut.wait()
        self.operator.kill()
        self.proxy.mend()
        self.operator.start()

    async def broken(self) -> list[str]:
        """Rules that were broken at some moment."""
        await self._cluster.world.caught_up(self.stage.namespace)
        return violations(self._cluster.world.history[self.stage.namespace])
