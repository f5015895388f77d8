"""Between the fronts and the model: which request is run when and where, which is refused, and which is given up.

A run that is expected to be short is done at once, on the event loop, since handing it to a thread and back costs
0.1 ms. The others wait for worker threads (`waiting.py`).
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from podium_serving.budget import NEGLIGIBLE, NO_ROOM, NO_ROOM_TO_RUN, Budget, result_too_large, tensors_too_large
from podium_serving.calls import Call
from podium_serving.durations import Durations
from podium_serving.inference import InferRequest, InferResult, Misfit, NoMemory, Overloaded
from podium_serving.last_words import NoWords, Words
from podium_serving.metrics import Metrics
from podium_serving.signature import TensorSpec, TooLarge
from podium_serving.waiting import Entry, Limits, Waiting

# The longest run that may keep health checks and other connections waiting; and, where there are cores that could run
# it meanwhile, the longest for which handing it over costs more than it gains.
INLINE_SECONDS = 0.005
INLINE_SECONDS_BESIDE_WORKERS = 0.0003


class Runs(Protocol):
    """A loaded model."""

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        """The outputs' tensors, in that order; may be called from several threads at once. Raises RunError."""


Outcome = InferResult | Exception


class _Run(NamedTuple):
    call: Call
    request: InferRequest
    size: int


class Engine:
    """Runs requests on one model. Everything but the workers' own loop is called on the event loop's thread."""

    def __init__(
        self, model: Runs, metrics: Metrics, limits: Limits, budget: Budget, words: Words | None = None
    ) -> None:
        """`words` is told of each run, in case that it is the last.

        How much of the budget a result takes is not known beforehand: nothing is run while others use it up.
        """
        self._words = words or NoWords()
        self._budget = budget
        self._model = model
        self._metrics = metrics
        self._workers = limits.workers
        self._durations = Durations()
        self._inline = INLINE_SECONDS if limits.workers == 1 else INLINE_SECONDS_BESIDE_WORKERS
        self._waiting: Waiting[_Run, InferResult] = Waiting(metrics, limits)
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._threads = 0
        # The calls whose runs are under way or not reported yet; a step on a set is one step for all threads.
        self._running: set[Call] = set()
        metrics.queues.append(self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._waiting)

    @property
    def memory(self) -> int:
        """Bytes that the tensors of a request may take: as many as all requests together."""
        return self._budget.size

    def begin(self, body: int = 0) -> Call:
        """A request has come, of which the front holds so many bytes of the budget.

        The front ends the call, once it has its answer or its client is gone.
        """
        return Call(self._metrics, self._budget, body)

    def admit(self, call: Call) -> None:
        """Raises Overloaded while the memory is used up by others than the call.

        `submit` asks as well; a front asks before it decodes what would be decoded in vain.
        """
        if self._budget.used_up(call.own):
            self._metrics.shed("memory")
            raise Overloaded(NO_ROOM)

    def submit(
        self, call: Call, request: InferRequest, waited: float = 0.0
    ) -> "InferResult | asyncio.Future[InferResult]":
        """The result, or a future of it; cancelling the future gives the request up. The call holds what is there.

        `waited` is how many seconds the request has waited already. Raises Overloaded, RunError, and TooLarge; so does
        the future.
        """
        self.admit(call)
        nbytes = request.nbytes
        if nbytes > self._budget.size:
            raise TooLarge(tensors_too_large(nbytes, self._budget.size))
        size = _size_of(request)
        if self._durations.expect(size) < self._inline:
            outcome, seconds = self._attempt(call, request)
            # The time that passed, which interruptions by others add to: asking for CPU time costs as much as it tells.
            self._count(outcome, seconds, seconds, size, waited)
            outcome = self._fitting(outcome)
            if isinstance(outcome, InferResult):
                call.hold(nbytes + outcome.nbytes)
            self._running.discard(call)
            if isinstance(outcome, InferResult):
                return outcome
            if isinstance(outcome, Overloaded):
                self._metrics.shed("memory")
            raise outcome
        entry = self._waiting.enter(_Run(call, request, size), waited, call.keep)
        call.hold(nbytes)
        self._start_workers()
        self._wake.put(None)
        return entry.future

    def _start_workers(self) -> None:
        # Daemons: a run that nobody waits for any more must not keep the process from ending.
        while self._threads < self._workers:
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._work, args=(loop,), name=f"inference-{self._threads}", daemon=True).start()
            self._threads += 1

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._work_once(loop)

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Waits for one request and runs it. A function, so that a worker that waits holds nothing of the last one."""
        self._wake.get()
        entry = self._waiting.take()
        if entry is None:
            return  # it has left
        started = time.monotonic()
        report: Callable[[], None]
        if self._waiting.overdue(entry, started):
            report = partial(self._waiting.expire, entry)
        elif self._budget.used_up(entry.work.call.own):
            report = partial(self._waiting.shed, entry, "memory", NO_ROOM)
        else:
            # CPU time: on a busy node every run is interrupted now and then, and would be sent here for good.
            held = time.thread_time()
            outcome, seconds = self._attempt(entry.work.call, entry.work.request)
            held = time.thread_time() - held
            report = partial(self._ran, entry, outcome, seconds, held, started - entry.since)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(self._report, entry.work.call, report)

    def _report(self, call: Call, report: Callable[[], None]) -> None:
        report()
        self._running.discard(call)
        call.let_go()

    def _attempt(self, call: Call, request: InferRequest) -> tuple[Outcome, float]:
        """What comes of a run, and seconds. In a worker or on the event loop; counts nothing: counts are the loop's.

        The call is among those that run until its outcome is counted.
        """
        place = self._words.begin(request)
        self._running.add(call)
        started = time.perf_counter()
        try:
            outcome: Outcome = InferResult(self._model.run(request.feeds, [each.spec for each in request.outputs]))
        except NoMemory as problem:
            # Alone it might have had enough: other runs take some, and results until they are written.
            alone = len(self._running) == 1 and self._budget.used - call.own < NEGLIGIBLE
            outcome = problem if alone or problem.hopeless else Overloaded(NO_ROOM_TO_RUN)
        except Exception as problem:
            outcome = problem
        seconds = time.perf_counter() - started
        self._words.end(place)
        return outcome, seconds

    def _fitting(self, outcome: Outcome) -> Outcome:
        """What came of a run, unless it is more than can be answered."""
        if isinstance(outcome, InferResult) and outcome.nbytes > self._budget.size:
            return TooLarge(result_too_large(outcome.nbytes, self._budget.size))
        return outcome

    def _count(self, outcome: Outcome, seconds: float, holding: float, size: int, waited: float) -> None:
        """Counts a run that took `seconds`, and would hold up others for `holding`."""
        self._metrics.queued(waited)
        # What has failed says at most that such a run may take longer than was thought.
        if isinstance(outcome, InferResult) or holding > self._durations.expect(size):
            self._durations.observe(size, holding)
        if isinstance(outcome, InferResult):
            self._metrics.inferred(seconds)
        elif not isinstance(outcome, Misfit | Overloaded):
            self._metrics.inference_failed()

    def _ran(
        self, entry: Entry[_Run, InferResult], outcome: Outcome, seconds: float, holding: float, waited: float
    ) -> None:
        call, request, size = entry.work
        self._count(outcome, seconds, holding, size, waited)
        outcome = self._fitting(outcome)
        if isinstance(outcome, InferResult) and not entry.future.done():
            call.hold(request.nbytes + outcome.nbytes)
        if isinstance(outcome, Overloaded):
            self._waiting.shed(entry, "memory", str(outcome))
        else:
            entry.settle(outcome)


def _size_of(request: InferRequest) -> int:
    """Elements of all tensors; of strings the characters as well, since models take texts as single elements."""
    return sum(tensor.size for tensor in request.feeds.values()) + request.characters
