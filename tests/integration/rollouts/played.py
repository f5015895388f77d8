"""Runs of scenarios by the dozen: operators from the nursery, each behind a proxy of its own, eight at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tests.integration.proxy import Proxy, writes
from tests.integration.rollouts.api import Object
from tests.integration.rollouts.dump import differences, dump
from tests.integration.rollouts.nursery import Nursery, Nursling
from tests.integration.rollouts.scenarios import Scenario, run
from tests.integration.rollouts.stage import SHORT, USER, Cluster, Stage
from tests.integration.rollouts.world import PATIENCE
from tests.until import until

AT_ONCE: Final = 8
ENOUGH: Final = 3
QUIET: Final = 2.0
"""Seconds without a write after which a run has come to its end."""


class Played:
    """A stage whose operator speaks through a proxy; a context manager that ends both."""

    def __init__(self, cluster: Cluster, nursery: Nursery, name: str, **settings: Any) -> None:
        self._cluster = cluster
        self._nursery = nursery
        self._name = name
        self._settings = SHORT | {"log_level": "debug"} | settings
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
            **self._settings,
        )
        self.operator.start()
        self.stage = Stage(self._cluster, namespace, self.operator, self.proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.operator.kill()
        await asyncio.to_thread(self.proxy.__exit__, None, None, None)

    @property
    def writes(self) -> int:
        """How many writes were answered so far, those of the Lease and of Events aside."""
        return len(self.proxy.answered())

    @property
    def lasting(self) -> int:
        """Of those writes, how many were of no status."""
        return len(self.proxy.answered(lambda call: writes(call) and not call.path.endswith("/status")))

    async def rests(self, seconds: float = 2.0) -> None:
        """AssertionError unless the operator writes nothing for so long.

        What the test has seen it may hear of later, and write once more: it is silent for a moment first.
        """
        await until(lambda: all(one.at < time.monotonic() - QUIET for one in self.proxy.answered()), PATIENCE)
        begun = time.monotonic()
        await asyncio.sleep(seconds)  # nothing can be awaited where nothing is to happen
        late = [one for one in self.proxy.answered() if one.at > begun]
        assert not late, f"still writes: {[(one.call.method, one.call.path, one.status) for one in late]}"

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

    async def until_same(self, expected: Object) -> None:
        """Wait until the state is that of an undisturbed run."""
        await until_same(self.stage, expected)

    async def broken(self) -> list[str]:
        """Rules that were broken at some moment."""
        await self._cluster.world.caught_up(self.stage.namespace)
        return self._cluster.world.violations(self.stage.namespace)


async def until_same(stage: Stage, expected: Object) -> None:
    """Wait until the state is that of an undisturbed run."""
    await stage.until(
        lambda: dump(stage) == expected,
        "the end of an undisturbed run",
        explain=lambda: "\n".join([*differences(expected, dump(stage)), stage.explain()]),
    )


class Undisturbed(NamedTuple):
    """A run in which nothing happens."""

    writes: int
    """After its preparation."""
    lasting: int
    """Of those, what is no status: statuses that only count pods may be more or fewer from run to run."""
    end: Object
    """What it leaves behind."""


async def undisturbed(cluster: Cluster, nursery: Nursery, scenario: Scenario) -> Undisturbed:
    """Play the scenario; AssertionError if a rule is broken."""
    async with Played(cluster, nursery, f"plain-{scenario.name}") as played:
        before = lasting = 0

        async def count() -> None:
            nonlocal before, lasting
            before, lasting = played.writes, played.lasting

        await run(scenario, played.stage, count)
        # The last write of all is that of a status, which tells of the end after it has come.
        made = -1
        while made != played.writes:
            made = played.writes
            await asyncio.sleep(QUIET)
        broken = await played.broken()
        assert not broken, "\n".join(broken)
        return Undisturbed(made - before, played.lasting - lasting, dump(played.stage))


class Slots:
    """So many runs at once, and none any more once several have failed: the rest would take its time-outs to say so."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._failed = 0

    async def take(self, what: str, play: Callable[[], Awaitable[object]]) -> str:
        """Play; answers what was wrong, nothing if all was well."""
        async with self._free:
            if self._failed >= ENOUGH:
                return ""
            try:
                await play()
            except AssertionError as error:
                self._failed += 1
                return f"{what}: {error}"
            return ""


async def all_well(plays: dict[str, Callable[[], Awaitable[object]]], at_once: int = AT_ONCE) -> None:
    """Play them all, so many at once; AssertionError says which went wrong and how."""
    slots = Slots(at_once)
    found = await asyncio.gather(*(slots.take(what, play) for what, play in plays.items()))
    wrong = [one for one in found if one]
    assert not wrong, "\n\n".join(wrong)
