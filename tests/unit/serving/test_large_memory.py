"""What large JSON becomes counts against the memory for all requests, before it is there."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium_serving import json_size
from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.datatypes import BY_NAME
from podium_serving.engine import Engine
from podium_serving.http.message import Request, Response
from podium_serving.inference import InferRequest
from podium_serving.json_codec import LARGE, JsonCodec
from podium_serving.json_process import JsonProcess
from podium_serving.large_json import LargeJson
from podium_serving.metrics import Metrics
from podium_serving.service import Service
from podium_serving.settings import Settings
from podium_serving.signature import Signature, TensorSpec, TooLarge
from podium_serving.waiting import Limits
from tests.unit.serving.harness import JSON_TYPES, identity, serving
from tests.until import until

N = TensorSpec("n", BY_NAME["INT64"], None)
SIGNATURE = Signature((N,), (N,))
SETTINGS = Settings.from_environment({"PODIUM_MODEL": "m"})
COUNT = LARGE
"""Elements of one digit: a body of twice as many bytes, and a tensor of eight times as many."""
TENSOR = 8 * COUNT


def ones(count: int) -> bytes:
    given = {"name": "n", "shape": [count], "datatype": "INT64", "data": [1] * count}
    return json.dumps({"inputs": [given]}, separators=(",", ":")).encode()


class Noted(JsonProcess):
    """Reads in the thread itself, and notes how often."""

    def __init__(self) -> None:
        super().__init__(SIGNATURE, "m", "1")
        self.read = 0

    def decode(self, body: memoryview) -> InferRequest:
        self.read += 1
        return JsonCodec(SIGNATURE, "m", "1").decode(body)


class Gated:
    """A model that gives one number, once it is let: each run waits for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.runs = 0

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        self.runs += 1
        assert self.gate.wait(20)
        return [np.zeros(1, np.int64)]


class Stand:
    """A service whose connections account for bodies as those of HTTP do."""

    def __init__(self, memory: int) -> None:
        metrics, limits = Metrics(SETTINGS), Limits(2, 10, 60)
        self.budget, self.model, self.process = Budget(memory), Gated(), Noted()
        engine = Engine(self.model, metrics, limits, self.budget)
        large = LargeJson(self.process, metrics, limits, self.budget)
        self.service = Service(SETTINGS, SIGNATURE, engine, metrics, large)
        self.large = large

    def ask(self, body: bytes) -> "asyncio.Future[Response]":
        request = Request(0.0)
        request.method, request.target = b"POST", b"/v2/models/m/infer"
        request.body = memoryview(body)
        self.budget.change(len(body))
        request.account = lambda: self.budget.change(-len(body))
        answer = self.service.handle(request)
        assert isinstance(answer, asyncio.Future)
        return answer


async def test_a_large_body_is_read_only_once_there_is_room_for_its_tensors_beside_those_of_the_one_before() -> None:
    stand = Stand(memory=3 * TENSOR // 2)
    first = stand.ask(ones(COUNT))
    await until(lambda: stand.model.runs == 1, 20)
    second = stand.ask(ones(COUNT))
    await until(lambda: stand.large.waiting == 1, 20)
    assert stand.process.read == 1
    stand.model.gate.set()
    assert [(await each).status for each in (first, second)] == [200, 200]
    await until(lambda: stand.budget.used == 0)


async def test_two_large_bodies_whose_tensors_have_room_together_are_there_at_once() -> None:
    stand = Stand(memory=5 * TENSOR // 2)
    both = [stand.ask(ones(COUNT)) for _ in range(2)]
    await until(lambda: stand.model.runs == 2, 20)
    assert stand.budget.used == 2 * TENSOR
    stand.model.gate.set()
    assert [(await each).status for each in both] == [200, 200]


def call(budget: Budget, body: int) -> Call:
    budget.change(body)
    return Call(Metrics(SETTINGS), budget, body)


def test_a_large_body_waits_for_no_small_requests_unless_they_use_up_the_memory() -> None:
    budget = Budget(100)
    alone = call(budget, 20)
    small = call(budget, 1)
    small.hold(99)
    assert not alone.reserve(90)
    small.hold(98)
    assert alone.reserve(90)
    assert budget.used == 90 + 1 + 98
    alone.abandoned()
    assert budget.used == 20 + 1 + 98


def test_beside_another_large_body_it_waits_until_the_rest_of_its_tensors_fits() -> None:
    budget = Budget(100)
    first, second, compact = call(budget, 10), call(budget, 10), call(budget, 10)
    assert first.reserve(40)
    assert not second.reserve(51)
    assert compact.reserve(10), "whose tensors take no more than its body"
    assert second.reserve(50)
    assert budget.used == 40 + 50 + 10


@pytest.mark.parametrize("count", [COUNT, LARGE // 4], ids=["large", "small"])
def test_a_tensor_larger_than_the_memory_is_refused_before_it_is_made(count: int) -> None:
    codec = JsonCodec(SIGNATURE, "m", "1", memory=8 * count - 1)
    with pytest.raises(TooLarge) as caught:
        codec.decode(memoryview(ones(count)))
    assert str(caught.value) == (
        f"input 'n': the request's tensors take {8 * count} bytes, which exceeds {8 * count - 1} bytes, the memory for "
        "all requests (PODIUM_MEMORY_BYTES, or a quarter of what the model leaves of the container's limit): send "
        "fewer rows at once, or raise spec.runtime.resources.limits.memory"
    )
    assert JsonCodec(SIGNATURE, "m", "1", memory=8 * count).decode(memoryview(ones(count))).nbytes == 8 * count


def test_tensors_count_together_and_strings_with_their_characters() -> None:
    texts = TensorSpec("texts", BY_NAME["BYTES"], None)
    given = [
        {"name": "n", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "texts", "shape": [1], "datatype": "BYTES", "data": ["abc"]},
    ]
    body, size = memoryview(json.dumps({"inputs": given}).encode()), 2 * 8 + 64 + 3
    both = Signature((N, texts), (N,))
    assert JsonCodec(both, "m", "1", memory=size).decode(body).nbytes == size
    for less in (size - 1, size - 4):
        with pytest.raises(TooLarge, match=f"which exceeds {less} bytes"):
            JsonCodec(both, "m", "1", memory=less).decode(body)


def test_the_server_refuses_tensors_larger_than_its_memory_with_a_413_and_serves_on(folder: Path) -> None:
    path = folder / "large-memory.onnx"
    path.write_bytes(identity({"n": JSON_TYPES["INT64"]}, ["n"]))
    with serving(path, PODIUM_MEMORY_BYTES=TENSOR // 2) as server:
        refused = server.infer(ones(COUNT))
        assert refused.status == 413
        assert refused.json["error"].startswith(
            f"input 'n': the request's tensors take {TENSOR} bytes, which exceeds {TENSOR // 2} bytes, the memory for "
        )
        assert server.infer(ones(COUNT // 4)).status == 200


@pytest.mark.parametrize("datatype", ["INT64", "FP32", "BOOL", "BYTES"])
async def test_tensors_are_never_larger_than_was_reckoned_beforehand(datatype: str) -> None:
    element = {"INT64": 1, "FP32": 1, "BOOL": True, "BYTES": ""}[datatype]
    spec = TensorSpec("x", BY_NAME[datatype], None)
    signature = Signature((spec,), (spec,))
    for count in (0, 1, 3_000, 600_000):
        inputs = [{"name": "x", "shape": [count], "datatype": datatype, "data": [element] * count}]
        body = memoryview(json.dumps({"inputs": inputs}, separators=(",", ":")).encode())
        size = JsonCodec(signature, "m", "1").decode(body).nbytes
        assert size <= await json_size.most(signature, body) <= size + 2 * body.nbytes + 1000
