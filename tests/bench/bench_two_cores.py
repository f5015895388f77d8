"""What a second core brings the onnxruntime server, beside what it brings bare onnxruntime, in one run.

    PODIUM_BENCH_LOAD=5 python -m tests.bench.bench_two_cores

Two models of about 2 ms: one below 1 MiB, to which the server gives one thread of onnxruntime's, and one above, to
which it gives one for each core. Each is served by a process that may use the first core only, and by one that may use
the first two; and so it is by onnxruntime behind a bare answer: no JSON, no checks, runs by one thread for each core.
All four stay up and take turns, so that what else the machine does meets them alike. The ratio is of the best rounds,
which that has met least; the median of all is beside it.

The client needs a core too. With one core the server has it to itself, since the client runs on the second; with two
the client takes its share of them. On a machine of two cores the ratio is therefore below 2 whatever the server does:
the bare answer's is what can be had, with the same client beside it.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import uvloop
from onnx import TensorProto, helper, numpy_helper

from tests.bench.bench_serving import SECONDS, Case, load
from tests.bench.peers import BARE_HTTP, Peer
from tests.bench.serving_peers import first_cores, running
from tests.bench.table import Row, show
from tests.unit.serving.harness import model_bytes, serving, tensor

CONNECTIONS = 8
ROUNDS = 20
ROUND_SECONDS = SECONDS / 10
RUN_SECONDS = 0.002
AIM = 1.8
BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'

BARE_PROGRAM = (
    BARE_HTTP
    + """
import os
from concurrent.futures import ThreadPoolExecutor
import numpy, onnxruntime

threads = len(os.sched_getaffinity(0))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {"x": numpy.ones((1, 4), "float32")}
workers = ThreadPoolExecutor(threads)
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}"

class Bare(BareHTTP):
    def asked(self):
        if threads == 1:
            session.run(None, feeds)
            self.transport.write(ANSWER)
        else:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(workers, session.run, None, feeds).add_done_callback(self.ran)
    def ran(self, done):
        self.transport.write(ANSWER)

uvloop.run(serve(Bare))
"""
)
BARE = Peer("bare onnxruntime", "", BARE_PROGRAM, ())


@dataclass(frozen=True)
class Kind:
    """A model that multiplies that many rows by one square matrix of that width, over and over."""

    name: str
    width: int
    rows: int


KINDS = (Kind("64 KiB", 128, 64), Kind("4 MiB", 1024, 16))


def write(kind: Kind, path: Path, times: int) -> None:
    """The model, of four numbers in and one out: what is measured is the run, not its JSON."""
    random = np.random.default_rng(0)
    into, square = (
        numpy_helper.from_array((random.standard_normal((size, kind.width)) / size**0.5).astype(np.float32), name)
        for name, size in (("into", 4), ("square", kind.width))
    )
    shape = numpy_helper.from_array(np.array([kind.rows, kind.width]), "shape")
    nodes = [helper.make_node("MatMul", ["x", "into"], ["row"]), helper.make_node("Expand", ["row", "shape"], ["x0"])]
    nodes += [helper.make_node("MatMul", [f"x{index}", "square"], [f"x{index + 1}"]) for index in range(times)]
    nodes.append(helper.make_node("ReduceSum", [f"x{times}"], ["y"], keepdims=0))
    given, answer = tensor("x", TensorProto.FLOAT, [1, 4]), tensor("y", TensorProto.FLOAT, [])
    path.write_bytes(model_bytes(nodes, [given], [answer], (into, square, shape)))


def run_seconds(path: Path) -> float:
    """Of one run by one thread: the least of many, for others interrupt most."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.ones((1, 4), np.float32)}
    took = []
    for _ in range(50):
        started = time.perf_counter()
        session.run(None, feeds)
        took.append(time.perf_counter() - started)
    return min(took)


def model(kind: Kind, folder: Path) -> Path:
    """A file of the kind that one thread runs in about RUN_SECONDS on this machine."""
    path, times = folder / f"{kind.width}.onnx", 4
    for _ in range(3):  # a short run says little of a long one
        write(kind, path, times)
        times = max(1, round(times * RUN_SECONDS / run_seconds(path)))
    write(kind, path, times)
    return path


def throughput(port: int, cores: int) -> float:
    """Answers a second of a server on the first `cores` cores, to clients on the others or, without any, on all."""
    every = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, every[cores:] or every)
    try:
        started = time.perf_counter()
        latencies = uvloop.run(load(port, BODY, CONNECTIONS, ROUND_SECONDS))
        return len(latencies) / (time.perf_counter() - started)
    finally:
        os.sched_setaffinity(0, every)


def measured(kind: Kind, folder: Path) -> Iterator[Row]:
    """The server and the bare answer, each on one core and on two."""
    path = model(kind, folder)
    case = Case(kind.name, path, BODY)
    with ExitStack() as stack:
        ports = {}
        for cores in (1, 2):
            with first_cores(cores):
                _, ports["bare onnxruntime", cores] = stack.enter_context(running(BARE, sys.executable, case, folder))
                ports["Podium", cores] = stack.enter_context(serving(path)).port
        for (_, cores), port in ports.items():
            throughput(port, cores)
        rounds = [{key: throughput(port, key[1]) for key, port in ports.items()} for _ in range(ROUNDS)]
    took = f"{run_seconds(path) * 1e3:.1f} ms"
    for name, aim in (("bare onnxruntime", ""), ("Podium", f"{AIM} times")):
        one, two = (max(each[name, cores] for each in rounds) for cores in (1, 2))
        middle = statistics.median(each[name, 2] / each[name, 1] for each in rounds)
        figure = f"{two / one:.2f} times one core (median of {ROUNDS} rounds {middle:.2f}), "
        yield Row(f"model of {kind.name}, {took}, two cores: {name}", figure + f"{one:,.0f}/s and {two:,.0f}/s", aim)


def figures() -> Iterator[Row]:
    """Model by model."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            yield from measured(kind, Path(folder))


if __name__ == "__main__":
    show(list(figures()))
