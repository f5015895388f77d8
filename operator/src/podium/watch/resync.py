"""The caches against the API server: at the start, at every taking of the Lease, and every few minutes.

Watches are nearly enough. What they do not tell: which objects were deleted while a watch was cut for so long that
its list had to be read anew, and whether the cache has caught up with what the last holder of the Lease wrote.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from podium.keys import Key
from podium.kube.client import ApiError, Identity, Object
from podium.kube.reading import UNREADABLE
from podium.kube.resources import MODEL_DEPLOYMENTS, Resource
from podium.settings import Settings
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.kinds import NamespacedName
from podium.watch.queue import Queue

log = logging.getLogger(__name__)

POLL: Final = 0.05
"""Seconds between two looks at whether the cache has caught up."""

STALLED: Final = 5.0
"""Seconds without any progress after which the missing objects are read one by one."""

FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 30.0
"""Seconds between attempts when the API server does not answer."""

RELIST_DELAY: Final = 1.0
"""Seconds to gather further kinds after one was listed anew: a cut usually hits all watches."""


class Reader(Protocol):
    """The reads that comparing needs."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The live object."""

    async def identities(
        self, resource: Resource, namespace: str | None, *, selector: str = ""
    ) -> tuple[list[Identity], int]:
        """What there is, and the resourceVersion that this shows."""


class Resync:
    """Compares and mends; `run` for as long as the process lives."""

    def __init__(self, reader: Reader, cache: Cache, queue: Queue, settings: Settings) -> None:
        self._reader = reader
        self._cache = cache
        self._queue = queue
        self._settings = settings
        self._feed = Feed(cache, queue)
        self._relisted: set[Resource] = set()
        self._asked = asyncio.Event()
        self.keys: Callable[[], Iterable[Key]] = cache.keys
        """What is planned anew after each comparison that nothing has asked for."""
        self.apart: frozenset[str] = frozenset()
        """Namespaces that are watched and cannot be read, as one that was deleted: nothing is planned there."""
        self.synced = False
        """Whether the cache has held everything there was at some moment since the start."""
        self.on_older: Callable[[], None] = lambda: None
        """Called when the API server shows an older state than before: the watches must start anew."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called at each failure that is not the API server's."""

    def relisted(self, resource: Resource) -> None:
        """A watch has listed its kind anew: deletions in between were not told and are looked for soon."""
        if self.synced and resource not in self._relisted:
            self._relisted.add(resource)
            self._asked.set()

    def relist_all(self) -> None:
        """The watches have started anew, all of them."""
        for resource in self._cache.kinds:
            self.relisted(resource)

    async def run(self) -> None:
        """Fill in at the start, then compare whenever asked to and at random times, until cancelled."""
        await self.catch_up()
        loop = asyncio.get_running_loop()
        due, look = self._next(), loop.time() + LAST_DELAY
        while True:
            try:
                async with asyncio.timeout_at(min(due, look) if self.apart else due):
                    await self._asked.wait()
                    await asyncio.sleep(RELIST_DELAY)
            except TimeoutError:
                whole, before = loop.time() >= due, self.apart
                if whole or await self._may_read_more():
                    self._clear()
                    await self.catch_up()
                    for key in self.keys():
                        if whole or key.namespace in before - self.apart:
                            self._queue.add(key)
                due, look = self._next() if whole else due, loop.time() + LAST_DELAY
            else:
                await self.catch_up(self._clear())

    def _next(self) -> float:
        """When all is compared and planned anew."""
        return asyncio.get_running_loop().time() + random.uniform(self._settings.resync_min, self._settings.resync_max)

    async def _may_read_more(self) -> bool:
        """Whether one of the namespaces that were left out lets itself be read, by a kind that is in each."""
        for namespace in self.apart:
            with suppress(ApiError):
                await self._reader.identities(
                    MODEL_DEPLOYMENTS, namespace, selector=self._cache.kinds[MODEL_DEPLOYMENTS].selector(self._settings)
                )
                return True
        return False

    async def catch_up(self, resources: Iterable[Resource] | None = None) -> None:
        """Return once the cache holds all that the API server held when this was called, and nothing gone.

        While the API server does not answer this waits, and says what for. A namespace that it lets nobody read is left
        out: with several of them the others must not wait for one whose rights went, as they do with the namespace.
        """
        everything = resources is None
        resources = tuple(self._cache.kinds if resources is None else resources)
        delay = FIRST_DELAY
        while True:
            apart = {} if everything else dict.fromkeys(self.apart, "")
            try:
                for resource in resources:
                    await self._compare(resource, apart)
            except Exception as error:
                wait, trace = delay, None if isinstance(error, ApiError) else error
                if isinstance(error, ApiError):
                    wait = max(delay, error.retry_after or 0.0)
                else:
                    self.on_failure()
                log.warning(
                    "the cache cannot be compared with the cluster, next attempt in %.0f s: %s",
                    wait,
                    error,
                    exc_info=trace,
                )
                await asyncio.sleep(wait)
                delay = min(delay * 2, LAST_DELAY)
                # Who was left out may be what can be read by now.
                everything, resources = True, tuple(self._cache.kinds)
            else:
                self._leave_out(apart if everything else {**dict.fromkeys(self.apart, ""), **apart})
                break
        if everything and not self.synced:
            self.synced = True
            log.info("the cache holds %d ModelDeployments and is in step with the cluster", len(self._cache.keys()))

    def _leave_out(self, apart: Mapping[str, str]) -> None:
        for namespace in sorted(apart.keys() - self.apart):
            log.warning(
                "nothing is planned in namespace %s until it can be read; if it is gone, take it out of "
                "watchNamespaces: %s",
                namespace,
                apart[namespace],
            )
        for namespace in sorted(self.apart - apart.keys()):
            log.info("namespace %s can be read again", namespace)
        self.apart = frozenset(apart)

    async def _compare(self, resource: Resource, apart: dict[str, str]) -> None:
        """Mend one kind: drop what is gone, wait for what is missing.

        Namespaces in `apart` are left out, and so is one that turns out to be unreadable now: it comes into `apart`.
        """
        kind, lagging = self._cache.kinds[resource], list[Identity]()
        for namespace in self._namespaces(resource):
            if namespace in apart:
                continue
            before = self._cache.known(resource)
            try:
                listed, version = await self._reader.identities(
                    resource, namespace, selector=kind.selector(self._settings)
                )
            except ApiError as error:
                if error.status == 403 and namespace and len(apart) + 1 < len(self._settings.watch_namespaces):
                    apart[namespace] = str(error)
                    continue
                if error.status != 404 or not kind.optional:
                    raise
                # Its definition is gone, and every object with it; what is kept is of no version to compare with.
                listed, version = [], max(before.values(), default=0)
            self._doubt(resource, before, listed, version)
            lagging += (seen for seen in listed if self._lags(resource, seen))
            self._purge(resource, namespace, {(seen.namespace, seen.name) for seen in listed}, version)
        await self._wait_for(resource, lagging)

    def _doubt(
        self, resource: Resource, before: dict[NamespacedName, int], listed: list[Identity], version: int
    ) -> None:
        """Believe the API server where it is behind what the cache held before it was asked.

        A list shows the newest state there is when it is asked for. One that is behind is that of an etcd which was
        restored from a backup: versions count from there anew, and the watches wait for those that they knew.
        """
        # 0 is no version: nothing can be said of it.
        older = any(0 < seen.version < before.get((seen.namespace, seen.name), 0) for seen in listed)
        newest = max(before.values(), default=0)
        if not older and not 0 < version < newest:
            return
        log.warning(
            "the API server has gone back to an older state, as after a restore of etcd from a backup: its %s are at "
            "resourceVersion %d, and were at %d before; all objects are read anew",
            resource.plural,
            version,
            newest,
        )
        self._cache.rewind()
        self.on_older()

    def _namespaces(self, resource: Resource) -> tuple[str | None, ...]:
        return (self._settings.watch_namespaces if resource.namespaced else ()) or (None,)

    def _purge(self, resource: Resource, namespace: str | None, present: set[tuple[str, str]], version: int) -> None:
        gone = 0
        for obj in self._cache.all(resource):
            meta = obj["metadata"]
            name = (meta.get("namespace", ""), meta["name"])
            if namespace is not None and name[0] != namespace:
                continue
            known = self._cache.version(resource, name)
            if name not in present and (known is None or known <= version):
                obj = {**obj, "metadata": {**meta, "resourceVersion": str(version)}}
                self._feed.seen(resource, "DELETED", obj)
                gone += 1
        if gone:
            log.info("%d %s were deleted without a word from the watch", gone, resource.plural)

    async def _wait_for(self, resource: Resource, lagging: list[Identity]) -> None:
        loop = asyncio.get_running_loop()
        progress = loop.time()
        while lagging:
            await asyncio.sleep(POLL)
            left = [lag for lag in lagging if self._lags(resource, lag)]
            if len(left) < len(lagging):
                progress = loop.time()
            elif loop.time() - progress >= STALLED:
                log.warning("%d %s are missing in the watch and read one by one", len(left), resource.plural)
                for lag in left:
                    await self._fetch(resource, lag)
                left = [lag for lag in left if self._lags(resource, lag)]
                progress = loop.time()
            lagging = left

    def _lags(self, resource: Resource, lag: Identity) -> bool:
        """Whether the cache must still come to hold it in this version or a newer one."""
        known = self._cache.version(resource, (lag.namespace, lag.name))
        return (known is None or known < lag.version) and not self._cache.buried(lag.uid, lag.version)

    async def _fetch(self, resource: Resource, lag: Identity) -> None:
        meta = {"uid": lag.uid, "name": lag.name, "resourceVersion": str(lag.version)}
        if lag.namespace:
            meta["namespace"] = lag.namespace
        try:
            live = await self._reader.get(resource, lag.namespace or None, lag.name)
        except ApiError as error:
            if error.passing:
                raise
            # It is listed and cannot be had: all others must not wait for it.
            live = {"metadata": meta, UNREADABLE: f"the API server does not give it out: {error}"}
        if live is None:
            self._feed.seen(resource, "DELETED", {"metadata": meta})
        else:
            self._feed.seen(resource, "MODIFIED", live)

    def _clear(self) -> tuple[Resource, ...]:
        self._asked.clear()
        asked = tuple(self._relisted)
        self._relisted.clear()
        return asked
