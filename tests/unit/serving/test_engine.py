"""The engine: what runs where, how long the queue may grow and its entries wait, and what is given up."""

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.datatypes import BY_NAME
from podium_serving.engine import Engine
from podium_serving.inference import InferRequest, InferResult, Misfit, NoMemory, Overloaded, RequestedOutput, RunError
from podium_serving.metrics import Metrics
from podium_serving.settings import Settings
from podium_serving.signature import TensorSpec, TooLarge
from podium_serving.waiting import Limits
from tests.until import until

OUTPUT = RequestedOutput(TensorSpec("y", BY_NAME["FP32"], (1,)))


def request(value: float) -> InferRequest:
    return InferRequest(None, {"x": np.array([value], dtype=np.float32)}, (OUTPUT,))


class Gated:
    """A model that doubles its input once it is let: each run waits for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ran: list[float] = []
        self.problem: Exception | None = None

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        assert self.gate.wait(20)
        if self.problem:
            raise self.problem
        self.ran.append(float(feeds["x"][0]))
        return [feeds["x"] * 2]


class Stand:
    """An engine with room for two that wait."""

    def __init__(self, model: Gated, queue_seconds: float, workers: int = 1, memory: int = 2**30) -> None:
        self.model = model
        self.budget = Budget(memory)
        self.metrics = Metrics(Settings.from_environment({"PODIUM_MODEL": "model"}))
        self.engine = Engine(model, self.metrics, Limits(workers, 2, queue_seconds), self.budget)

    def count(self, name: str, labels: str = "") -> float:
        for line in self.metrics.exposition([name]).decode().splitlines():
            if line.startswith(f"{name}{{") and labels in line:
                return float(line.split()[-1])
        raise AssertionError(f"{name} is not there")

    def submit(self, given: InferRequest, waited: float = 0) -> "InferResult | asyncio.Future[InferResult]":
        return self.engine.submit(self.engine.begin(), given, waited)

    async def occupied(self) -> "asyncio.Future[InferResult]":
        """A run that keeps the worker busy until the gate opens."""
        first = self.submit(request(0))
        assert isinstance(first, asyncio.Future)
        await until(lambda: not self.count("podium_serving_queue_length"), 20)
        return first

    def waiting(self, value: float) -> "asyncio.Future[InferResult]":
        result = self.submit(request(value))
        assert isinstance(result, asyncio.Future)
        return result


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand(Gated(), queue_seconds=60)
    yield made
    made.model.gate.set()


async def test_a_result_has_the_tensors_of_the_outputs_asked_for(stand: Stand) -> None:
    stand.model.gate.set()
    result = await stand.waiting(21)
    assert [tensor.tolist() for tensor in result.tensors] == [[42.0]]


async def test_once_runs_are_known_to_be_short_they_are_done_at_once(stand: Stand) -> None:
    stand.model.gate.set()
    await stand.waiting(1)
    assert isinstance(stand.submit(request(2)), InferResult)


class Brief(Gated):
    """A model whose runs take 2 ms of a core each, and then wait for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        self.begun += 1
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass
        return super().run(feeds, outputs)


async def test_a_long_text_is_not_taken_for_as_short_a_run_as_a_short_one(stand: Stand) -> None:
    def text(characters: int) -> InferRequest:
        return request(0)._replace(characters=characters)

    stand.model.gate.set()
    for _ in range(2):
        first = stand.submit(text(10))
        if isinstance(first, asyncio.Future):
            await first
    assert isinstance(stand.submit(text(10)), InferResult)
    assert isinstance(stand.submit(text(10**9)), asyncio.Future)


async def test_strings_are_not_looked_through_on_the_loops_thread(stand: Stand) -> None:
    uncounted = request(0)._replace(feeds={"x": np.array([0.0]), "text": np.array([object()], dtype=object)})
    result = stand.submit(uncounted)
    stand.model.gate.set()
    assert isinstance(result, asyncio.Future)
    assert (await result).tensors[0].tolist() == [0.0]


async def test_with_two_cores_runs_of_two_milliseconds_are_done_on_both_at_once() -> None:
    model = Brief()
    stand = Stand(model, queue_seconds=60, workers=2)
    model.gate.set()
    await stand.waiting(0)  # now it is known how long a run takes
    model.gate.clear()
    both = [stand.waiting(1), stand.waiting(2)]
    await until(lambda: model.begun == 3, 20)
    assert stand.count("podium_serving_queue_length") == 0
    model.gate.set()
    await asyncio.gather(*both)


async def test_with_one_core_they_are_done_at_once_since_nobody_could_run_them_meanwhile() -> None:
    stand = Stand(Brief(), queue_seconds=60)
    stand.model.gate.set()
    await stand.waiting(0)
    assert isinstance(stand.submit(request(1)), InferResult)


async def test_more_than_may_wait_are_refused_and_counted(stand: Stand) -> None:
    first = await stand.occupied()
    others = [stand.waiting(value) for value in (1, 2)]
    with pytest.raises(Overloaded, match=r"the server is overloaded: 2 requests wait already \(PODIUM_QUEUE_LENGTH\)"):
        stand.submit(request(3))
    stand.model.gate.set()
    await asyncio.gather(first, *others)
    assert stand.model.ran == [0, 1, 2]
    assert stand.count("podium_serving_requests_shed_total", 'reason="queue_length"') == 1


async def test_what_has_waited_too_long_is_refused_while_the_worker_is_still_busy_and_is_never_run() -> None:
    stand = Stand(Gated(), queue_seconds=1)
    first = await stand.occupied()
    waiting = stand.waiting(1)
    with pytest.raises(Overloaded, match=r"waited 1 s for its turn \(PODIUM_QUEUE_SECONDS\)"):
        await waiting
    stand.model.gate.set()
    await first
    assert stand.model.ran == [0]
    assert stand.count("podium_serving_requests_shed_total", 'reason="queue_age"') == 1


# (With 95, 4 are left: the first one's result may be there already when the next one's turn comes.)
@pytest.mark.parametrize(("others", "refused"), [(100, True), (95, False)])
async def test_what_waits_is_not_run_while_others_use_up_the_memory(others: int, refused: bool) -> None:
    stand = Stand(Gated(), queue_seconds=60, memory=100)
    first = await stand.occupied()
    waiting = stand.waiting(1)
    assert stand.budget.used == 4 + 4, "the tensor of each"
    stand.budget.change(others - 4)  # what it holds itself does not speak against it
    stand.model.gate.set()
    await first
    if refused:
        with pytest.raises(Overloaded, match=r"used up \(PODIUM_MEMORY_BYTES\)"):
            await waiting
    await asyncio.wait([waiting])
    assert stand.model.ran == [0.0] + [1.0] * (not refused)
    assert stand.count("podium_serving_requests_shed_total", 'reason="memory"') == refused


@pytest.mark.parametrize("short", [True, False], ids=["would be run at once", "would wait"])
async def test_whatever_front_it_comes_by_nothing_is_taken_while_others_use_up_the_memory(
    stand: Stand, short: bool
) -> None:
    stand.model.gate.set()
    if short:
        await stand.waiting(0)  # now runs are known to be short
    ran = stand.model.ran.copy()
    stand.budget.change(stand.budget.size)
    with pytest.raises(Overloaded, match=r"used up \(PODIUM_MEMORY_BYTES\)"):
        stand.submit(request(1))
    assert stand.model.ran == ran
    assert stand.count("podium_serving_requests_shed_total", 'reason="memory"') == 1


async def test_a_request_whose_tensors_are_larger_than_all_the_memory_is_refused() -> None:
    stand = Stand(Gated(), queue_seconds=60, memory=3)
    with pytest.raises(TooLarge, match=r"take 4 bytes, which exceeds 3 bytes, .*raise spec\.runtime\.resources"):
        stand.submit(request(1))


@pytest.mark.parametrize("short", [True, False], ids=["run at once", "run by a worker"])
async def test_a_call_holds_its_tensors_and_its_result_until_it_has_ended(stand: Stand, short: bool) -> None:
    stand.model.gate.set()
    if short:
        await stand.waiting(0)
    before = stand.budget.used
    call = stand.engine.begin()
    result = stand.engine.submit(call, request(1))
    assert isinstance(result, InferResult) == short
    if isinstance(result, asyncio.Future):
        await result
    assert stand.budget.used - before == 4 + 4
    call.answered(200, 0.1)
    assert stand.budget.used == before


async def given_up_while_it_runs(stand: Stand) -> Call:
    """A call whose future is cancelled when a worker has taken its request already."""
    call = stand.engine.begin()
    given_up = stand.engine.submit(call, request(1))
    assert isinstance(given_up, asyncio.Future)
    await until(lambda: not stand.engine.waiting, 20)
    given_up.cancel()
    return call


async def test_a_call_that_has_ended_before_its_run_holds_nothing_of_the_result(stand: Stand) -> None:
    call = await given_up_while_it_runs(stand)
    call.abandoned()
    stand.model.gate.set()
    await stand.waiting(2)
    assert stand.budget.used == 4 + 4, "those of the last one"


async def test_what_is_still_computed_for_a_client_that_has_gone_counts_until_it_is_done(stand: Stand) -> None:
    call = await given_up_while_it_runs(stand)
    await asyncio.sleep(0)  # the front hears of it after the engine
    call.abandoned()
    assert stand.budget.used == 4
    stand.model.gate.set()
    await until(lambda: not stand.budget.used, 20)


async def test_a_run_that_fails_for_want_of_memory_beside_another_is_told_to_come_again() -> None:
    stand = Stand(Gated(), queue_seconds=60, workers=2)
    first = await stand.occupied()
    stand.model.problem = NoMemory("Available memory of 0 is smaller than requested bytes of 4")
    second = stand.waiting(1)
    await until(lambda: not stand.engine.waiting, 20)
    stand.model.gate.set()
    failures = await asyncio.gather(first, second, return_exceptions=True)
    # Which of them fails first is not known; the other one is alone then, or not.
    assert any(isinstance(each, Overloaded) for each in failures), failures
    assert stand.count("podium_serving_requests_shed_total", 'reason="memory"') >= 1


async def test_a_run_that_could_never_have_enough_is_not_told_to_come_again() -> None:
    stand = Stand(Gated(), queue_seconds=60, workers=2)
    first = await stand.occupied()
    problem = NoMemory("Available memory of 0 is smaller than requested bytes of 4")
    problem.hopeless = True
    stand.model.problem = problem
    second = stand.waiting(1)
    await until(lambda: not stand.engine.waiting, 20)
    stand.model.gate.set()
    for each in (first, second):
        with pytest.raises(NoMemory):
            await each


async def test_a_quick_failure_does_not_make_long_runs_look_short(stand: Stand) -> None:
    stand.model.problem = RunError("at once")
    stand.model.gate.set()
    for value in range(3):
        with pytest.raises(RunError):
            await stand.waiting(value)
    assert isinstance(stand.engine.submit(stand.engine.begin(), request(9)), asyncio.Future)


async def test_calls_are_counted_by_whatever_front_they_come(stand: Stand) -> None:
    answered, abandoned, _ = (stand.engine.begin() for _ in range(3))
    answered.answered(503, 0.1)
    abandoned.abandoned()
    assert stand.count("podium_serving_requests_started_total") == 3
    assert stand.count("podium_serving_requests_in_flight") == 1
    assert stand.count("podium_serving_requests_total", 'code="503"') == 1
    assert stand.count("podium_serving_requests_abandoned_total") == 1


async def test_what_is_given_up_while_it_waits_is_never_run_and_makes_room(stand: Stand) -> None:
    first = await stand.occupied()
    given_up, kept = stand.waiting(1), stand.waiting(2)
    given_up.cancel()
    await asyncio.sleep(0)
    last = stand.waiting(3)
    stand.model.gate.set()
    await asyncio.gather(first, kept, last)
    assert stand.model.ran == [0, 2, 3]


async def test_nothing_is_kept_of_what_is_given_up_or_refused_however_long_the_worker_is_busy() -> None:
    stand = Stand(Gated(), queue_seconds=1)
    first = await stand.occupied()
    kept = []
    for give_up in (True, False):
        waiting = request(1)
        kept.append(weakref.ref(waiting.feeds["x"]))
        future = stand.submit(waiting)
        assert isinstance(future, asyncio.Future)
        del waiting
        if give_up:
            future.cancel()
            await asyncio.sleep(0)
        else:
            with pytest.raises(Overloaded):
                await future
        del future
    await until(lambda: [each() for each in kept] == [None, None], 20)
    stand.model.gate.set()
    await first


async def test_what_has_waited_elsewhere_may_wait_so_much_less_and_is_refused_before_those_that_came_first(
    stand: Stand,
) -> None:
    first = await stand.occupied()
    fresh, tired = stand.waiting(1), stand.submit(request(2), waited=60)
    assert isinstance(tired, asyncio.Future)
    with pytest.raises(Overloaded, match="waited 60 s for its turn"):
        await tired
    stand.model.gate.set()
    await asyncio.gather(first, fresh)
    assert stand.model.ran == [0, 1]


async def test_what_is_given_up_while_it_runs_harms_nobody(stand: Stand) -> None:
    first = await stand.occupied()
    first.cancel()
    second = stand.waiting(1)
    stand.model.gate.set()
    assert (await second).tensors[0].tolist() == [2.0]


@pytest.mark.parametrize(("problem", "counted"), [(RunError("no"), 1), (Misfit("no"), 0)])
async def test_a_failed_run_is_told_and_counted_unless_it_is_the_clients_fault(
    stand: Stand, problem: Exception, counted: int
) -> None:
    stand.model.problem = problem
    stand.model.gate.set()
    with pytest.raises(type(problem)):
        await stand.waiting(1)
    assert stand.count("podium_serving_inference_failures_total") == counted


async def test_the_time_in_the_queue_is_measured_for_every_run(stand: Stand) -> None:
    first = await stand.occupied()
    second = stand.waiting(1)
    stand.model.gate.set()
    await asyncio.gather(first, second)
    # Where there was nothing to wait for here, what was waited elsewhere.
    assert isinstance(stand.submit(request(2), waited=7), InferResult)
    assert 7 <= stand.count("podium_serving_queue_duration_seconds_sum") < 27
    text = stand.metrics.exposition(["podium_serving_queue_duration_seconds"]).decode()
    assert text.endswith('podium_serving_queue_duration_seconds_count{model="model",version="1",revision=""} 3\n')
