"""Server and fetcher as real processes, and the small models that the tests serve."""

import http.client
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from onnx import TensorProto, helper

PATIENCE = 600.0
"""Seconds until a client gives up: 64 MB take 4 s alone, and far longer where other suites have the cores."""
SOURCE = Path(__file__).parents[3] / "serving-image" / "src"
JSON_TYPES = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environment(**variables: object) -> dict[str, str]:
    """What a pod would give and little else: no PODIUM_ or AWS_ variable of the host comes through."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"PYTHONPATH": str(SOURCE)} | {name: str(value) for name, value in variables.items()}


class Server:
    """`python -m podium_serving` on a free port."""

    def __init__(self, model: Path, prefix: tuple[str, ...] = (), **variables: object) -> None:
        self.termination = model.with_name(f"termination-{model.name}")
        self.termination.write_text("")
        settings = {
            "PODIUM_MODEL": "model",
            "PODIUM_MODEL_PATH": model,
            "PODIUM_HTTP_PORT": 0,
            "PODIUM_TERMINATION_LOG": self.termination,
            "PODIUM_DRAIN_QUIET_SECONDS": 0.2,
            "PODIUM_DRAIN_IDLE_SECONDS": 0.2,
        }
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "podium_serving"],
            env=environment(**settings | variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            try:
                self._events.put(json.loads(line))
            except ValueError:
                continue
        self._events.put(None)

    def wait_for(self, message: str) -> dict[str, Any]:
        """The next log line that says `message`."""
        while event := self._events.get(timeout=PATIENCE):
            if event["message"] == message:
                return event
        raise AssertionError(f"the server ended without saying {message!r}: {''.join(self.lines)}")

    def wait_until_ready(self) -> "Server":
        self.port = self.wait_for("ready")["port"]
        return self

    def wait(self) -> int:
        """The exit code."""
        code = self.process.wait(timeout=30)
        self._reader.join()
        return code

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def close(self) -> None:
        self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @contextmanager
    def connect(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        with self.connect() as connection:
            return ask(connection, method, path, body, headers)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def infer(self, body: object, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", "/v2/models/model/infer", data, headers)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())


@contextmanager
def serving(model: Path, **variables: object) -> Iterator[Server]:
    server = Server(model, **variables)
    try:
        yield server.wait_until_ready()
    finally:
        server.close()


class Fetched(NamedTuple):
    code: int
    message: dict[str, Any]
    output: str


# Root may read everything, a pod's user may not: a process without that right of root's.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


def fetch(folder: Path, uri: str, prefix: tuple[str, ...] = (), **variables: object) -> Fetched:
    """Runs `python -m podium_serving.fetch` to its end; the model goes to <folder>/models/model unless said."""
    process = start_fetch(folder, uri, prefix, **variables)
    output, _ = process.communicate(timeout=60)
    return Fetched(process.returncode, json.loads((folder / "termination").read_text()), output)


def start_fetch(folder: Path, uri: str, prefix: tuple[str, ...] = (), **variables: object) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    settings = {
        "PODIUM_MODEL_URI": uri,
        "PODIUM_MODEL_PATH": folder / "models" / "model",
        "PODIUM_TERMINATION_LOG": folder / "termination",
        "PODIUM_PVC_PATH": folder / "pvc",
        "PODIUM_FETCH_ATTEMPTS": 1,
    }
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "podium_serving.fetch"],
        env=environment(**settings | variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def tensor(name: str, onnx_type: int, shape: list[int | str] | None) -> Any:
    return helper.make_tensor_value_info(name, onnx_type, shape)


def model_bytes(nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: tuple[Any, ...] = ()) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def identity(types: Mapping[str, int], shape: list[int | str] | None) -> bytes:
    """For each name an input, and an output `<name>_out` that is equal to it."""
    return model_bytes(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
        [tensor(name, onnx_type, shape) for name, onnx_type in types.items()],
        [tensor(f"{name}_out", onnx_type, shape) for name, onnx_type in types.items()],
    )


def as_large_as_asked() -> bytes:
    """Gives as many zeros, of four bytes each, as the client asks for."""
    node = helper.make_node("ConstantOfShape", ["size"], ["y"])
    given, made = tensor("size", TensorProto.INT64, [1]), tensor("y", TensorProto.FLOAT, ["n"])
    return model_bytes([node], [given], [made])


def zeros(count: int) -> dict[str, Any]:
    """The request for so many to as_large_as_asked."""
    return {"inputs": [{"name": "size", "shape": [1], "datatype": "INT64", "data": [count]}]}


def slow() -> bytes:
    """Multiplies a 400 x 400 matrix by itself `times` times over: as long a run as the client asks for."""
    scalar = helper.make_tensor("scalar", TensorProto.INT64, [0], [])
    nodes = [helper.make_node("Reshape", ["times", "scalar"], ["trips"])]
    return _loop(400, tensor("times", TensorProto.INT64, [1]), nodes, scalar)


def slow_by_rows() -> bytes:
    """Multiplies a 128 x 128 matrix by itself once for each element of `x`: a single one takes no time."""
    return _loop(128, tensor("x", TensorProto.FLOAT, ["n"]), [helper.make_node("Size", ["x"], ["trips"])])


def slow_and_never_warm() -> bytes:
    """As slow(), of the sum of two `times`; zeros of shape [1], with which a server warms up, it cannot compute."""
    two = helper.make_tensor("two", TensorProto.INT64, [1], [2])
    nodes = [
        helper.make_node("Reshape", ["times", "two"], ["pair"]),
        helper.make_node("ReduceSum", ["pair"], ["trips"], keepdims=0),
    ]
    return _loop(400, tensor("times", TensorProto.INT64, ["n"]), nodes, two)


def _loop(size: int, given: Any, count: list[Any], *initializers: Any) -> bytes:
    """A model that multiplies matrices of that size as often as the nodes `count` make `trips` of its input."""
    shape: list[int | str] = [size, size]
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x_in", "x_in"], ["x_out"]), helper.make_node("Identity", ["go_in"], ["go_out"])],
        "body",
        [tensor("i", TensorProto.INT64, []), tensor("go_in", TensorProto.BOOL, []), tensor("x_in", 1, shape)],
        [tensor("go_out", TensorProto.BOOL, []), tensor("x_out", 1, shape)],
    )
    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, shape, [0.0] * size**2)
    go = helper.make_tensor("go", TensorProto.BOOL, [], [True])
    nodes = [
        *count,
        helper.make_node("Loop", ["trips", "go", "zeros"], ["result"], body=body),
        helper.make_node("ReduceSum", ["result"], ["sum"], keepdims=0),
    ]
    return model_bytes(nodes, [given], [tensor("sum", TensorProto.FLOAT, [])], (zeros, go, *initializers))
