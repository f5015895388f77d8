"""ONNX's own backend suite (node cases) through codec and model: equal to bare onnxruntime, or refused with a reason.

What JSON cannot carry is no loss of the model's: infinities come as null, and so do NaNs.
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import pytest
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from podium_serving.datatypes import BY_NAME
from podium_serving.inference import InferResult, Misfit, RunError
from podium_serving.json_codec import JsonCodec
from podium_serving.model import Model
from podium_serving.model_file import ModelError
from podium_serving.signature import BadRequest

# What the suite came to with onnx 1.23 and onnxruntime 1.32: a change of either is looked at before it is written here.
EXPECTED = {
    "identical": 1557,
    "refused at load: ModelInvalid": 119,  # by onnxruntime itself: operators and datatypes that it has not
    "refused at load: ModelUnsupported": 174,  # BF16, sequences, optionals: no form in the protocol's JSON
    "refused: JSON has no infinity": 31,
    "refused: onnxruntime fails on it": 3,
}


def feeds_of(case: Any, given: list[Any]) -> dict[str, Any]:
    names = [each.name for each in case.model.graph.input]
    return {
        name: numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
        for name, value in zip(names, given, strict=False)
    }


def written(tensor: "np.ndarray[Any, Any]") -> list[Any]:
    if tensor.dtype.kind in "OUS":
        return [each.decode() if isinstance(each, bytes) else str(each) for each in tensor.flat]
    return [None if isinstance(each, float) and each != each else each for each in tensor.ravel().tolist()]


def asked(model: Model, feeds: dict[str, Any]) -> bytes:
    inputs = []
    for spec in model.signature.inputs:
        tensor = np.asarray(feeds[spec.name])
        if tensor.dtype.kind == "f" and np.isinf(tensor).any():
            raise BadRequest("JSON has no infinity")
        inputs.append(
            {
                "name": spec.name,
                "shape": list(tensor.shape),
                "datatype": spec.datatype.name,
                "data": written(tensor),
            }
        )
    return orjson.dumps({"inputs": inputs})


def same(output: dict[str, Any], expected: "np.ndarray[Any, Any]") -> bool:
    if output["shape"] != list(expected.shape):
        return False
    if expected.dtype.kind in "OUS":
        return bool(output["data"] == written(expected))
    finite = np.isfinite(expected.ravel()) if expected.dtype.kind == "f" else np.ones(expected.size, dtype=bool)
    if [value is None for value in output["data"]] != (~finite).tolist():
        return False
    values = [0 if value is None else value for value in output["data"]]
    given = np.array(values, dtype=BY_NAME[output["datatype"]].dtype)[finite]
    return bool(given.tobytes() == np.ascontiguousarray(expected).ravel()[finite].tobytes())


def verdict(path: Path, case: Any) -> str:
    """What became of the case: identical, different, or refused and why."""
    path.write_bytes(case.model.SerializeToString())
    try:
        model = Model(path, 1)
    except ModelError as problem:
        if problem.reason == "ModelInvalid":
            with pytest.raises(Exception, match="ONNXRuntimeError"):
                _bare(path)
        return f"refused at load: {problem.reason}"
    codec = JsonCodec(model.signature, "model", "1")
    bare = _bare(path)
    for given, _ in case.data_sets:
        feeds = feeds_of(case, given)
        try:
            request = codec.decode(memoryview(asked(model, feeds)))
            tensors = model.run(request.feeds, [each.spec for each in request.outputs])
            answer = orjson.loads(codec.encode(request, InferResult(tensors)))
        except BadRequest as problem:
            return f"refused: {problem}"
        except Misfit as problem:
            return "refused: an input without elements" if "no element" in str(problem) else f"refused: {problem}"
        except RunError:
            with pytest.raises(Exception, match="ONNXRuntimeError"):
                bare.run(None, request.feeds)
            return "refused: onnxruntime fails on it"
        names = [each.spec.name for each in request.outputs]
        expected = bare.run(names, request.feeds)
        if not all(same(output, tensor) for output, tensor in zip(answer["outputs"], expected, strict=True)):
            return "different"
    return "identical"


def _bare(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def test_every_node_case_is_identical_or_refused_with_a_reason(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite divides by zero on purpose
        cases = load_model_tests(kind="node")
    outcomes = {case.name: verdict(tmp_path / "model.onnx", case) for case in cases}
    assert [name for name, outcome in outcomes.items() if outcome == "different"] == []
    assert dict(Counter(outcomes.values())) == EXPECTED
