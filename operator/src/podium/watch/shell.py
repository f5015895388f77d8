"""kopf from its start to its end, again and again: whatever ends it, the process stays and the watches come back."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol, cast

import kopf

from podium.api import names
from podium.kube.client import ApiError
from podium.kube.connect import Connection
from podium.settings import Settings
from podium.watch import handlers
from podium.watch.feed import Feed
from podium.watch.kinds import KINDS

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
REPEAT_EVERY: Final = 30.0
"""Seconds between two looks for the CRDs, and between two log lines about their absence."""

FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 30.0
END_FIRST: Final = 2.0
END_ROUND: Final = 0.3
END_ROUNDS: Final = 20
"""Seconds that kopf is given to end by itself, and then for each further cancellation."""

STEADY: Final = 60.0
"""Seconds that kopf must have run for its next failure to count as the first."""


class Discovery(Protocol):
    """What the API server serves."""

    async def served(self, group: str, version: str) -> set[str]:
        """Plural names of a group's version."""


class Shell:
    """Runs kopf until `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        discovery: Discovery,
        feed: Feed,
        *,
        stop: asyncio.Event,
        on_signals: Callable[[], None],
        on_restart: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._connection = connection
        self._discovery = discovery
        self._feed = feed
        self._stop = stop
        self._on_signals = on_signals
        self._on_restart = on_restart
        self._again = asyncio.Event()

    def again(self) -> None:
        """End kopf and start it anew: its watches wait for versions that the API server no longer has."""
        self._again.set()

    async def run(self) -> None:
        """Wait for the CRDs, run kopf, and if it ends by anything but `stop`, do so again."""
        loop, delay, restarted = asyncio.get_running_loop(), FIRST_DELAY, False
        while not self._stop.is_set():
            await self._crds()
            start = loop.time()
            if restarted:
                self._on_restart()
            try:
                await self._kopf()
                cause = "as was asked for" if self._again.is_set() else "no reason given"
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            delay = FIRST_DELAY if loop.time() - start > STEADY else min(delay * 2, LAST_DELAY)
            log.warning("the watches have ended (%s) and start again in %.0f s", cause, delay)
            restarted = True
            await asyncio.sleep(delay)

    async def _kopf(self) -> None:
        """Run kopf until it fails or `stop` is set; raises what it failed with."""
        self._again.clear()
        ours = asyncio.all_tasks()
        login = handlers.Login(self._connection)
        handlers.short_cut(self._feed)
        handlers.read_everything()
        tasks = await kopf.spawn_tasks(
            registry=handlers.registry(self._feed, login),
            settings=handlers.settings_for(self._settings),
            # Else kopf makes one of the user's name, and a container's user has none.
            identity=cast(Any, self._settings.identity),
            clusterwide=not self._settings.watch_namespaces,
            namespaces=self._settings.watch_namespaces,
        )
        self._on_signals()  # kopf has just made SIGTERM and SIGINT its own
        told = {asyncio.create_task(self._stop.wait()), asyncio.create_task(self._again.wait())}
        try:
            done, _ = await asyncio.wait({*told, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in told:
                task.cancel()
            await _end(tasks, ours)
            await login.close()
        for one in done - told:
            one.result()

    async def _crds(self) -> None:
        """Wait until our kinds are served: kopf looks for them once, and there is nothing to do without them."""
        loop = asyncio.get_running_loop()
        wanted = {one.plural for one, kind in KINDS.items() if one.group == names.GROUP and not kind.optional}
        said = -REPEAT_EVERY
        while not self._stop.is_set():
            try:
                missing = wanted - await self._discovery.served(names.GROUP, names.VERSION)
                absent = ", ".join(f"{name}.{names.GROUP}" for name in sorted(missing))
                why = f"these CRDs are missing, apply crds/ first: {absent}"
            except ApiError as error:
                missing, why = wanted, f"the API server does not answer: {error}"
            if not missing:
                return
            if loop.time() - said >= REPEAT_EVERY:
                said = loop.time()
                log.warning("waiting to start: %s", why)
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._stop.wait()
            except TimeoutError:
                continue


async def _end(tasks: Collection[asyncio.Task[Any]], ours: set[asyncio.Task[Any]]) -> None:
    """End kopf for certain.

    kopf's own `run_tasks` never returns when one watch fails for good (1.45.2): the other watches then wait for
    credentials that will not come, and each swallows its first cancellation while it closes its stream. So they are
    cancelled until they are gone. Their helpers end with them and must not be cancelled: the watches wait for them.
    """
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=END_FIRST)
    for _ in range(END_ROUNDS):
        watches = {task for task in asyncio.all_tasks() - ours if task.get_name().startswith("watcher for ")}
        if not watches:
            break
        for task in watches:
            task.cancel()
        await asyncio.wait(watches, timeout=END_ROUND)
    else:
        log.error("kopf has not ended: %s", ", ".join(sorted(task.get_name() for task in watches)))
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # told by the first that failed; the others would complain of not being asked
