"""What fails inside the server: the client is told no more than that, the log has the traceback."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from podium_serving import logs
from podium_serving.budget import Budget
from podium_serving.engine import Engine
from podium_serving.http.head import MaxBody
from podium_serving.http.message import Request, Response
from podium_serving.http.reader import Reader
from podium_serving.inference import TooSlow
from podium_serving.json_process import JsonProcess
from podium_serving.large_json import LargeJson
from podium_serving.metrics import Metrics
from podium_serving.service import Service, _failed
from podium_serving.settings import Settings
from podium_serving.signature import Signature
from podium_serving.waiting import Limits
from tests.unit.serving.clock import Clock


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """The lines that the server's log has of what happens meanwhile; they are there afterwards."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    lines: list[dict[str, Any]] = []
    with contextlib.redirect_stdout(written):
        logs.configure("info", {"model": "model"})
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logs.LOG.setLevel(logging.NOTSET)
    lines += map(json.loads, written.getvalue().splitlines())


class Faulty:
    """A model with a fault of ours, which is none of onnxruntime's."""

    def run(self, *_: object) -> NoReturn:
        raise ZeroDivisionError("a fault of ours")


async def test_a_fault_of_the_server_is_a_500_without_details_and_a_traceback_in_the_log() -> None:
    settings, signature, limits = Settings.from_environment({"PODIUM_MODEL": "m"}), Signature((), ()), Limits(1, 1, 60)
    metrics = Metrics(settings)
    budget = Budget(2**20)
    engine = Engine(Faulty(), metrics, limits, budget)
    large = LargeJson(JsonProcess(signature, "m", "1"), metrics, limits, budget)
    request = Request(0.0)
    request.method, request.target, request.body = b"POST", b"/v2/models/m/infer", memoryview(b'{"inputs":[]}')

    with logged() as lines:
        answer = Service(settings, signature, engine, metrics, large).handle(request)
        response = answer if isinstance(answer, Response) else await answer

    assert response.status == 500
    assert json.loads(response.body) == {"error": "the server failed; its log says why"}
    (line,) = lines
    assert line["level"] == "error"
    assert line["message"] == "a request failed inside the server: a fault of ours"
    assert "in run\n" in line["exception"]
    assert line["exception"].endswith("ZeroDivisionError: a fault of ours")


def test_large_json_that_took_too_long_is_a_500_that_says_so_and_tells_the_way_out() -> None:
    answer = _failed(TooSlow("9 bytes were not read within 20 s"))
    assert answer.status == 500
    assert json.loads(answer.body)["error"] == (
        "large JSON took too long and was given up; send fewer rows at once, or raise the container's CPU limit: "
        "9 bytes were not read within 20 s"
    )


def test_a_fault_while_a_request_is_read_is_logged_likewise() -> None:
    delivered: list[Request] = []

    def deliver(request: Request) -> None:
        delivered.append(request)
        if len(delivered) == 1:
            raise ZeroDivisionError("a fault of ours")

    with logged() as lines:
        Reader(MaxBody(1000), Clock(), deliver, lambda: None).feed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")

    refusal = delivered[-1].refusal
    assert refusal is not None
    assert refusal.status == 500
    (line,) = lines
    assert "in deliver\n" in line["exception"]
    assert "ZeroDivisionError: a fault of ours" in line["exception"]
