"""What a model's runs take of memory and of CPU: without onnxruntime's arena, with its own, and with the server's.

    python -m tests.bench.bench_arena

Each model is loaded in each way by a process of its own, which runs one row, a large batch, and one row again, with one
thread. CPU is the thread's own, the least of several runs. Memory is what is resident: once it is loaded, and when the
result of the large batch is dropped; the server gives memory back once a second, which is waited for by calling it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from podium_serving import memory
from podium_serving.arena import Arena
from tests.bench.serving_peers import convolutional
from tests.bench.table import Row, show
from tests.cluster.cache import REPOSITORY
from tests.unit.serving.harness import model_bytes, tensor

MIB = 2**20
WAYS = ("without an arena", "with onnxruntime's own", "bounded, given back")
BOUND = 4096 * MIB
# Name -> the shape of one row, and how many rows a large batch has.
MODELS: dict[str, tuple[tuple[int, ...], int]] = {
    "convolutions": ((3, 224, 224), 32),
    "transformer": ((128, 256), 64),
    "matrix": ((1024,), 4096),
}


def _weights(name: str, *shape: int) -> Any:
    values = np.random.default_rng(0).standard_normal(shape) / shape[0] ** 0.5
    return numpy_helper.from_array(values.astype(np.float32), name)


def matrix(path: Path) -> None:
    """One product of a row with a matrix."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path.write_bytes(model_bytes([node], [_rows("x", 1024)], [_rows("y", 1024)], (_weights("w", 1024, 1024),)))


def transformer(path: Path) -> None:
    """Four layers of attention with one head, and what stands behind each, on 128 tokens of 256 numbers."""
    nodes, weights, last = [], [], "x"
    for layer in range(4):
        for name, shape in (
            ("q", (256, 256)),
            ("k", (256, 256)),
            ("v", (256, 256)),
            ("up", (256, 1024)),
            ("down", (1024, 256)),
        ):
            weights.append(_weights(f"{name}{layer}_w", *shape))

        def node(kind: str, given: list[str], made: str, layer: int = layer, **more: Any) -> str:
            nodes.append(helper.make_node(kind, given, [f"{made}{layer}"], **more))
            return f"{made}{layer}"

        q, k, v = (node("MatMul", [last, f"{each}{layer}_w"], each) for each in "qkv")
        scores = node("Softmax", [node("MatMul", [q, node("Transpose", [k], "kt", perm=[0, 2, 1])], "scores")], "share")
        attended = node("Add", [last, node("MatMul", [scores, v], "mixed")], "attended")
        up = node("Relu", [node("MatMul", [attended, f"up{layer}_w"], "up")], "relu")
        last = node("Add", [attended, node("MatMul", [up, f"down{layer}_w"], "down")], "out")
    path.write_bytes(model_bytes(nodes, [_rows("x", 128, 256)], [_rows(last, 128, 256)], tuple(weights)))


def _rows(name: str, *shape: int) -> Any:
    return tensor(name, TensorProto.FLOAT, ["n", *shape])


def write(name: str, folder: Path) -> Path:
    """The model's file."""
    if name == "convolutions":
        return convolutional(folder).model
    path = folder / f"{name}.onnx"
    {"matrix": matrix, "transformer": transformer}[name](path)
    return path


def run(way: str, name: str, path: str) -> dict[str, float]:
    """In a process of its own: MiB and milliseconds."""
    memory.return_what_is_freed()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    arena = Arena(BOUND) if way == WAYS[2] else None
    if arena is not None:
        arena.attach(options)
    options.enable_cpu_mem_arena = way != WAYS[0]
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = {"loaded": memory.resident() / MIB}
    shape, batch = MODELS[name]

    def least(rows: int, times: int) -> float:
        feeds, took = {"x": np.ones((rows, *shape), np.float32)}, []
        for _ in range(times):
            started = time.thread_time()
            session.run(None, feeds)
            took.append(time.thread_time() - started)
        return min(took) * 1e3

    found["row"] = least(1, 300)
    found["batch"] = least(batch, 5)
    if arena is not None:
        arena.give_back()
    found["after"] = memory.resident() / MIB
    found["row again"] = least(1, 300)
    return found


def figures() -> Iterator[Row]:
    """Model by model, way by way."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, batch) in MODELS.items():
            path = write(name, Path(folder))
            for way in WAYS:
                command = [sys.executable, "-m", "tests.bench.bench_arena", way, name, str(path)]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=REPOSITORY).stdout)
                size = f"{found['loaded']:.0f} -> {found['after']:.0f} MiB"
                row = min(found["row"], found["row again"])
                what = f"{name}: loaded -> after {batch} rows, one row, {batch} rows; {way}"
                yield Row(what, f"{size}, {row:.3f} ms, {found['batch']:.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(run(*sys.argv[1:])))
    else:
        show(list(figures()))
