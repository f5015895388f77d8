"""What one large batch takes goes back to the system: neither onnxruntime's arena nor the C library keeps it."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.unit.serving.harness import Server, model_bytes, serving, tensor

MIB = 2**20
CHANNELS, SIDE, ROWS = 8, 64, 160
ROW_BYTES = CHANNELS * SIDE * SIDE * 4  # of each tensor between two convolutions
BATCH_BYTES = ROWS * ROW_BYTES


def convolutional() -> bytes:
    """Spreads each element of `x` over an image, and folds that four times; the answer is one number a row."""
    weights = np.full((CHANNELS, CHANNELS, 3, 3), 0.01, dtype=np.float32)
    column = helper.make_tensor("column", TensorProto.INT64, [4], [-1, 1, 1, 1])
    image = helper.make_tensor("image", TensorProto.INT64, [4], [1, CHANNELS, SIDE, SIDE])
    nodes = [
        helper.make_node("Reshape", ["x", "column"], ["columns"]),
        helper.make_node("Expand", ["columns", "image"], ["layer0"]),
        *(helper.make_node("Conv", [f"layer{n}", "weights"], [f"layer{n + 1}"], pads=[1, 1, 1, 1]) for n in range(4)),
        helper.make_node("ReduceMax", ["layer4", "axes"], ["y"], keepdims=0),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    constants = (column, image, axes, numpy_helper.from_array(weights, "weights"))
    given, made = tensor("x", TensorProto.FLOAT, ["n"]), tensor("y", TensorProto.FLOAT, ["n"])
    return model_bytes(nodes, [given], [made], constants)


def memory(server: Server, what: str) -> int:
    """Bytes: VmRSS is what the server has now, VmHWM what it had at the most."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) * 1024


def infer(server: Server, rows: int) -> None:
    given = {"name": "x", "shape": [rows], "datatype": "FP32", "data": [1] * rows}
    assert server.infer({"inputs": [given]}).status == 200


def test_the_memory_of_a_large_batch_does_not_stay(folder: Path) -> None:
    path = folder / "convolutional.onnx"
    path.write_bytes(convolutional())
    with serving(path) as server:
        infer(server, 1)
        before = memory(server, "VmRSS")
        infer(server, ROWS)
        assert memory(server, "VmHWM") > before + BATCH_BYTES
        assert memory(server, "VmRSS") < before + BATCH_BYTES / 2
