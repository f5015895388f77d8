"""Events for people: written beside the work, never in its way.

`emit` only notes; a task of its own writes. An Event's name follows from what it says, so a sentence that is
repeated, by this process or by the one after a crash, finds its Event there and is counted in its series.
"""

import asyncio
import datetime
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from podium.api import names
from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.resources import EVENTS, Resource

log = logging.getLogger(__name__)

WAITING: Final = 1000
"""Events that may wait to be written; beyond that the oldest is let go."""

RATE: Final = 20.0
BURST: Final = 50.0
"""Events per second in the long run, and at once."""

REPEAT_SECONDS: Final = 300.0
"""A repeated sentence is counted at most this often; in between it is only remembered."""

REMEMBERED: Final = 4096
NOTE_BYTES: Final = 1024
"""The API's bound on a note."""


class EventWriter(Protocol):
    """The two calls that Events need."""

    async def create(self, obj: Object) -> Object:
        """POST."""

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch."""


@dataclass(slots=True)
class _Said:
    """What is known of one sentence: how often it was said, and when that was last written."""

    count: int
    written: float


class Recorder:
    """Writes events.k8s.io/v1 Events in the background; `run` does the writing."""

    def __init__(self, client: EventWriter, identity: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._identity = identity
        self._clock = clock
        self._said: OrderedDict[str, _Said] = OrderedDict()
        self._waiting: OrderedDict[str, Object] = OrderedDict()  # by name: an Event waits at most once
        self._news = asyncio.Event()
        self._tokens, self._counted = BURST, clock()
        self.dropped = 0
        """Events let go because too many waited."""

    def emit(
        self, regarding: Object, *, type: str, reason: str, note: str, action: str, related: Object | None = None
    ) -> None:
        """Note an Event about `regarding` (any object with kind, name, uid). Never waits, never fails.

        `type` is Normal or Warning; `reason` and `action` are CamelCase words; `note` is cut at 1 KiB.
        """
        try:
            event = self._event(regarding, type, reason, note, action, related)
        except Exception:
            log.exception("an Event was not written (%s: %.200s)", reason, note)
            return
        name = event["metadata"]["name"]
        said = self._said.get(name)
        if said is not None:
            said.count += 1
            self._said.move_to_end(name)
            if self._clock() - said.written < REPEAT_SECONDS:
                return
        self._waiting[name] = event
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)
            self.dropped += 1
        self._news.set()

    async def run(self) -> None:
        """Write what is noted, within the rate, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._turn()
                if self._waiting:
                    _, event = self._waiting.popitem(last=False)
                    await self._write(event)

    async def flush(self, within: float) -> None:
        """Write what still waits, for at most `within` seconds; for a clean stop, after `run` was cancelled."""
        try:
            async with asyncio.timeout(within):
                while self._waiting:
                    _, event = self._waiting.popitem(last=False)
                    await self._write(event)
        except TimeoutError:
            log.warning("%d Events were not written before the stop", len(self._waiting))

    async def _turn(self) -> None:
        """Wait for the next token of the bucket."""
        while True:
            now = self._clock()
            self._tokens = min(BURST, self._tokens + (now - self._counted) * RATE)
            self._counted = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / RATE)

    async def _write(self, event: Object) -> None:
        meta = event["metadata"]
        name = meta["name"]
        said = self._said.get(name)
        try:
            if said is None:
                said = self._said[name] = _Said(count=1, written=self._clock())
                while len(self._said) > REMEMBERED:
                    self._said.popitem(last=False)
                try:
                    await self._client.create(event)
                    return
                except ApiError as error:
                    if error.status != 409:
                        raise
                    said.count += 1  # said before this process began
            said.written = self._clock()
            series = {"count": max(2, said.count), "lastObservedTime": event["eventTime"]}
            await self._client.merge(EVENTS, meta["namespace"], name, {"series": series})
        except NotLeader:
            return
        except ApiError as error:
            if error.status == 404 and said is not None:
                # It has expired, or its namespace is gone; said again it is a new Event.
                self._said.pop(name, None)
            log.warning("an Event was not written: %s (%s: %s)", error, event["reason"], event["note"])
        except Exception:
            log.exception("an Event was not written (%s: %s)", event["reason"], event["note"])

    def _event(
        self, regarding: Object, type_: str, reason: str, note: str, action: str, related: Object | None
    ) -> Object:
        meta = regarding["metadata"]
        note = note.encode(errors="replace").decode()  # half a surrogate pair is no text that can be sent
        said = "\0".join((str(meta.get("uid")), type_, reason, action, note))
        event: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{meta['name'][:200]}.{hashlib.sha256(said.encode()).hexdigest()[:16]}",
                "namespace": meta.get("namespace") or "default",
            },
            "eventTime": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": names.FIELD_MANAGER,
            "reportingInstance": self._identity[:128],
            "type": type_,
            "reason": reason[:128],
            "action": action[:128],
            "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "regarding": _reference(regarding),
        }
        if related is not None:
            event["related"] = _reference(related)
        return event


def _reference(obj: Object) -> dict[str, Any]:
    meta = obj["metadata"]
    found = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "namespace": meta.get("namespace"),
        "name": meta.get("name"),
        "uid": meta.get("uid"),
        "resourceVersion": meta.get("resourceVersion"),
    }
    return {key: value for key, value in found.items() if value}
