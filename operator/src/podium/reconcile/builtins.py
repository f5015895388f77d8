"""The ModelRuntimes that come with Podium: kept by the leader, left alone once a person has taken one over."""

import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import yaml

from podium.api import names
from podium.keys import Key
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import MODEL_RUNTIMES, Resource
from podium.reconcile.outcome import PassRefused
from podium.settings import Settings

log = logging.getLogger(__name__)


class InvalidRuntimes(Exception):
    """The file of built-in runtimes cannot be read as what it should be."""


def read_runtimes(path: str) -> list[Object]:
    """The ModelRuntimes of a YAML file, each with the label that marks it as built in.

    Raises InvalidRuntimes naming the file and what is wrong with it.
    """
    try:
        documents = [found for found in yaml.safe_load_all(Path(path).read_text()) if found is not None]
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRuntimes(f"runtimes_file {path}: {error}") from error
    for number, found in enumerate(documents, start=1):
        kind = found.get("kind") if isinstance(found, dict) else type(found).__name__
        if kind != MODEL_RUNTIMES.kind or not found.get("metadata", {}).get("name"):
            raise InvalidRuntimes(f"runtimes_file {path}: document {number} is a {kind}, not a named ModelRuntime")
    return [_labelled(found) for found in documents]


class Cache(Protocol):
    """What is read here."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """One object as last seen."""
        ...


class BuiltIns:
    """Keeps the built-in ModelRuntimes as they came: makes those that are absent, puts back those that were edited.

    One without the label is a person's, and left alone.
    """

    def __init__(
        self,
        cache: Cache,
        client: KubeClient,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """There are none in namespaced mode. Raises InvalidRuntimes."""
        wanted = settings.runtimes_file and not settings.watch_namespaces
        found = read_runtimes(settings.runtimes_file) if wanted else []
        self._runtimes = {runtime["metadata"]["name"]: runtime for runtime in found}
        self._cache, self._client, self._settings, self._clock = cache, client, settings, clock
        self._left: dict[str, Object] = {}  # how each one looked when there was nothing more to do for it
        self._repairs: dict[str, deque[float]] = {}
        self._resting: set[str] = set()  # those that are not repaired for now, which the log has said

    def keys(self) -> list[Key]:
        """Every built-in runtime, whether it exists or not."""
        return [MODEL_RUNTIMES.key("", name) for name in self._runtimes]

    def step_down(self) -> None:
        """The Lease is lost: the next term begins with applying each one."""
        self._left.clear()
        self._repairs.clear()
        self._resting.clear()

    async def reconcile(self, key: Key) -> float | None:
        """One pass over one ModelRuntime; most are not built in, and nothing is done for these.

        Raises PassRefused for what only a person can mend, ApiError for what passes, and NotLeader.
        """
        runtime = self._runtimes.get(key.name)
        if runtime is None:
            return None
        seen = self._cache.get(MODEL_RUNTIMES, None, key.name)
        if seen is not None and (not _is_ours(seen) or self._left.get(key.name) == _fields(seen, runtime)):
            return None
        try:
            return await self._apply(key.name, runtime)
        except ApiError as error:
            if error.passing:
                raise
            log.warning("the built-in ModelRuntime %s could not be applied: %s", key.name, error)
            raise PassRefused(str(error), retry_after=self._settings.refused_retry, wake_in=None) from error

    async def _apply(self, name: str, runtime: Object) -> float | None:
        # The cache may be behind, and what a person has just taken over must not be taken back.
        live = await self._client.get(MODEL_RUNTIMES, None, name)
        if live is not None:
            if not _is_ours(live) or "deletionTimestamp" in live["metadata"]:
                return None
            if self._left.get(name) == _fields(live, runtime):
                return None
            version = live["metadata"]["resourceVersion"]  # 409 if it is changed meanwhile
            runtime = {**runtime, "metadata": {**runtime["metadata"], "resourceVersion": version}}
        wait = self._wait(name) if name in self._left else 0.0
        if wait:
            return wait
        answer = await self._client.apply(runtime)
        self._left[name] = _fields(answer, runtime)
        return None

    def _wait(self, name: str) -> float:
        """Seconds until it may be repaired again: who changes it time and again is not fought."""
        now, repairs = self._clock(), self._repairs.setdefault(name, deque())
        while repairs and repairs[0] <= now - self._settings.drift_window:
            repairs.popleft()
        if len(repairs) < self._settings.drift_limit:
            repairs.append(now)
            self._resting.discard(name)
            return 0.0
        wait = repairs[0] + self._settings.drift_window - now
        if name in self._resting:
            return wait
        self._resting.add(name)
        log.warning(
            "the built-in ModelRuntime %s has been changed or deleted %d times within %.0f s and is left as it is for "
            "now; to keep a change, remove its label %s",
            name,
            len(repairs),
            self._settings.drift_window,
            names.LABEL_BUILTIN,
        )
        return wait


def _is_ours(live: Object) -> bool:
    labels = live["metadata"].get("labels")
    return isinstance(labels, dict) and labels.get(names.LABEL_BUILTIN) == "true"


def _fields(live: Object, applied: Object) -> Object:
    """What tells whether a runtime has to be applied again: which one it is, its spec, and our labels."""
    meta = live["metadata"]
    labels = meta.get("labels") or {}
    ours = {label: labels.get(label) for label in applied["metadata"]["labels"]}
    return {"uid": meta.get("uid"), "spec": live.get("spec"), "labels": ours}


def _labelled(runtime: Object) -> Object:
    meta = runtime["metadata"]
    labels = {**(meta.get("labels") or {}), names.LABEL_BUILTIN: "true", names.LABEL_MANAGED_BY: names.MANAGED_BY}
    return {**runtime, "metadata": {**meta, "labels": labels}}
