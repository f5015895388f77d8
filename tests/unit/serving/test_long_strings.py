"""Answers of a few long strings: they are as large as their text, and are not written between other requests."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.datatypes import BY_NAME
from podium_serving.engine import Engine
from podium_serving.http.message import Request, Response
from podium_serving.inference import InferRequest, InferResult
from podium_serving.json_codec import LARGE
from podium_serving.json_process import JsonProcess
from podium_serving.large_json import LargeJson
from podium_serving.metrics import Metrics
from podium_serving.service import Service
from podium_serving.settings import Settings
from podium_serving.signature import Signature, TensorSpec
from podium_serving.waiting import Limits

X = TensorSpec("x", BY_NAME["BYTES"], None)
SIGNATURE = Signature((TensorSpec("n", BY_NAME["INT64"], None),), (X,))


def strings(*values: str) -> "np.ndarray[Any, Any]":
    tensor = np.empty(len(values), dtype=object)
    tensor[:] = values
    return tensor


@pytest.mark.parametrize(
    ("tensors", "size"),
    [
        ([], 0),
        ([strings()], 0),
        ([strings("", "ab")], 2 * 64 + 2),
        ([strings("a" * 1000, "é" * 24).reshape(2, 1).T, np.zeros(3, np.float32)], 2 * 64 + 1024 + 12),
        ([strings(*["abc"] * 10_000)], 67 * 10_000),
    ],
)
def test_of_strings_a_result_has_the_characters_too(tensors: "list[np.ndarray[Any, Any]]", size: int) -> None:
    assert InferResult(tensors).nbytes == size


def test_so_has_a_request_whose_reader_counted_them() -> None:
    assert InferRequest(None, {"x": strings("ab", "c"), "n": np.zeros(1)}, (), 3).nbytes == 2 * 64 + 8 + 3


class Texts:
    """A model that gives three texts of as many characters as it is asked for."""

    def run(self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: list[TensorSpec]) -> "list[np.ndarray[Any, Any]]":
        return [strings(*["a" * int(feeds["n"][0])] * 3)]


class Noted(LargeJson):
    """Notes what the budget has while an answer is written aside, and by which thread it is."""

    def __init__(self, metrics: Metrics, budget: Budget) -> None:
        super().__init__(JsonProcess(SIGNATURE, "m", "1"), metrics, Limits(1, 1, 60), budget)
        self.budget = budget
        self.seen: list[tuple[int, bool]] = []

    async def aside(self, call: Call, write: Callable[[], Any]) -> Any:
        def noted() -> Any:
            self.seen.append((self.budget.used, threading.current_thread() is threading.main_thread()))
            return write()

        return await super().aside(call, noted)


@pytest.mark.parametrize("at_once", [False, True], ids=["run by a worker", "run at once"])
async def test_a_few_long_strings_are_written_aside_and_count_while_they_are_there(at_once: bool) -> None:
    settings = Settings.from_environment({"PODIUM_MODEL": "m"})
    metrics, budget = Metrics(settings), Budget(2**30)
    large = Noted(metrics, budget)
    engine = Engine(Texts(), metrics, Limits(1, 1, 60), budget)
    service = Service(settings, SIGNATURE, engine, metrics, large)

    async def texts(length: int) -> list[str]:
        request = Request(0.0)
        request.method, request.target = b"POST", b"/v2/models/m/infer"
        given = {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [length]}]}
        request.body = memoryview(json.dumps(given).encode())
        answer = service.handle(request)
        body = (answer if isinstance(answer, Response) else await answer).body
        await asyncio.sleep(0)
        found: list[str] = json.loads(body)["outputs"][0]["data"]
        return found

    if at_once:  # once it is known that runs are short
        assert await texts(10) == ["a" * 10] * 3
        assert large.seen == []
    assert await texts(LARGE) == ["a" * LARGE] * 3
    assert large.seen == [(8 + 3 * (64 + LARGE), False)]
    assert budget.used == 0
