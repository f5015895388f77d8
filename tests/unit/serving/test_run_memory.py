"""What a model's runs take is bounded, so that no request ends the pod, and goes back to the system after them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from podium_serving.arena import _ZEROS
from podium_serving.budget import Budget
from podium_serving.calls import Call
from podium_serving.engine import Engine
from podium_serving.inference import InferRequest, InferResult, NoMemory, Overloaded, RequestedOutput
from podium_serving.metrics import Metrics
from podium_serving.model import Model
from podium_serving.settings import Settings
from podium_serving.waiting import Limits
from tests.unit.serving.harness import Answer, Server, as_large_as_asked, model_bytes, serving, tensor, zeros
from tests.unit.serving.watched import wait_until

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


@pytest.fixture(scope="module")
def giving(folder: Path) -> Path:
    path = folder / "as-large-as-asked.onnx"
    path.write_bytes(as_large_as_asked())
    return path


def ask(server: Server, size: int) -> Answer:
    """For so many bytes of zeros."""
    return server.infer(zeros(size // 4))


def test_the_memory_of_a_large_batch_does_not_stay(folder: Path) -> None:
    path = folder / "convolutional.onnx"
    path.write_bytes(convolutional())
    with serving(path) as server:
        infer(server, 1)
        before = memory(server, "VmRSS")
        infer(server, ROWS)
        assert memory(server, "VmHWM") > before + BATCH_BYTES
        wait_until(lambda: memory(server, "VmRSS") < before + BATCH_BYTES / 2)


def test_a_run_that_wants_more_than_there_is_is_refused_and_the_server_goes_on(giving: Path) -> None:
    with serving(giving, PODIUM_RUN_MEMORY_BYTES=64 * MIB) as server:
        assert ask(server, MIB).status == 200
        before = memory(server, "VmHWM")
        refused = ask(server, 2048 * MIB)
        assert refused.status == 500
        assert "the memory does not suffice for this run; send fewer rows at once, or raise " in refused.json["error"]
        assert "spec.runtime.resources.limits.memory" in refused.json["error"]
        assert memory(server, "VmHWM") < before + 64 * MIB
        assert ask(server, MIB).status == 200


def test_runs_have_all_of_it_although_earlier_ones_have_left_it_in_pieces(giving: Path) -> None:
    model = Model(giving, 1, 64 * MIB)
    for size in (20, 24, 28, 32, 63):
        (made,) = model.run({"size": np.array([size * MIB // 4])}, [*model.signature.outputs])
        assert made.nbytes == size * MIB
        del made


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize("mib", [4, 16, 40], ids="{} MiB".format)
def test_weights_that_onnxruntime_has_packed_for_itself_leave_runs_what_they_may_have(
    folder: Path, operator: str, mib: int
) -> None:
    """Of 16 MiB, so that a bound is below, at and above them: beyond it there would be no bound at all."""
    path = folder / f"{operator}.onnx"
    weights = numpy_helper.from_array(np.ones((2048, 2048), dtype=np.float32), "weights")
    given, made = tensor("x", TensorProto.FLOAT, ["n", 2048]), tensor("y", TensorProto.FLOAT, ["n", 2048])
    path.write_bytes(model_bytes([helper.make_node(operator, ["x", "weights"], ["y"])], [given], [made], (weights,)))
    packed = Model(path, 1).packed
    assert packed > 15 * MIB
    model = Model(path, 1, mib * MIB + packed)

    def run(size: int) -> None:
        model.run({"x": np.ones((size // 8192, 2048), dtype=np.float32)}, [*model.signature.outputs])

    run((mib - 1) * MIB)
    with pytest.raises(NoMemory):
        run((mib + 1) * MIB)


async def test_who_might_have_had_enough_alone_is_told_to_come_again(giving: Path) -> None:
    settings = Settings.from_environment({"PODIUM_MODEL": "model"})
    metrics, budget, model = Metrics(settings), Budget(1024 * MIB), Model(giving, 1, 64 * MIB)
    engine = Engine(model, metrics, Limits(1, 1, 60), budget)

    async def submit(call: Call, size: int) -> InferResult:
        outputs = tuple(map(RequestedOutput, model.signature.outputs))
        result = engine.submit(call, InferRequest(None, {"size": np.array([size * MIB // 4])}, outputs))
        return result if isinstance(result, InferResult) else await result

    first = engine.begin()
    kept = await submit(first, 40)
    with pytest.raises(Overloaded, match="other runs and their results use up the memory"):
        await submit(engine.begin(), 40)
    assert 'reason="memory"} 1\n' in metrics.exposition(["podium_serving_requests_shed_total"]).decode()
    del kept
    first.answered(200, 0)
    with pytest.raises(NoMemory):
        await submit(engine.begin(), 80)
    assert (await submit(engine.begin(), 40)).nbytes == 40 * MIB


@pytest.mark.parametrize("seconds", [120, 0], ids=["probed", "not probed"])
def test_a_server_of_packed_weights_bounds_its_runs(folder: Path, seconds: int) -> None:
    """It multiplies a matrix of as many rows as it is asked for by one of 16 MiB, and gives their sum."""
    path = folder / "packed.onnx"
    weights = numpy_helper.from_array(np.ones((2048, 2048), dtype=np.float32), "weights")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
    ]
    given, made = tensor("shape", TensorProto.INT64, [2]), tensor("sum", TensorProto.FLOAT, [])
    path.write_bytes(model_bytes(nodes, [given], [made], (weights,)))

    def status(server: Server, size: int) -> int:
        tensor = {"name": "shape", "shape": [2], "datatype": "INT64", "data": [size * MIB // 8192, 2048]}
        return server.infer({"inputs": [tensor]}).status

    with serving(path, PODIUM_PROBE_SECONDS=seconds, PODIUM_RUN_MEMORY_BYTES=8 * MIB) as server:
        assert [status(server, size) for size in (3, 5, 3)] == [200, 500, 200]


def test_a_result_is_not_written_that_is_larger_than_the_memory_for_requests(giving: Path) -> None:
    with serving(giving, PODIUM_MEMORY_BYTES=8 * MIB) as server:
        refused = ask(server, 9 * MIB)
        assert refused.status == 413
        assert f"the result takes {9 * MIB} bytes, which exceeds {8 * MIB} bytes" in refused.json["error"]
        assert ask(server, 7 * MIB).status == 200


def test_what_the_model_takes_itself_is_left_out(folder: Path, giving: Path) -> None:
    weights = np.ones((16 * MIB,), dtype=np.float32)
    node = helper.make_node("Add", ["x", "weights"], ["y"])
    given, made = tensor("x", TensorProto.FLOAT, [1]), tensor("y", TensorProto.FLOAT, [weights.size])
    path = folder / "heavy.onnx"
    path.write_bytes(model_bytes([node], [given], [made], (numpy_helper.from_array(weights, "weights"),)))

    def told(model: Path, **variables: object) -> int:
        with serving(model, **variables) as server:
            line = next(line for line in server.lines if "model loaded" in line)
            return int(json.loads(line)["run_memory"])

    light = told(giving, PODIUM_PROBE_SECONDS=120)
    for seconds in (120, 0):  # as the probe has seen it, and as the server has
        heavy = told(path, PODIUM_PROBE_SECONDS=seconds)
        assert weights.nbytes / 4 < light - heavy < 2 * weights.nbytes


def test_the_arena_asks_for_as_many_zeros_as_it_says() -> None:
    model = onnx.load_model_from_string(_ZEROS)
    onnx.checker.check_model(model)
    (node,), (given,), (made,) = model.graph.node, model.graph.input, model.graph.output
    assert (node.op_type, [*node.input], [*node.output]) == ("ConstantOfShape", [given.name], [made.name])
    assert given.type.tensor_type.elem_type == TensorProto.INT64
    assert made.type.tensor_type.elem_type == TensorProto.FLOAT
