"""Requests that wait for a thread: bounded by number and by age, and left by those who give up.

A caller that is told 503 at once can go elsewhere; one that waits for a minute has long gone. Requests enter and leave
on the event loop's thread, and are taken by any. Whoever takes an entry out owns it (a thread, the sweep or a
cancellation), and one step of an OrderedDict is one step for all threads. Nothing else holds an entry: one that has
left is let go of at once, however long the threads are busy with others.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from podium_serving.inference import Overloaded
from podium_serving.metrics import Metrics

Work = TypeVar("Work")
Made = TypeVar("Made")
_SWEEP_SECONDS = 0.1


@dataclass(frozen=True)
class Limits:
    """Worker threads; requests that may wait for them; seconds that one may wait."""

    workers: int
    queue_length: float
    queue_seconds: float


class Entry(Generic[Work, Made]):
    """One that waits, and then is worked on. Hashed by identity: a key of the queue."""

    __slots__ = ("future", "over", "since", "work")

    def __init__(self, work: Work, since: float, future: "asyncio.Future[Made]") -> None:
        self.work = work
        self.since = since
        self.future = future
        # Whether nobody will work on it any more; the event loop's thread alone says so.
        self.over = False

    def settle(self, outcome: Made | Exception) -> None:
        """Tells the outcome, if somebody still waits for it; on the event loop's thread."""
        self.over = True
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Waiting(Generic[Work, Made]):
    """A queue. What is refused is counted, and raised or told as Overloaded."""

    def __init__(self, metrics: Metrics, limits: Limits) -> None:
        self._metrics = metrics
        self._limits = limits
        self._entries: OrderedDict[Entry[Work, Made], None] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, work: Work, waited: float = 0.0, too_late: Callable[[], None] = lambda: None) -> Entry[Work, Made]:
        """The entry, whose future is to be settled by whoever takes it; cancelling that takes it out.

        `waited` seconds elsewhere count for its age. `too_late` is called if the future is cancelled while somebody
        works on the entry. Raises Overloaded.
        """
        if len(self._entries) >= self._limits.queue_length:
            self._metrics.shed("queue_length")
            raise Overloaded(
                f"the server is overloaded: {len(self._entries)} requests wait already (PODIUM_QUEUE_LENGTH)"
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        entry = Entry(work, time.monotonic() - waited, future)
        self._entries[entry] = None
        future.add_done_callback(
            lambda done: too_late() if done.cancelled() and not self._leave(entry) and not entry.over else None
        )
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_all)
        return entry

    def take(self) -> Entry[Work, Made] | None:
        """The one that came first; None if all have left. For any thread."""
        try:
            return self._entries.popitem(last=False)[0]
        except KeyError:
            return None

    def first(self) -> Entry[Work, Made] | None:
        """The one that came first, which stays; only where none is taken by another thread."""
        return next(iter(self._entries), None)

    def overdue(self, entry: Entry[Work, Made], now: float) -> bool:
        """Whether it has waited too long by this monotonic time."""
        return now - entry.since >= self._limits.queue_seconds

    def expire(self, entry: Entry[Work, Made]) -> None:
        """Tells one that was taken out that it has waited too long."""
        waited = f"the request waited {self._limits.queue_seconds:g} s for its turn (PODIUM_QUEUE_SECONDS)"
        self.shed(entry, "queue_age", f"the server is overloaded: {waited}")

    def shed(self, entry: Entry[Work, Made], reason: str, message: str) -> None:
        """Tells one that was taken out that it is not worked on; counted by that reason."""
        if not entry.future.done():
            self._metrics.shed(reason)
        entry.settle(Overloaded(message))

    def _leave(self, entry: Entry[Work, Made]) -> bool:
        """Takes this one out, unless somebody has."""
        try:
            del self._entries[entry]
        except KeyError:
            return False
        return True

    def _sweep_all(self) -> None:
        """Answers those that have waited too long, also while all threads are busy."""
        now = time.monotonic()
        # Not by age: some have waited elsewhere before.
        for entry in list(self._entries):
            if self.overdue(entry, now) and self._leave(entry):
                self.expire(entry)
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_all) if self._entries else None
