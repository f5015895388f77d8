"""A running server while tests look at it: requests on their way, its counts, and its processes."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.unit.serving.harness import Answer, Server

INFER = "/v2/models/model/infer"


class InBackground(threading.Thread):
    """A request that is answered while the test goes on."""

    def __init__(self, server: Server, body: bytes) -> None:
        super().__init__()
        self._server, self._body = server, body
        self.answer: Answer | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._server.request("POST", INFER, self._body)
        except Exception as problem:
            self.answer = problem


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true within 20 s"
        time.sleep(0.005)


def value(server: Server, name: str, labels: str = "") -> float:
    """The first of a metric's series that has these labels."""
    for line in server.get(f"/metrics?name[]={name}").body.decode().splitlines():
        if line.startswith(f"{name}{{") and labels in line:
            return float(line.split()[-1])
    raise AssertionError(f"{name} is not there")


def in_flight(server: Server) -> float:
    """Inference requests that are not answered yet."""
    return value(server, "podium_serving_requests_in_flight")


def children(server: Server) -> list[int]:
    """Processes that the server has started."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
