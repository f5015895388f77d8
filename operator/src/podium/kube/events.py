"""Events for people: written beside the work, never in its way.

`emit` only notes; a task of its own writes. What happens again is one Event with a count, as client-go's
event_broadcaster.go has it: the first time POSTs an Event; one that is the same to readers, at most 6 minutes after the
last, PATCHes `series.count` and `series.lastObservedTime`; after 6 minutes without any the next is a new Event. The
API takes no other note for an Event that is there (`message: field is immutable`), so a series keeps its first.

An Event's name follows from what makes two of them one and from the time, in steps of 6 minutes: a process that begins
in the middle of a series mostly finds its Event there, and counts on.
"""

import asyncio
import contextlib
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
from podium.kube.resources import EVENTS, NOTE_BYTES, Resource

log = logging.getLogger(__name__)

WAITING: Final = 1000
"""Events that may wait to be written; beyond that the oldest is let go."""

RATE: Final = 20.0
BURST: Final = 50.0
"""Events per second in the long run, and at once."""

SERIES_SECONDS: Final = 360.0
"""After so long without another a series is over; client-go's finishTime."""

COUNTED_EVERY: Final = 60.0
"""Seconds between two counts of a series; the second time is told at once."""

REMEMBERED: Final = 2048
"""Series that are kept in mind, some 500 bytes each; beyond that the one that is quiet for longest is forgotten."""

Key = str
"""Digest of what makes two Events one."""


class EventWriter(Protocol):
    """The two calls that Events need."""

    async def create(self, obj: Object) -> Object:
        """POST."""

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch."""


@dataclass(slots=True)
class _Series:
    """Events that are one. Times are of the monotonic clock, in seconds."""

    name: str
    said: float
    """When it last happened."""
    event: Object | None
    """As it last happened; None once that is written."""
    count: int = 1
    told: int = 0
    """The count that the API server knows: 0 before the Event is there."""
    written: float = 0.0


class Recorder:
    """Writes events.k8s.io/v1 Events in the background; `run` does the writing."""

    def __init__(
        self,
        client: EventWriter,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._client = client
        self._identity = identity
        self._clock = clock
        self._now = now
        self._series: OrderedDict[Key, _Series] = OrderedDict()
        """The one that is quiet for longest comes first."""
        self._waiting: OrderedDict[Key, float] = OrderedDict()
        """From when each may be written; it waits at most once."""
        self._news = asyncio.Event()
        self._tokens, self._counted = BURST, clock()
        self.dropped = 0
        """Events let go because too many waited."""

    def emit(
        self,
        regarding: Object,
        *,
        type: str,
        reason: str,
        note: str,
        action: str,
        related: Object | None = None,
        fault: str = "",
    ) -> None:
        """Note an Event about `regarding` (any object with kind, name, uid). Never waits, never fails.

        `type` is Normal or Warning; `reason` and `action` are CamelCase words; `note` is cut at 1 KiB. Two about the
        same objects, with the same type and action, are one if they say the same; where they name a `fault`, if they
        name the same one, whatever they say of it.
        """
        try:
            event = self._event(regarding, type, reason, note, action, related)
            about = (str(event["regarding"].get("uid")), str(event.get("related", {}).get("name")))
            identity = (type, action, fault) if fault else (type, action, "", reason, event["note"])
            self._note(_digest(*identity, *about), event)
        except Exception:
            log.exception("an Event was not written (%s: %.200s)", reason, note)

    async def run(self) -> None:
        """Write what is noted, within the rate, until cancelled."""
        while True:
            now = self._clock()
            key = next((key for key, due in self._waiting.items() if due <= now), None)
            if key is None:
                self._news.clear()
                due = min(self._waiting.values(), default=None)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if due is None else due - now):
                        await self._news.wait()
                continue
            await self._turn()
            if self._waiting.pop(key, None) is not None:
                await self._write(key)

    async def flush(self, within: float) -> None:
        """Write what still waits, for at most `within` seconds; for a clean stop, after `run` was cancelled."""
        try:
            async with asyncio.timeout(within):
                while self._waiting:
                    key, _ = self._waiting.popitem(last=False)
                    await self._write(key)
        except TimeoutError:
            log.warning("%d Events were not written before the stop", len(self._waiting))

    def _note(self, key: Key, event: Object) -> None:
        now = self._clock()
        series = self._series.get(key)
        if series is not None and now - series.said <= SERIES_SECONDS:
            series.count += 1
            series.said, series.event = now, event
        else:
            meta = event["metadata"]
            step = int(self._now().timestamp() // SERIES_SECONDS)
            name = f"{meta['name'][:200]}.{_digest(key, str(step))[:16]}"
            series = self._series[key] = _Series(name, now, event)
        self._series.move_to_end(key)
        self._bound()
        self._await(key, series)

    def _bound(self) -> None:
        """Forget series that are over, and the quietest beyond the bound."""
        now = self._clock()
        while self._series:
            key, series = next(iter(self._series.items()))
            over = now - series.said > SERIES_SECONDS and key not in self._waiting
            if not over and len(self._series) <= REMEMBERED:
                return
            del self._series[key]
            self.dropped += self._waiting.pop(key, None) is not None

    def _await(self, key: Key, series: _Series) -> None:
        due = self._clock() if series.told < 2 else series.written + COUNTED_EVERY
        self._waiting.setdefault(key, due)
        while len(self._waiting) > WAITING:
            oldest, _ = self._waiting.popitem(last=False)
            self.dropped += 1
            if not self._series[oldest].told:
                del self._series[oldest]
        self._news.set()

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

    async def _write(self, key: Key) -> None:
        """POST an Event that is not there yet; else PATCH its count. What fails is told with the next of the series."""
        series = self._series[key]
        event, series.event = series.event, None
        assert event is not None, "what waits has something to say"
        try:
            if series.told:
                await self._count(series, event)
            else:
                await self._post(series, event)
        except NotLeader:
            self._let_go(key, series)
        except ApiError as error:
            if error.status == 404 and series.told:
                # It has expired: what happens now is a new one.
                series.told, series.count, series.event = 0, 1, series.event or event
            else:
                log.warning("an Event was not written: %s (%s: %s)", error, event["reason"], event["note"])
                if not series.told:
                    self._let_go(key, series)
                return
        except Exception:
            log.exception("an Event was not written (%s: %s)", event["reason"], event["note"])
            self._let_go(key, series)
        if self._series.get(key) is series and series.count > series.told:
            series.event = series.event or event
            self._await(key, series)

    def _let_go(self, key: Key, series: _Series) -> None:
        """End the series: the next occurrence begins a new one, which keeps one that came during the failed write."""
        if series.event is not None:
            series.told, series.count = 0, 1
        elif self._series.get(key) is series:
            del self._series[key]

    async def _post(self, series: _Series, event: Object) -> None:
        meta = event["metadata"]
        try:
            await self._client.create({**event, "metadata": {**meta, "name": series.name}})
            series.told, series.written = 1, self._clock()
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            # Said before this process began. To read it takes a right that Podium has no other use for; to a patch of
            # nothing the API server answers with what is there.
            live = await self._client.merge(EVENTS, meta["namespace"], series.name, {})
            series.count += int((live.get("series") or {}).get("count", 1))
            await self._count(series, event)

    async def _count(self, series: _Series, event: Object) -> None:
        count = series.count
        told = {"count": count, "lastObservedTime": event["eventTime"]}
        await self._client.merge(EVENTS, event["metadata"]["namespace"], series.name, {"series": told})
        series.told, series.written = count, self._clock()

    def _event(
        self, regarding: Object, type_: str, reason: str, note: str, action: str, related: Object | None
    ) -> Object:
        meta = regarding["metadata"]
        note = note.encode(errors="replace").decode()  # half a surrogate pair is no text that can be sent
        event: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": meta["name"], "namespace": meta.get("namespace") or "default"},
            "eventTime": self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
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


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


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
