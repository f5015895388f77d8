"""The work queue: keys, not events; each key in one pair of hands at a time.

The semantics are those of Kubernetes controllers' work queues: a key that is added several times while it
waits is handled once; one that is added while it is being handled is handled again afterwards; a failing one
comes back with growing delays. One difference: a key has at most one timer, and taking the key clears it,
because each pass decides anew when it wants to be woken.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from podium.keys import Key

FIRST_BACKOFF: Final = 0.05
LAST_BACKOFF: Final = 30.0
"""No longer than what only a person can end is waited for (Settings.refused_retry)."""
RESOLUTION: Final = 0.005
"""Seconds by which a timer may be early."""
JITTER: Final = 0.2
"""Backoffs are stretched by up to this share, so that what failed together does not come back together."""


class QueueObserver(Protocol):
    """Told what happens to the queue; durations in seconds."""

    def added(self, depth: int) -> None:
        """A key became due."""

    def taken(self, depth: int, waited: float) -> None:
        """A worker took a key that had been due for `waited`."""

    def finished(self, took: float) -> None:
        """A worker is done with a key."""

    def retried(self) -> None:
        """A key failed and waits for its backoff."""


class _Nobody:
    def added(self, depth: int) -> None: ...
    def taken(self, depth: int, waited: float) -> None: ...
    def finished(self, took: float) -> None: ...
    def retried(self) -> None: ...


class Queue:
    """Keys that are due, being handled, or waiting for a moment. Belongs to one event loop.

    It starts paused: keys gather, and none is given out until `resume()`.
    """

    def __init__(
        self,
        *,
        observer: QueueObserver | None = None,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer: QueueObserver = observer or _Nobody()
        self._jitter = jitter
        self._clock = clock
        self._due: deque[Key] = deque()
        self._dirty: dict[Key, float] = {}  # every key that waits to be handled, and since when
        self._held: dict[Key, float] = {}  # every key in a worker's hands, and since when
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._retries: dict[Key, float] = {}  # when a key that failed is due again
        self._getters: deque[asyncio.Future[None]] = deque()
        self._paused = True

    def __len__(self) -> int:
        """How many keys are due (those being handled are not counted)."""
        return len(self._due)

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing is being handled; timers do not count."""
        return not self._dirty and not self._held

    def held(self) -> list[float]:
        """For how long each key now in a worker's hands has been there, in seconds."""
        now = asyncio.get_running_loop().time()
        return [now - since for since in self._held.values()]

    def pause(self) -> None:
        """Give out no more keys; what workers hold they may finish."""
        self._paused = True

    def resume(self) -> None:
        """Give out keys (again)."""
        self._paused = False
        self._wake(len(self._due))

    def add(self, key: Key) -> None:
        """The key is due now."""
        if key in self._dirty:
            return
        self._dirty[key] = asyncio.get_running_loop().time()
        if key not in self._held:
            self._push(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """The key is due in `seconds`; of two such wishes the earlier one holds."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._fire, key)

    def retry(self, key: Key, *, at_least: float = 0.0) -> float:
        """The key failed: due again after its backoff, but not before `at_least` seconds. Answers that delay.

        A pass that something else woke before the backoff was over is no further failure in a row: it leaves the time
        of the next attempt as it was, or a burst of events would put it off by minutes.
        """
        now = self._clock()
        delay = self._retries.get(key, now) - now
        if delay < RESOLUTION:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay = min(LAST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 32)) * (1 + JITTER * self._jitter())
            self._retries[key] = now + delay
        delay = max(at_least, delay)
        self._observer.retried()
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """The key succeeded: its next failure starts from the shortest backoff."""
        self._failures.pop(key, None)
        self._retries.pop(key, None)

    async def get(self) -> Key:
        """Take the next due key; every key taken must be given back with `done`."""
        while self._paused or not self._due:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # The wake-up may have been meant for this getter: hand it to the next one.
                if getter.done() and not getter.cancelled():
                    self._wake(1)
                raise
            finally:
                if not getter.done():
                    self._getters.remove(getter)
        now = asyncio.get_running_loop().time()
        key = self._due.popleft()
        since = self._dirty.pop(key)
        self._held[key] = now
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._observer.taken(len(self._due), now - since)
        return key

    def done(self, key: Key) -> None:
        """The worker has finished with the key; if it was added meanwhile, it is due again."""
        since = self._held.pop(key)
        self._observer.finished(asyncio.get_running_loop().time() - since)
        if key in self._dirty:
            self._push(key)

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _push(self, key: Key) -> None:
        self._due.append(key)
        self._observer.added(len(self._due))
        self._wake(1)

    def _wake(self, count: int) -> None:
        if self._paused:
            return
        while count > 0 and self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                count -= 1
