"""What serving costs: start to first answer, latency of one connection, CPU per request of one process.

    PODIUM_BENCH_LOAD=5 python -m tests.bench.bench_serving

Real server processes, real sockets, small real models, so many seconds of load per row; asserts nothing, for the
figures are the machine's. The load generator shares the machine with the server: throughput is lower than the server's
alone, CPU per request is the server's own.
"""

import asyncio
import http.client
import json
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import uvloop
from skl2onnx import to_onnx
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from tests.bench.table import Row, percentile, show, spread
from tests.unit.serving.harness import Server, serving

STARTS = 9
SECONDS = float(os.environ.get("PODIUM_BENCH_LOAD", "5"))
INFER = "/v2/models/model/infer"
COUNTERS = (
    "requests_total",
    "requests_started_total",
    "requests_abandoned_total",
    "requests_shed_total",
    "inference_failures_total",
    "request_duration_seconds",
)
SCRAPES = 3000


@dataclass(frozen=True)
class Case:
    """A model file and one request for it."""

    name: str
    model: Path
    body: bytes


def cases(folder: Path) -> list[Case]:
    """Logistic regression on iris; a perceptron on digits blown up to 28 x 28, with 784 floats a request."""
    features, species = load_iris(return_X_y=True)
    iris = LogisticRegression(max_iter=1000).fit(features, species)
    digits, labels = load_digits(return_X_y=True)
    images = np.kron(digits.reshape(-1, 8, 8) / 16, np.ones((4, 4)))[:, 2:30, 2:30].reshape(-1, 784)
    perceptron = MLPClassifier((64,), max_iter=15, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to take its time
        perceptron.fit(images, labels)
    rows = {"iris, 4 floats": (iris, features[:1]), "digits, 784 floats": (perceptron, images[:1] + 0.123456789)}
    found = []
    for name, (estimator, row) in rows.items():
        row = row.astype(np.float32)
        path = folder / f"{name.split(',')[0]}.onnx"
        path.write_bytes(to_onnx(estimator, row, options={"zipmap": False}).SerializeToString())
        data = [float(str(value)) for value in row[0]]
        tensor = {"name": "X", "shape": list(row.shape), "datatype": "FP32", "data": data}
        found.append(Case(name, path, json.dumps({"inputs": [tensor]}).encode()))
    return found


def start_to_first_answer(case: Case) -> float:
    """Seconds from the start of the process to its first inference answered, polled every 2 ms."""
    port = _free_port()
    started = time.monotonic()
    server = Server(case.model, PODIUM_HTTP_PORT=port)
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            try:
                connection.request("POST", INFER, case.body)
                assert connection.getresponse().status == 200
                return time.monotonic() - started
            except ConnectionRefusedError:
                time.sleep(0.002)
            finally:
                connection.close()
    finally:
        server.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Client(asyncio.Protocol):
    """Sends the same request again as soon as it is answered, and notes the latencies.

    Where an answer ends the connection, as the server's do after some seconds, it goes on with a new one.
    """

    def __init__(self, host: str, port: int, request: bytes, until: float, done: "asyncio.Future[None]") -> None:
        self.host, self.port, self.request, self.until, self.done = host, port, request, until, done
        self.ends = False
        self.latencies: list[float] = []
        self.received = b""
        self.expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ends and not self.done.done():
            self.ends = False
            self.connecting = asyncio.ensure_future(self.connect())
        elif not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server ended the connection"))

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, self.host, self.port)

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.expected:
            head = self.received.find(b"\r\n\r\n")
            if head < 0:
                return
            assert self.received.startswith(b"HTTP/1.1 200 "), self.received
            length = self.received.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]
            self.expected = head + 4 + int(length)
            self.ends = b"\r\nconnection: close" in self.received[:head].lower()
        if len(self.received) < self.expected:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        self.received, self.expected = b"", 0
        if now < self.until and self.ends:
            self.transport.close()
        elif now < self.until:
            self.send()
        else:
            self.transport.close()
            self.done.set_result(None)


async def load(port: int, body: bytes, connections: int, seconds: float, *, host: str = "127.0.0.1") -> list[float]:
    """Latencies in seconds of closed-loop clients on that many connections."""
    loop = asyncio.get_running_loop()
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    until = time.perf_counter() + seconds
    clients = []
    waiting = []
    for _ in range(connections):
        done = loop.create_future()
        factory: Callable[[], _Client] = lambda done=done: _Client(host, port, request, until, done)  # type: ignore[misc] # noqa: E731
        _, client = await loop.create_connection(factory, host, port)
        clients.append(client)
        waiting.append(done)
    await asyncio.gather(*waiting)
    return [latency for client in clients for latency in client.latencies]


def measure(case: Case, connections: int) -> Row:
    """The server under load from closed-loop clients."""
    with serving(case.model) as server:
        uvloop.run(load(server.port, case.body, connections, 0.5))
        before, started = cpu_seconds(server.process.pid), time.perf_counter()
        latencies = uvloop.run(load(server.port, case.body, connections, SECONDS))
        elapsed, used = time.perf_counter() - started, cpu_seconds(server.process.pid) - before
    count = len(latencies)
    half, most = percentile(latencies, 0.5), percentile(latencies, 0.99)
    return Row(
        f"infer {case.name}, {connections} connection{'s' * (connections > 1)}",
        f"p50 {half * 1e3:.2f} ms, p99 {most * 1e3:.2f} ms, {used / count * 1e6:.0f} us CPU each, "
        f"{count / elapsed:,.0f}/s",
    )


def scrape(case: Case) -> Row:
    """The counters that a rollout needs, of a server that has answered something."""
    with serving(case.model) as server, server.connect() as connection:
        server.infer(case.body)
        query = "&".join(f"name[]=podium_serving_{name}" for name in COUNTERS)
        size = 0
        before = cpu_seconds(server.process.pid)
        for _ in range(SCRAPES):
            connection.request("GET", f"/metrics?{query}")
            response = connection.getresponse()
            assert response.status == 200
            size = len(response.read())
        used = (cpu_seconds(server.process.pid) - before) / SCRAPES
    figure = f"{used * 1e3:.2f} ms CPU each, {size:,} bytes"
    return Row(f"scrape of the {len(COUNTERS)} counters of a rollout", figure, "under 0.3 ms")


def figures() -> list[Row]:
    """Starts, then load, then scrapes."""
    with tempfile.TemporaryDirectory() as folder:
        found = cases(Path(folder))
        starts = [
            Row(
                f"server start to first answer, {case.name}",
                spread([start_to_first_answer(case) for _ in range(STARTS)]),
                "under 1 s",
            )
            for case in found
        ]
        loads = [measure(case, connections) for case in found for connections in (1, 32)]
        return [*starts, *loads, scrape(found[0])]


if __name__ == "__main__":
    show(figures())
