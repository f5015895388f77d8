"""`make bench-serving`: the onnxruntime server beside other servers and beside a bare answer, in one run.

    PODIUM_BENCH_LOAD=5 python -m tests.bench.serving_peers

Every server runs on the first core and the client on the second; with one core they share it. Each serves the same
model with one thread. The peers are no dependencies of the project: each has a virtual environment of its own beside
the project's other caches, made when it is missing; one that cannot be made is left out by name.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import uvloop
from onnx import TensorProto, helper, numpy_helper

from tests.bench.bench_serving import INFER, SECONDS, Case, _free_port, cases, cpu_seconds, load, scrape
from tests.bench.peers import PEERS, Peer
from tests.bench.table import Row, percentile, show
from tests.unit.serving.harness import model_bytes, serving, tensor

CONNECTIONS = (1, 8, 32, 128)
CACHE = Path(os.environ.get("PODIUM_CACHE", Path.home() / ".cache" / "podium")) / "serving-peers"
START_SECONDS = 60


def interpreter(peer: Peer) -> str | None:
    """The Python of the peer's environment, made if it is missing; None if it cannot be."""
    if not peer.environment:
        return sys.executable
    folder = CACHE / peer.environment
    complete = folder / ".complete"
    if not complete.exists():
        venv.create(folder, with_pip=True, clear=True)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", *peer.packages]
        if subprocess.run(command, check=False).returncode != 0:
            return None
        complete.touch()
    return str(folder / "bin" / "python")


def convolutional(folder: Path) -> Case:
    """As large as a MobileNet: 13 pairs of depthwise and pointwise convolutions on 224 x 224."""
    random = np.random.default_rng(0)
    nodes, weights, size, previous = [], [], 3, "x"
    strides = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1]
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 1024, 1024]
    for index, (stride, width) in enumerate(zip(strides, widths, strict=True)):
        for name, shape, more in (
            (f"d{index}", (size, 1, 3, 3), {"pads": [1] * 4, "strides": [stride] * 2, "group": size}),
            (f"p{index}", (width, size, 1, 1), {}),
        ):
            weights.append(numpy_helper.from_array(random.standard_normal(shape).astype(np.float32) * 0.1, f"{name}_w"))
            nodes.append(helper.make_node("Conv", [previous, f"{name}_w"], [name], **more))
            nodes.append(helper.make_node("Relu", [name], [f"{name}_r"]))
            previous = f"{name}_r"
        size = width
    nodes += [helper.make_node("GlobalAveragePool", [previous], ["pool"]), helper.make_node("Flatten", ["pool"], ["y"])]
    path = folder / "convolutional.onnx"
    path.write_bytes(
        model_bytes(
            nodes,
            [tensor("x", TensorProto.FLOAT, ["n", 3, 224, 224])],
            [tensor("y", TensorProto.FLOAT, ["n", 1024])],
            tuple(weights),
        )
    )
    data = [round(float(value), 6) for value in random.random(3 * 224 * 224)]
    inputs = [{"name": "x", "shape": [1, 3, 224, 224], "datatype": "FP32", "data": data}]
    return Case("convolutions, 150,528 floats", path, json.dumps({"inputs": inputs}).encode())


@contextmanager
def running(peer: Peer, python: str, case: Case, folder: Path) -> Iterator[tuple[int, int]]:
    """Process and port of a peer that answers."""
    program = folder / "peer.py"
    program.write_text(peer.program)
    port = _free_port()
    process = subprocess.Popen([python, str(program), str(case.model), str(port)], start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port, case.body):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{peer.name} does not answer")
            time.sleep(0.1)
        yield process.pid, port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", INFER, body, {"content-type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def first_cores(count: int) -> Iterator[None]:
    """What is started within runs on the first `count` cores only."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def measured(name: str, process: int, port: int, case: Case) -> Iterator[Row]:
    """A row for each number of connections."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    try:
        for connections in CONNECTIONS:
            uvloop.run(load(port, case.body, connections, 0.5))
            before, started = _family_cpu(process), time.perf_counter()
            latencies = uvloop.run(load(port, case.body, connections, SECONDS))
            elapsed, used = time.perf_counter() - started, _family_cpu(process) - before
            half, most = percentile(latencies, 0.5) * 1e3, percentile(latencies, 0.99) * 1e3
            figure = f"{len(latencies) / elapsed:,.0f}/s, p50 {half:.2f} ms, p99 {most:.2f} ms, "
            yield Row(f"{case.name}, {connections} conn.: {name}", figure + f"{used / len(latencies) * 1e6:.0f} us CPU")
    finally:
        os.sched_setaffinity(0, cores)


def _family_cpu(process: int) -> float:
    """CPU seconds of a process and of what its threads started."""
    lists = [tasks.read_text().split() for tasks in Path(f"/proc/{process}/task").glob("*/children")]
    return cpu_seconds(process) + sum(_family_cpu(int(child)) for children in lists for child in children)


def figures() -> Iterator[Row]:
    """A scrape of ours; then ours and every peer, model by model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = cases(folder)
        yield scrape(found[0])
        for case in (*found, convolutional(folder)):
            try:
                with ExitStack() as stack:
                    with first_cores(1):
                        server = stack.enter_context(serving(case.model))
                    yield from measured("Podium", server.process.pid, server.port, case)
            except (AssertionError, OSError) as problem:
                yield Row(f"{case.name}: Podium", f"failed: {str(problem)[:100]}")
            for peer in PEERS:
                python = interpreter(peer)
                if python is None:
                    yield Row(f"{case.name}: {peer.name}", "not measured: its packages could not be installed")
                    continue
                try:
                    with ExitStack() as stack:
                        with first_cores(1):
                            process, port = stack.enter_context(running(peer, python, case, folder))
                        yield from measured(peer.name, process, port, case)
                except (RuntimeError, AssertionError, OSError) as problem:
                    # The others' figures are wanted all the same: they took long enough.
                    yield Row(f"{case.name}: {peer.name}", f"failed: {str(problem)[:100]}")


if __name__ == "__main__":
    table = list(figures())
    show(table)
    sys.exit(any(row.what.endswith(": Podium") and row.figure.startswith("failed") for row in table))
