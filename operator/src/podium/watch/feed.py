"""What a watch event means: news go into the cache, and whom they concern goes into the queue. No kopf here."""

import logging
from collections.abc import Callable

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES, Resource
from podium.watch.cache import Cache
from podium.watch.kept import model_of
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
        if news:
            self._wake(resource, obj)
            if before is not None and model_of(before) != model_of(obj):
                self._wake(resource, before)

    def listed(self, resource: Resource) -> None:
        """A kind has been listed, from the beginning or anew."""
        self._relisted(resource)

    def _wake(self, resource: Resource, obj: Object) -> None:
        meta = obj["metadata"]
        if resource is MODEL_DEPLOYMENTS:
            self._queue.add(Key(meta["namespace"], meta["name"]))
        elif resource is MODEL_RUNTIMES:
            for key in self._cache.models_using(meta["name"]):
                self._queue.add(key)
        else:
            model = model_of(obj)
            # A child whose ModelDeployment is not known (yet, or by --selector) concerns nobody: it wakes its own.
            if model is not None and self._cache.get(MODEL_DEPLOYMENTS, meta["namespace"], model) is not None:
                self._queue.add(Key(meta["namespace"], model))
