"""The thread that has large JSON read and written by the process for it, and what waits for that thread.

Bodies wait as requests do for a worker: bounded by number and by age. They also wait until their tensors have room in
the memory for requests. Answers are computed already, so that none is refused any more, and they go before bodies;
what is bounded is how many may wait before no further one is computed.
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

from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.inference import InferRequest, InferResult, Overloaded
from podium_serving.json_process import JsonProcess
from podium_serving.metrics import Metrics
from podium_serving.waiting import Entry, Limits, Waiting

_UNBOUNDED = Limits(1, math.inf, math.inf)


class _Job:
    """What is to be done, what tells whether it may begin, and how long it had to wait."""

    __slots__ = ("call", "do", "may_begin", "waited")

    def __init__(self, call: Call, do: Callable[[], Any], may_begin: Callable[[], bool] = lambda: True) -> None:
        self.call = call
        self.do = do
        self.may_begin = may_begin
        self.waited = 0.0


class LargeJson:
    """Everything but the thread's own loop is called on the event loop's thread, which says what is done next."""

    def __init__(self, process: JsonProcess, metrics: Metrics, limits: Limits, budget: Budget) -> None:
        """Starts nothing before it is needed. Where a body may not begin, it is asked again as the budget is freed."""
        self._budget = budget
        self._process = process
        self._metrics = metrics
        self._limits = limits
        self._bodies: Waiting[_Job, Any] = Waiting(metrics, limits)
        self._answers: Waiting[_Job, Any] = Waiting(metrics, _UNBOUNDED)
        self._handed: queue.SimpleQueue[Entry[_Job, Any]] = queue.SimpleQueue()
        self._busy = False
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

    async def decode(self, call: Call, body: memoryview, may_begin: Callable[[], bool]) -> tuple[InferRequest, float]:
        """As JsonProcess.decode; also the seconds that the body had to wait. Raises Overloaded if that is too long.

        `may_begin` is asked, once it is this body's turn, whether there is room for its tensors; if so, it takes it.
        """
        entry = self._enter(self._bodies, _Job(call, partial(self._process.decode, body), may_begin))
        # Who has left while it had no room no longer keeps those behind it waiting.
        entry.future.add_done_callback(lambda _: self._next())
        return await entry.future, entry.work.waited

    async def encode(self, call: Call, request: InferRequest, result: InferResult) -> bytearray:
        """As JsonProcess.encode."""
        made: bytearray = await self.aside(call, partial(self._process.encode, request, result))
        return made

    async def aside(self, call: Call, write: Callable[[], Any]) -> Any:
        """What `write` makes in the thread, among the answers."""
        return await self._enter(self._answers, _Job(call, write)).future

    def _enter(self, waiting: "Waiting[_Job, Any]", job: _Job) -> Entry[_Job, Any]:
        entry = waiting.enter(job, too_late=job.call.keep)
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name="large-json", daemon=True)
            self._thread.start()
        self._next()
        return entry

    def _next(self) -> None:
        """Hands the thread what is next, if it has nothing to do."""
        if self._busy:
            return
        self._budget.freed = None  # it is asked below, and asks for no second time meanwhile
        entry = self._answers.take() or self._next_body()
        if entry is not None:
            self._busy = True
            entry.work.waited = time.monotonic() - entry.since
            self._handed.put(entry)

    def _next_body(self) -> Entry[_Job, Any] | None:
        """The body whose turn it is, if there is room for it; those that have waited too long are told so."""
        while (entry := self._bodies.first()) is not None:
            if self._bodies.overdue(entry, time.monotonic()):
                self._bodies.take()
                self._bodies.expire(entry)
            elif entry.future.done():
                self._bodies.take()
                entry.over = True  # it was given up just now
            elif entry.work.may_begin():
                return self._bodies.take()
            else:
                self._budget.freed = self._next
                return None
        return None

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._work_once(loop)

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Does what it is handed. A function, so that a thread that waits holds nothing of the last one."""
        entry = self._handed.get()
        report = partial(self._done, entry, _outcome(entry.work.do))
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(report)

    def _done(self, entry: Entry[_Job, Any], outcome: Any) -> None:
        self._busy = False
        # The process could not be had, or nothing be handed to it: the queue has no part in that.
        if isinstance(outcome, Overloaded) and not entry.future.done():
            self._metrics.shed("memory")
        entry.settle(outcome)
        entry.work.call.let_go()
        self._next()


def _outcome(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception as problem:
        return problem
