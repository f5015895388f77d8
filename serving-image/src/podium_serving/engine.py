"""Between the fronts and the model: which request is run when and where, which is refused, and which is given up.

A run that is expected to be short is done at once, on the event loop, since handing it to a thread and back costs
0.1 ms. The others are queued for worker threads. The queue is bounded by number and by age: a caller that is told 503
at once can go elsewhere, one that waits for a minute has long gone. Whoever takes an entry out of `_queued` owns it (a
worker, the sweep or a cancellation), and a dictionary's pop is one step for all threads.
"""

import asyncio
import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from podium_serving.durations import Durations
from podium_serving.inference import InferRequest, InferResult, Misfit, Overloaded
from podium_serving.last_words import NoWords, Words
from podium_serving.metrics import Metrics
from podium_serving.signature import TensorSpec

# The longest run that may keep health checks and other connections waiting; and, where there are cores that could run
# it meanwhile, the longest for which handing it over costs more than it gains.
INLINE_SECONDS = 0.005
INLINE_SECONDS_BESIDE_WORKERS = 0.0003
_SWEEP_SECONDS = 0.1


class Runs(Protocol):
    """A loaded model."""

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        """The outputs' tensors, in that order; may be called from several threads at once. Raises RunError."""


@dataclass(frozen=True)
class Limits:
    """Worker threads; requests that may wait for them; seconds that one may wait."""

    workers: int
    queue_length: int
    queue_seconds: float


Outcome = InferResult | Exception


class _Queued:
    """A request that waits for a worker. Hashed by identity: a key of `_queued`."""

    __slots__ = ("future", "request", "since", "size")

    def __init__(self, request: InferRequest, size: int, future: "asyncio.Future[InferResult]") -> None:
        self.request = request
        self.size = size
        self.future = future
        self.since = time.monotonic()


class Engine:
    """Runs requests on one model. Everything but the workers' own loop is called on the event loop's thread."""

    def __init__(self, model: Runs, metrics: Metrics, limits: Limits, words: Words | None = None) -> None:
        """`words` is told of each run, in case that it is the last."""
        self._words = words or NoWords()
        self._model = model
        self._metrics = metrics
        self._limits = limits
        self._durations = Durations()
        self._inline = INLINE_SECONDS if limits.workers == 1 else INLINE_SECONDS_BESIDE_WORKERS
        self._inbox: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
        self._queued: dict[_Queued, None] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._threads = 0
        metrics.queue_length = lambda: self.waiting

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queued)

    def submit(self, request: InferRequest) -> "InferResult | asyncio.Future[InferResult]":
        """The result, or a future of it; cancelling the future gives the request up.

        Raises Overloaded and RunError, and so does the future.
        """
        size = _size_of(request.feeds)
        if self._durations.expect(size) < self._inline:
            outcome, seconds = self._attempt(request)
            # The time that passed, which interruptions by others add to: asking for CPU time costs as much as it tells.
            self._count(outcome, seconds, seconds, size, 0.0)
            if isinstance(outcome, InferResult):
                return outcome
            raise outcome
        if len(self._queued) >= self._limits.queue_length:
            self._metrics.shed("queue_length")
            raise Overloaded(
                f"the server is overloaded: {len(self._queued)} requests wait already (PODIUM_QUEUE_LENGTH)"
            )
        loop = asyncio.get_running_loop()
        entry = _Queued(request, size, loop.create_future())
        self._queued[entry] = None
        entry.future.add_done_callback(lambda future: self._queued.pop(entry, None) if future.cancelled() else None)
        self._start_workers(loop)
        self._inbox.put(entry)
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_SECONDS, self._sweep_queue)
        return entry.future

    def _start_workers(self, loop: asyncio.AbstractEventLoop) -> None:
        # Daemons: a run that nobody waits for any more must not keep the process from ending.
        while self._threads < self._limits.workers:
            threading.Thread(target=self._work, args=(loop,), name=f"inference-{self._threads}", daemon=True).start()
            self._threads += 1

    def _sweep_queue(self) -> None:
        """Answers those that have waited too long, also while all workers are busy."""
        now = time.monotonic()
        for entry in list(self._queued):
            if now - entry.since < self._limits.queue_seconds:
                break
            if self._take(entry):
                self._expire(entry)
        self._sweep = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep_queue) if self._queued else None

    def _take(self, entry: _Queued) -> bool:
        try:
            del self._queued[entry]
        except KeyError:
            return False
        return True

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._work_once(loop)

    def _work_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Waits for one request and runs it. A function, so that a worker that waits holds nothing of the last one."""
        entry = self._inbox.get()
        if not self._take(entry):
            return
        started = time.monotonic()
        if started - entry.since >= self._limits.queue_seconds:
            report = partial(self._expire, entry)
        else:
            # CPU time: on a busy node every run is interrupted now and then, and would be sent here for good.
            held = time.thread_time()
            outcome, seconds = self._attempt(entry.request)
            held = time.thread_time() - held
            report = partial(self._ran, entry, outcome, seconds, held, started - entry.since)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(report)

    def _attempt(self, request: InferRequest) -> tuple[Outcome, float]:
        """What comes of a run, and seconds. In a worker or on the event loop; counts nothing: counts are the loop's."""
        place = self._words.begin(request)
        started = time.perf_counter()
        try:
            outcome: Outcome = InferResult(self._model.run(request.feeds, [each.spec for each in request.outputs]))
        except Exception as problem:
            outcome = problem
        seconds = time.perf_counter() - started
        self._words.end(place)
        return outcome, seconds

    def _count(self, outcome: Outcome, seconds: float, holding: float, size: int, waited: float) -> None:
        """Counts a run that took `seconds`, and would hold up others for `holding`."""
        self._metrics.queued(waited)
        if isinstance(outcome, InferResult):
            self._durations.observe(size, holding)
            self._metrics.inferred(seconds)
        elif not isinstance(outcome, Misfit):
            self._metrics.inference_failed()

    def _ran(self, entry: _Queued, outcome: Outcome, seconds: float, holding: float, waited: float) -> None:
        self._count(outcome, seconds, holding, entry.size, waited)
        if entry.future.done():
            return
        if isinstance(outcome, Exception):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)

    def _expire(self, entry: _Queued) -> None:
        if entry.future.done():
            return
        self._metrics.shed("queue_age")
        entry.future.set_exception(
            Overloaded(
                "the server is overloaded: the request waited "
                f"{self._limits.queue_seconds:g} s for its turn (PODIUM_QUEUE_SECONDS)"
            )
        )


def _size_of(feeds: "dict[str, np.ndarray[Any, Any]]") -> int:
    """Elements of all tensors; of strings the characters as well, since models take texts as single elements."""
    size = 0
    for tensor in feeds.values():
        size += tensor.size
        if tensor.dtype.hasobject:
            size += sum(map(len, tensor.flat))
    return size
