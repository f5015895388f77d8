"""kopf from its start to its end, again and again: whatever ends it, the process stays and the watches come back."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

import kopf

from podium import names
from podium.kube.client import ApiError
from podium.kube.connect import Connection
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES
from podium.settings import Settings
from podium.watch import handlers
from podium.watch.feed import Feed

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
REPEAT_EVERY: Final = 30.0
"""Seconds between two looks for the CRDs, and between two log lines about their absence."""

FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 30.0
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
                cause = "no reason given"
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            delay = FIRST_DELAY if loop.time() - start > STEADY else min(delay * 2, LAST_DELAY)
            log.warning("the watches have ended (%s) and start again in %.0f s", cause, delay)
            restarted = True
            await asyncio.sleep(delay)

    async def _kopf(self) -> None:
        # kopf cancels at its end every task that it does not find here: all of ours exist by now.
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=handlers.registry(self._feed, self._connection),
            settings=handlers.settings_for(self._settings),
            clusterwide=not self._settings.watch_namespaces,
            namespaces=self._settings.watch_namespaces,
            stop_flag=self._stop,
        )
        self._on_signals()  # kopf has just made SIGTERM and SIGINT its own
        await kopf.run_tasks(tasks, ignored=ours)

    async def _crds(self) -> None:
        """Wait until both kinds are served: kopf looks for them once, and there is nothing to do without them."""
        loop = asyncio.get_running_loop()
        wanted, said = {MODEL_DEPLOYMENTS.plural, MODEL_RUNTIMES.plural}, -REPEAT_EVERY
        while not self._stop.is_set():
            try:
                missing = wanted - await self._discovery.served(names.GROUP, names.VERSION)
                why = (
                    f"the CRDs {', '.join(f'{name}.{names.GROUP}' for name in sorted(missing))} are missing: apply them"
                )
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
