"""What waits for the process for large JSON: answers first, for as long as it takes; bodies in their turn."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.inference import InferRequest, Overloaded
from podium_serving.json_process import JsonProcess
from podium_serving.large_json import LargeJson
from podium_serving.metrics import Metrics
from podium_serving.settings import Settings
from podium_serving.signature import Signature
from podium_serving.waiting import Limits
from tests.until import until


class Noted(JsonProcess):
    """Notes which bodies it is given, and reads none of them."""

    def __init__(self) -> None:
        super().__init__(Signature((), ()), "model", "1")
        self.given: list[str] = []
        self.problem: Exception | None = None

    def decode(self, body: memoryview) -> InferRequest:
        if self.problem:
            raise self.problem
        self.given.append(bytes(body).decode())
        return InferRequest(None, {}, ())


class Stand:
    """A thread that is busy until the gate opens."""

    def __init__(self, queue_seconds: float) -> None:
        self.process, self.budget = Noted(), Budget(100)
        self.metrics = Metrics(Settings.from_environment({"PODIUM_MODEL": "model"}))
        self.large = LargeJson(self.process, self.metrics, Limits(1, 10, queue_seconds), self.budget)
        self.gate, self.busy = threading.Event(), threading.Event()

    def call(self) -> Call:
        return Call(self.metrics, self.budget, 0)

    async def occupied(self) -> "asyncio.Task[object]":
        def work() -> None:
            self.busy.set()
            assert self.gate.wait(20)

        first = asyncio.ensure_future(self.large.aside(self.call(), work))
        await until(self.busy.is_set, 20)
        return first

    def body(
        self, name: str, may_begin: Callable[[], bool] = lambda: True
    ) -> "asyncio.Task[tuple[InferRequest, float]]":
        return asyncio.ensure_future(self.large.decode(self.call(), memoryview(name.encode()), may_begin))

    def answer(self, name: str) -> "asyncio.Task[object]":
        return asyncio.ensure_future(self.large.aside(self.call(), lambda: self.process.given.append(name)))


async def test_answers_are_written_before_further_bodies_are_read() -> None:
    stand = Stand(60)
    first = await stand.occupied()
    others = [stand.body("body 1"), stand.answer("answer 1"), stand.body("body 2"), stand.answer("answer 2")]
    await until(lambda: stand.large.waiting == 4)
    stand.gate.set()
    await asyncio.gather(first, *others)
    assert stand.process.given == ["answer 1", "answer 2", "body 1", "body 2"]


async def test_an_answer_is_written_however_long_it_had_to_wait() -> None:
    stand = Stand(0.05)
    first = await stand.occupied()
    answer, body = stand.answer("answer"), stand.body("body")
    with pytest.raises(Overloaded):
        await body
    stand.gate.set()
    await asyncio.gather(first, answer)
    assert stand.process.given == ["answer"]


async def test_what_is_given_up_is_neither_read_nor_written() -> None:
    stand = Stand(60)
    first = await stand.occupied()
    given_up, kept = [stand.body("body 1"), stand.answer("answer")], stand.body("body 2")
    await until(lambda: stand.large.waiting == 3)
    for each in given_up:
        each.cancel()
    await until(lambda: stand.large.waiting == 1)
    stand.gate.set()
    await asyncio.gather(first, kept)
    assert stand.process.given == ["body 2"]


async def test_what_cannot_be_handed_to_the_process_is_counted_as_refused_for_want_of_memory() -> None:
    stand = Stand(60)
    stand.process.problem = Overloaded("large JSON cannot be handed on: Cannot allocate memory")
    with pytest.raises(Overloaded):
        await stand.body("body")
    counted = stand.metrics.exposition(["podium_serving_requests_shed_total"]).decode()
    assert 'reason="memory"} 1\n' in counted


async def test_a_body_for_whose_tensors_there_is_no_room_waits_until_some_is_given_back_and_answers_do_not() -> None:
    stand, room = Stand(60), []
    body = stand.body("body", lambda: bool(room))
    await until(lambda: stand.large.waiting == 1)
    await stand.answer("answer")
    assert stand.process.given == ["answer"]
    room.append("now there is some")
    stand.budget.change(-1)
    await body
    assert stand.process.given == ["answer", "body"]


async def test_a_body_that_waits_too_long_for_room_is_told_to_come_again_and_is_not_read() -> None:
    stand = Stand(0.05)
    with pytest.raises(Overloaded, match=r"waited 0.05 s for its turn \(PODIUM_QUEUE_SECONDS\)"):
        await stand.body("body", lambda: False)
    assert stand.process.given == []
    counted = stand.metrics.exposition(["podium_serving_requests_shed_total"]).decode()
    assert 'reason="queue_age"} 1\n' in counted


async def test_who_gives_up_waiting_for_room_no_longer_keeps_others_waiting() -> None:
    stand = Stand(60)
    given_up, kept = stand.body("body 1", lambda: False), stand.body("body 2")
    await until(lambda: stand.large.waiting == 2)
    given_up.cancel()
    await kept
    assert stand.process.given == ["body 2"]
