"""How long the onnxruntime server's event loop is held while it has large JSON to read and to write.

    python -m tests.bench.bench_loop

Every millisecond the loop is asked for a turn. The CPU time of its thread between two turns is what the server itself
did; how late a turn comes is that, the interpreter's lock and whatever else the machine does (the first row is of a
server that does nothing). The client is a process of its own.
"""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.bench_serving import INFER, _free_port
from tests.bench.table import Row, show
from tests.unit.serving.harness import JSON_TYPES, environment, identity

SIZES = (0.25, 1, 2, 20, 60)  # MB
REST_SECONDS = 5.0
AIM = "20 ms up to 2 MB"

WATCHED = """
import asyncio, json, signal, sys, time
import podium_serving.__main__ as program, podium_serving.server as server
tick, turns = server._tick, []

async def watch():
    while True:
        due, used = time.perf_counter() + 0.001, time.thread_time()
        await asyncio.sleep(0.001)
        turns.append((time.thread_time() - used, time.perf_counter() - due))

def tell():
    print(json.dumps({"message": "turns", "turns": turns}), flush=True)
    turns.clear()

async def ticking(context):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    watching = asyncio.ensure_future(watch())
    print(json.dumps({"message": "watched"}), flush=True)
    await tick(context)

server._tick = ticking
sys.exit(program.main())
"""

CLIENT = """
import http.client, sys
body = open(sys.argv[2], "rb").read()
for _ in range(int(sys.argv[3])):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=120)
    connection.request("POST", "%s", body)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    response.read()
    connection.close()
"""


class Watched:
    """A server that tells of its loop's turns."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.port = port
        self._process = process
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        while self._said.get(timeout=60)["message"] != "watched":
            pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))

    def turns(self) -> list[tuple[float, float]]:
        """CPU seconds and lateness of each turn since the last call."""
        self._process.send_signal(signal.SIGUSR1)
        while "turns" not in (told := self._said.get(timeout=60)):
            pass
        return [(used, late) for used, late in told["turns"]]


@contextmanager
def watched(model: Path) -> Iterator[Watched]:
    """One that serves the model, without a bound of its memory in the way."""
    port = _free_port()
    settings = {
        "PODIUM_MODEL": "model",
        "PODIUM_MODEL_PATH": model,
        "PODIUM_HTTP_PORT": port,
        "PODIUM_MEMORY_BYTES": 2**31,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED], env=environment(**settings), stdout=subprocess.PIPE, text=True
    )
    try:
        yield Watched(process, port)
    finally:
        process.kill()
        process.communicate()


def body(size: float, nested: bool) -> bytes:
    """A request of about so many megabytes, which its answer is as well."""
    count = int(size * 1e6 / (26 if nested else 24))
    row = "[0.123456789,0.987654321]" if nested else "0.123456789,0.987654321"
    head = f'{{"inputs":[{{"name":"x","shape":[{count},2],"datatype":"FP32","data":['
    return f"{head}{','.join([row] * count)}]}}]}}".encode()


def told(what: str, turns: list[tuple[float, float]]) -> Row:
    """The longest hold of all."""
    used, late = max(turn[0] for turn in turns), sorted(turn[1] for turn in turns)
    ninety_nine = late[int(0.99 * (len(late) - 1))]
    figure = f"held {used * 1e3:.1f} ms at the most (CPU); turns late by {late[-1] * 1e3:.1f} ms at the most, "
    return Row(f"event loop, {what}", f"{figure}p99 {ninety_nine * 1e3:.1f} ms", AIM)


def figures() -> Iterator[Row]:
    """At rest, then size by size."""
    with tempfile.TemporaryDirectory() as name:
        path, file = Path(name) / "echo.onnx", Path(name) / "body"
        path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
        with watched(path) as server:
            threading.Event().wait(REST_SECONDS)
            yield told("at rest", server.turns())
            for size in SIZES:
                for nested in (False, True):
                    file.write_bytes(body(size, nested))
                    times = "3" if size > 2 else "20"
                    command = [sys.executable, "-c", CLIENT % INFER, str(server.port), str(file), times]
                    subprocess.run(command, check=True)
                    yield told(f"{size:g} MB{' nested' * nested} in JSON, and as much back", server.turns())


if __name__ == "__main__":
    show(list(figures()))
