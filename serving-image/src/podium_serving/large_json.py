"""The thread that has large JSON read and written by the process for it, and what waits for that thread.

Bodies wait as requests do for a worker: bounded by number and by age. Answers are computed already, so that none is
refused any more, and they go before bodies; what is bounded is how many may wait before no further one is computed.
"""

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from podium_serving.inference import InferRequest, InferResult, Overloaded
from podium_serving.json_process import JsonProcess
from podium_serving.metrics import Metrics
from podium_serving.waiting import Entry, Limits, Waiting

_UNBOUNDED = Limits(1, math.inf, math.inf)


class _Job:
    """What is to be done, and how long it had to wait."""

    __slots__ = ("do", "waited")

    def __init__(self, do: Callable[[], Any]) -> None:
        self.do = do
        self.waited = 0.0


class LargeJson:
    """Everything but the thread's own loop is called on the event loop's thread."""

    def __init__(self, process: JsonProcess, metrics: Metrics, limits: Limits) -> None:
        """Starts nothing before it is needed."""
        self._process = process
        self._metrics = metrics
        self._limits = limits
        self._bodies: Waiting[_Job, Any] = Waiting(metrics, limits)
        self._answers: Waiting[_Job, Any] = Waiting(metrics, _UNBOUNDED)
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        metrics.queues.append(self._bodies)

    @property
    def waiting(self) -> int:
        """Bodies and answers that wait for the thread."""
        return len(self._bodies) + len(self._answers)

    def admit(self) -> None:
        """Raises Overloaded while answers are computed faster than they are written."""
        if len(self._answers) >= self._limits.queue_length:
            self._metrics.shed("queue_length")
            raise Overloaded(
                f"the server is overloaded: {len(self._answers)} responses wait to be written (PODIUM_QUEUE_LENGTH)"
            )

    async def decode(self, body: memoryview) -> tuple[InferRequest, float]:
        """As JsonProcess.decode; also the seconds that the body had to wait. Raises Overloaded if that is too long."""
        entry = self._enter(self._bodies, partial(self._process.decode, body))
        return await entry.future, entry.work.waited

    async def encode(self, request: InferRequest, result: InferResult) -> bytearray:
        """As JsonProcess.encode."""
        made: bytearray = await self.aside(partial(self._process.encode, request, result))
        return made

    async def aside(self, write: Callable[[], Any]) -> Any:
        """What `write` makes in the thread, among the answers."""
        return await self._enter(self._answers, write).future

    def _enter(self, waiting: "Waiting[_Job, Any]", do: Callable[[], Any]) -> Entry[_Job, Any]:
        entry = waiting.enter(_Job(do))
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name="large-json", daemon=True)
            self._thread.start()
        self._wake.put(None)
        return entry

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._wake.get()
            self._work_once(loop)

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Does what is next. A function, so that a thread that waits holds nothing of the last one."""
        waiting = self._answers if self._answers else self._bodies
        entry = waiting.take()
        if entry is None:
            return  # whoever called for it has left
        now = time.monotonic()
        entry.work.waited = now - entry.since
        report: Callable[[], None]
        if waiting.overdue(entry, now):
            report = partial(waiting.expire, entry)
        else:
            report = partial(self._done, entry, _outcome(entry.work.do))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(report)

    def _done(self, entry: Entry[_Job, Any], outcome: Any) -> None:
        # The process could not be had, or nothing be handed to it: the queue has no part in that.
        if isinstance(outcome, Overloaded) and not entry.future.done():
            self._metrics.shed("memory")
        entry.settle(outcome)


def _outcome(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception as problem:
        return problem
