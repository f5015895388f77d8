"""The operator's shell around a reconciler that can be read at a glance: it counts in the status, and never rests.

Run as `python -m tests.integration.shell.counting` with the operator's own arguments.
"""

import asyncio
import logging
import os
import sys

from podium import app, telemetry
from podium.__main__ import settings_from
from podium.keys import Key
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS

log = logging.getLogger("podium.counting")

RESTLESS = 0.1
THOUGHT = 0.3
"""Seconds between two passes over a ModelDeployment with the annotation `restless`, and from its start to its write."""


class Counting:
    """Writes into status.message how many pods it sees and how often it was called; tells of what is gone."""

    def __init__(self, parts: app.Parts) -> None:
        self._cache, self._client, self._settings = parts.cache, parts.client, parts.settings
        self._recorder = parts.recorder
        self._calls: dict[Key, int] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One pass."""
        obj = self._cache.get(MODEL_DEPLOYMENTS, key.namespace, key.name)
        if obj is None:
            log.info("%s is gone", key)
            return None
        self._calls[key] = calls = self._calls.get(key, 0) + 1
        pods = len(self._cache.owned(PODS, key.namespace, key.name))
        replicas = (obj.get("spec") or {}).get("replicas")
        restless = "restless" in (obj["metadata"].get("annotations") or {})
        message = f"replicas {replicas}, pods {pods}" + (f", call {calls}" if restless else "")
        if restless:
            await asyncio.sleep(THOUGHT)  # so that it may be stopped between the decision and the write
        if (obj.get("status") or {}).get("message") != message:
            status = {"message": message, "controller": self._settings.identity}
            self._cache.put(MODEL_DEPLOYMENTS, await self._client.write_status(MODEL_DEPLOYMENTS, obj, status))
            self._recorder.emit(obj, type="Normal", reason="Counted", note=message, action="Count")
        log.debug("%s: %s", key, message)
        return RESTLESS if restless else None

    def keys(self) -> list[Key]:
        """Every ModelDeployment."""
        return self._cache.keys()

    def read_ahead(self, key: Key) -> None:
        """There is nothing to parse."""

    def step_down(self) -> None:
        """It remembers nothing that another one's term could make untrue."""


if __name__ == "__main__":
    settings = settings_from(sys.argv[1:], os.environ)
    telemetry.log_to_stderr(settings.log_level)
    asyncio.run(app.run(settings, app.RECONCILERS | {MODEL_DEPLOYMENTS.kind: Counting}))
