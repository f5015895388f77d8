"""What a watch event means: news go into the cache, and whom they concern goes into the queue. No kopf here."""

import logging
from collections.abc import Callable

from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.watch.cache import Cache
from podium.watch.queue import Queue

log = logging.getLogger(__name__)


class Feed:
    """Takes events from every watch. `relisted` is told the kind when its list has been read anew.

    No event stops it: `failed` is told the kind of one that is no object at all, and so is the log, once for each kind.
    """

    def __init__(
        self,
        cache: Cache,
        queue: Queue,
        *,
        relisted: Callable[[Resource], None] = lambda _: None,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._relisted = relisted
        self._failed = failed
        self._told: set[tuple[Resource, type[Exception]]] = set()

    def seen(self, resource: Resource, event: str | None, obj: Object) -> None:
        """Take in one event: ADDED, MODIFIED, DELETED, or None for an object found by a list.

        The echo of a write of ours is no news if its answer was put into the cache before, nor is a change of
        nothing but the resourceVersion or the field managers; so neither wakes anybody.
        """
        try:
            self._take(resource, event, obj)
        except Exception as error:
            self._failed(resource.kind)
            if (resource, type(error)) not in self._told:
                self._told.add((resource, type(error)))
                log.exception("an event (%s) of %s is passed over: %.300s", event, resource.kind, obj)

    def _take(self, resource: Resource, event: str | None, obj: Object) -> None:
        meta = obj["metadata"]
        before = self._cache.get(resource, meta.get("namespace"), meta["name"])
        if event == "DELETED":
            news = self._cache.drop(resource, obj)
        else:
            news = self._cache.put(resource, obj)
            if event is None:
                self.listed(resource)
        kind = self._cache.kinds[resource]
        if kind.echoes is not None:
            for key in kind.echoes(obj, self._cache):
                self._queue.add(key)
        if not news:
            return
        for key in kind.wakes(obj, self._cache):
            self._queue.add(key)
        if before is not None and kind.index is not None and kind.index(before) != kind.index(obj):
            for key in kind.wakes(before, self._cache):
                self._queue.add(key)

    def listed(self, resource: Resource) -> None:
        """A kind has been listed, from the beginning or anew."""
        self._relisted(resource)
