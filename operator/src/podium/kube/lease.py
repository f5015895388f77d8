"""Which replica may write: a coordination.k8s.io Lease, and the fence in front of every write.

Time line of one renewal sent at t: the holder lets no write through after t + `lease_write_deadline` (8 s), tells
the API server to give up on a write at t + `lease_duration` (12 s), and nobody else takes the Lease before it has
seen it unchanged for `lease_duration`. Only durations on each replica's own clock count: clocks need not agree.
"""

import asyncio
import datetime
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from podium.kube.client import ApiError, NotLeader, Object
from podium.kube.reading import number
from podium.kube.resources import LEASES
from podium.kube.transport import Transport, json_body
from podium.settings import Settings

log = logging.getLogger(__name__)

COMPLAIN_EVERY: Final = 30.0
"""Seconds between two log lines about the same failure."""

LONGEST_TERM: Final = 600.0
"""Seconds beyond which another holder's term is not believed: a Lease that says 68 years would be nobody's for ever."""

MOST_TRANSITIONS: Final = 2**31 - 1
"""The API's bound on leaseTransitions; one more is refused, so the count stays there."""

_term: ContextVar[int | None] = ContextVar("lease_term", default=None)


def boottime() -> float:
    """Seconds on a clock that runs on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Contends for the Lease as `settings.identity`; `run` for as long as the process lives, then `release`."""

    def __init__(self, transport: Transport, settings: Settings, *, clock: Callable[[], float] = boottime) -> None:
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self._path = LEASES.path(settings.lease_namespace, settings.lease_name)
        self._collection = LEASES.path(settings.lease_namespace)
        self._live: Object | None = None  # the Lease as last seen
        self._seen = -math.inf  # when it was first seen like that
        self._newest = 0  # its version when it was last seen; known also while there is none
        self._deadline = -math.inf  # no write after this moment
        self._held = asyncio.Event()
        self._not_held = asyncio.Event()
        self._not_held.set()
        self._complaint = ("", -math.inf)
        self.term = 0
        """How many times this process has taken the Lease."""
        self.ticked = clock()
        """When the Lease was last looked at or renewed, successfully or not."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called at once when the Lease is lost or given up."""
        self.on_older: Callable[[], None] = lambda: None
        """Called when the Lease has an older version than before: etcd was restored from a backup."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called at each failure that is not the API server's."""

    @property
    def holding(self) -> bool:
        """Whether the Lease is held as far as was last known; for writing only `leading` and `fence` count."""
        return self._held.is_set()

    @property
    def leading(self) -> bool:
        """Whether writes are let through right now."""
        return self._held.is_set() and self._clock() < self._deadline

    def fence(self) -> None:
        """Raise NotLeader unless this replica surely holds the Lease, and in the same term as the pass around it."""
        if not self.leading:
            raise NotLeader(f"{self._settings.identity} does not hold the Lease")
        pinned = _term.get()
        if pinned is not None and pinned != self.term:
            raise NotLeader(f"the Lease was lost and taken again since this pass began (term {pinned} of {self.term})")

    def left(self) -> float:
        """Seconds until somebody else may hold the Lease: what is written now must take effect within them, or not."""
        margin = self._settings.lease_duration - self._settings.lease_write_deadline
        return max(0.0, self._deadline + margin - self._clock())

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """What runs inside may write in the present term only: it planned with what was known then."""
        token = _term.set(self.term)
        try:
            yield
        finally:
            _term.reset(token)

    async def gained(self) -> None:
        """Return once the Lease is held."""
        await self._held.wait()

    async def lost(self) -> None:
        """Return once the Lease is not held."""
        await self._not_held.wait()

    async def run(self) -> None:
        """Take the Lease whenever it is free and renew it while it is held, until cancelled."""
        while True:
            start = self._clock()
            if self._held.is_set() and start >= self._deadline:
                self._lose(f"it was not renewed for {self._settings.lease_write_deadline:g} s")
            try:
                await (self._renew() if self._held.is_set() else self._contend())
                failed = False
            except ApiError as error:
                failed = True
                self._complain(error)
            except Exception as error:
                # Whatever it is: who holds the Lease goes on writing for as long as it is surely held, and no longer.
                failed = True
                self.on_failure()
                self._complain(error)
            self.ticked = self._clock()
            settings = self._settings
            renewing = self._held.is_set() and not failed
            interval = settings.lease_renew_interval if renewing else settings.lease_poll_interval
            await asyncio.sleep(max(0.0, start + interval - self._clock()))

    async def release(self) -> None:
        """Close the fence and, if the Lease is held, empty its holder so that the next one need not wait."""
        if not self._held.is_set():
            return
        try:
            self._lose("it is given up")
            assert self._live is not None
            spec = {**self._live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            await self._put(spec)
        except Exception as error:
            log.warning("the Lease could not be given up, the next holder waits for its end: %s", error)

    async def _renew(self) -> None:
        start = self._clock()
        assert self._live is not None
        try:
            await self._put({**self._live["spec"], **self._claim()})
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            await self._observe()
            if (holder := self._holder()) != self._settings.identity:
                self._lose(f"it is held by {holder or 'nobody'}")
                return
            assert self._live is not None
            start = self._clock()
            await self._put({**self._live["spec"], **self._claim()})
        if self._clock() >= self._deadline:
            # Writes have been refused since, so what was to be written must be planned again: a new term.
            self._lose("its renewal came late")
            self._gain(start)
        self._deadline = start + self._settings.lease_write_deadline

    async def _contend(self) -> None:
        await self._observe()
        start = self._clock()
        if self._live is None:
            await self._create()
        elif self._free():
            spec = self._live["spec"]
            changes = int(self._holder() != self._settings.identity)
            transitions = min(int(spec.get("leaseTransitions") or 0) + changes, MOST_TRANSITIONS)
            claim = {**self._claim(), "acquireTime": _now(), "leaseTransitions": transitions}
            try:
                await self._put({**spec, **claim})
            except ApiError as error:
                if error.status == 409:  # another contender was faster
                    return
                raise
        else:
            return
        self._gain(start)

    async def _create(self) -> None:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._settings.lease_name, "namespace": self._settings.lease_namespace},
            "spec": {**self._claim(), "acquireTime": _now(), "leaseTransitions": 0},
        }
        self._remember(await self._send("POST", "create", self._collection, body))

    async def _put(self, spec: dict[str, Any]) -> None:
        assert self._live is not None
        body = {**self._live, "spec": spec}  # with its resourceVersion: 409 if anybody else wrote it
        self._remember(await self._send("PUT", "update", self._path, body))

    async def _send(self, method: str, verb: str, path: str, body: Object) -> Object:
        # Neither fenced nor held back by a 429 to others: this is how the right to write is got.
        within = self._settings.lease_write_deadline / 2
        return self._lease(
            await self._transport.request(
                method, path, within=within, verb=verb, kind=LEASES.plural, body=json_body(body)
            )
        )

    async def _observe(self) -> None:
        try:
            within = self._settings.lease_write_deadline / 2
            live = self._lease(await self._transport.request("GET", self._path, within=within, kind=LEASES.plural))
        except ApiError as error:
            if error.status != 404:
                raise
            self._live = None
        else:
            if self._live is None or _version(live) != _version(self._live):
                self._remember(live)

    def _lease(self, answer: Object) -> Object:
        if isinstance(answer.get("metadata"), dict) and isinstance(answer.get("spec") or {}, dict):
            return answer
        raise self._transport.not_kubernetes("GET", self._path, f"is no Lease: it has the keys {sorted(answer)}")

    def _remember(self, live: Object) -> None:
        live["metadata"].pop("managedFields", None)
        live["spec"] = live.get("spec") or {}
        self._live = live
        self._seen = self._clock()
        before, self._newest = self._newest, number(_version(live))
        if self._newest < before:
            self.on_older()

    def _holder(self) -> str:
        return str(self._live["spec"].get("holderIdentity") or "") if self._live else ""

    def _free(self) -> bool:
        assert self._live is not None
        if self._holder() in ("", self._settings.identity):
            return True
        # The holder stops by the term that it wrote, which after an upgrade may not be ours.
        term = float(self._live["spec"].get("leaseDurationSeconds") or self._settings.lease_duration)
        term = min(term, max(LONGEST_TERM, self._settings.lease_duration))
        return self._clock() - self._seen >= term

    def _claim(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._settings.identity,
            "leaseDurationSeconds": max(1, math.ceil(self._settings.lease_duration)),
            "renewTime": _now(),
        }

    def _gain(self, start: float) -> None:
        self._deadline = start + self._settings.lease_write_deadline
        self.term += 1
        self._not_held.clear()
        self._held.set()
        log.info("the Lease is held by %s from now on", self._settings.identity)

    def _lose(self, why: str) -> None:
        self._deadline = -math.inf
        self._held.clear()
        self._not_held.set()
        self.on_lost()
        log.info("the Lease is no longer held by %s: %s", self._settings.identity, why)

    def _complain(self, error: Exception) -> None:
        said, when = self._complaint
        if str(error) != said or self._clock() - when >= COMPLAIN_EVERY:
            self._complaint = (str(error), self._clock())
            name = f"{self._settings.lease_namespace}/{self._settings.lease_name}"
            trace = None if isinstance(error, ApiError) else error
            log.warning("the Lease %s can neither be read nor renewed: %s", name, error, exc_info=trace)


def _version(lease: Object) -> str:
    return str(lease["metadata"].get("resourceVersion"))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
