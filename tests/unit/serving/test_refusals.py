"""What the client does wrong is a 400 with a sentence that names the input, what was expected and what was given."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.unit.serving.harness import (
    JSON_TYPES,
    Server,
    as_large_as_asked,
    identity,
    model_bytes,
    serving,
    tensor,
    zeros,
)


def x(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return {name: value for name, value in (given | changes).items() if value is not ...}


REFUSALS: list[tuple[object, str]] = [
    (b"", "the body is not valid JSON"),
    (b'{"inputs": [NaN]}', "the body is not valid JSON"),
    (b"\xff\xfe", "the body is not valid JSON"),
    ([], "the body must be a JSON object, given a list"),
    ({}, "inputs must be a list of objects, given null"),
    ({"inputs": [3]}, "inputs[0] must be an object, given a whole number"),
    ({"inputs": [x(name=...)]}, "inputs[0].name must be a string, given null"),
    ({"inputs": []}, "input 'x': missing; expected datatype FP32 and shape [-1, 2]"),
    ({"inputs": [x(), x(name="y")]}, "input 'y': the model has no such input; it takes 'x'"),
    ({"inputs": [x(), x()]}, "input 'x': given 2 times, expected once"),
    ({"inputs": [x(datatype="FP64")]}, "input 'x': expected datatype FP32, given 'FP64'"),
    ({"inputs": [x(datatype=...)]}, "input 'x': expected datatype FP32, given null"),
    ({"inputs": [x(shape=[2])]}, "input 'x': expected shape [-1, 2] (-1 is any size), given [2]"),
    ({"inputs": [x(shape=[1, 3])]}, "input 'x': expected shape [-1, 2] (-1 is any size), given [1, 3]"),
    ({"inputs": [x(shape=[-1, 2])]}, "input 'x': shape must be a list of whole numbers >= 0, given [-1, 2]"),
    ({"inputs": [x(shape=[True, 2])]}, "input 'x': shape must be a list of whole numbers >= 0, given [true, 2]"),
    ({"inputs": [x(shape="1,2")]}, "input 'x': shape must be a list of whole numbers >= 0, given '1,2'"),
    ({"inputs": [x(data=...)]}, "input 'x': data must be a list, given null"),
    ({"inputs": [x(data=7)]}, "input 'x': data must be a list, given a whole number"),
    ({"inputs": [x(data=[1])]}, "input 'x': shape [1, 2] has 2 elements, data has 1"),
    ({"inputs": [x(shape=[10**12, 2])]}, "input 'x': shape [1000000000000, 2] has 2000000000000 elements, data has 2"),
    ({"inputs": [x(data=[[1], [2]])]}, "input 'x': expected data nested as shape [1, 2], given a list of 2 at depth 0"),
    (
        {"inputs": [x(data=[[1, 2, 3]])]},
        "input 'x': expected data nested as shape [1, 2], given a list of 3 at depth 1",
    ),
    ({"inputs": [x(shape=[2, 2], data=[[1, 2], 3])]}, "input 'x': data is nested unevenly; expected shape [2, 2]"),
    ({"inputs": [x(data=[1, [2]])]}, "input 'x': element 1 is [2] (a list); FP32 takes numbers"),
    ({"inputs": [x(data=["1.5", 2])]}, "input 'x': element 0 is '1.5' (a string); FP32 takes numbers"),
    ({"inputs": [x(data=[1, True])]}, "input 'x': element 1 is true (a boolean); FP32 takes numbers"),
    (
        {"inputs": [x(data=[1, 1e39])]},
        "input 'x': element 1 is 1e+39 (a fraction); FP32 takes numbers within its range",
    ),
    ({"inputs": [x()], "outputs": [{"name": "z"}]}, "output 'z': the model has no such output; it gives 'x_out'"),
    ({"inputs": [x()], "outputs": [{"name": "x_out"}] * 2}, "output 'x_out': asked for 2 times, expected once"),
    ({"inputs": [x()], "outputs": 3}, "outputs must be a list of objects, given a whole number"),
    ({"inputs": [x()], "id": 7}, "id must be a string, given a whole number"),
    ({"inputs": [x()], "parameters": []}, "the request: parameters must be an object, given a list"),
    ({"inputs": [x(parameters=1)]}, "input 'x': parameters must be an object, given a whole number"),
    ({"inputs": [x(parameters={"binary_data_size": 8})]}, "'binary_data_size' belongs to the binary tensor extension"),
    (
        {"inputs": [x()], "parameters": {"binary_data_output": True}},
        "'binary_data_output' belongs to the binary tensor",
    ),
    (
        {"inputs": [x()], "outputs": [{"name": "x_out", "parameters": {"binary_data": True}}]},
        "belongs to the binary tensor",
    ),
    ({"inputs": [x()], "outputs": [{"name": "x_out", "parameters": {"classification": 3}}]}, "does not offer"),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSALS, ids=lambda value: str(value)[:60])
def test_a_wrong_request_is_told_what_is_wrong(echo: Server, body: object, sentence: str) -> None:
    answer = echo.infer(body)
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    assert sentence in answer.json["error"]


@pytest.mark.parametrize(
    ("datatype", "element", "sentence"),
    [
        ("INT8", 128, "element 1 is 128 (a whole number); INT8 takes whole numbers from -128 to 127"),
        ("INT64", 1.0, "element 1 is 1.0 (a fraction); INT64 takes whole numbers from"),
        ("INT64", None, "element 1 is null; INT64 takes whole numbers"),
        ("INT32", True, "element 1 is true (a boolean); INT32 takes whole numbers"),
        ("UINT64", -1, "element 1 is -1 (a whole number); UINT64 takes whole numbers from 0 to 18446744073709551615"),
        ("UINT8", "7", "element 1 is '7' (a string); UINT8 takes whole numbers from 0 to 255"),
        ("BOOL", 1, "element 1 is 1 (a whole number); BOOL takes true and false"),
        ("BYTES", 1, "element 1 is 1 (a whole number); BYTES takes strings"),
        ("BYTES", None, "element 1 is null; BYTES takes strings"),
        ("FP64", {}, "element 1 is {} (an object); FP64 takes numbers"),
    ],
)
def test_no_element_is_converted_to_the_datatype(
    all_types: Server, datatype: str, element: object, sentence: str
) -> None:
    good: dict[str, Any] = {"BOOL": False, "BYTES": "a"}
    inputs = [
        {"name": name, "shape": [1, 2], "datatype": name, "data": [good.get(name, 0)] * 2}
        for name in (each["name"] for each in all_types.get("/v2/models/model").json["inputs"])
    ]
    assert all_types.infer({"inputs": inputs}).status == 200
    for each in inputs:
        if each["name"] == datatype:
            each["data"] = [good.get(datatype, 0), element]
    answer = all_types.infer({"inputs": inputs})
    assert answer.status == 400
    assert f"input '{datatype}': {sentence}" in answer.json["error"]


@pytest.fixture(scope="module")
def any_shape(folder: Path) -> Iterator[Server]:
    """A server whose model takes an FP32 tensor `x` of any shape."""
    path = folder / "any-shape.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, None))
    with serving(path) as server:
        yield server


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ([0, 2**62], "input 'x': no tensor can have the shape [0, 4611686018427387904], not even an empty one"),
        ([0, 2**63], "input 'x': no tensor can have the shape [0, 9223372036854775808], not even an empty one"),
        ([2**31, 0, 2**31], "input 'x': no tensor can have the shape [2147483648, 0, 2147483648], not even an"),
        ([1] * 65, "input 'x': shape has 65 dimensions, 64 at most are possible"),
        ([2**64 - 1] * 90_000, "input 'x': shape has 90000 dimensions, 64 at most are possible"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_shape_that_no_tensor_can_have_is_refused(any_shape: Server, shape: list[int], sentence: str) -> None:
    answer = any_shape.infer({"inputs": [x(shape=shape, data=[] if 0 in shape else [1])]})
    assert answer.status == 400
    assert sentence in answer.json["error"]


def test_the_widest_shapes_that_a_tensor_can_have_are_taken(any_shape: Server) -> None:
    answer = any_shape.infer({"inputs": [x(shape=[0, 2**59], data=[])]})
    assert (answer.status, "holds no element" in answer.json["error"]) == (400, True)
    assert any_shape.infer({"inputs": [x(shape=[1] * 64, data=[1])]}).json["outputs"][0]["data"] == [1.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [1] * 600_000},
        {"shape": [-1] * 500_000},
        {"shape": "1" * 2_000_000},
        {"datatype": "FP32" * 500_000},
        {"name": "x" * 2_000_000},
        {"data": ["a" * 2_000_000, 1]},
        {"data": [{"a": [1] * 600_000}, 1]},
    ],
    ids=lambda changes: str(changes)[:20],
)
def test_what_an_error_repeats_of_a_request_is_short(echo: Server, changes: dict[str, Any]) -> None:
    answer = echo.infer({"inputs": [x(**changes)]})
    assert answer.status == 400
    assert len(answer.body) < 400


def test_binary_requests_are_refused_by_name(echo: Server) -> None:
    answer = echo.infer(b"{}\0\0\0\0", **{"Inference-Header-Content-Length": "2"})
    assert answer.status == 400
    assert "binary tensor extension" in answer.json["error"]


def _gather(folder: Path, name: str, size: int) -> Path:
    path = folder / name
    table = helper.make_tensor("table", TensorProto.FLOAT, [size], [0.5] * size)
    node = helper.make_node("Gather", ["table", "index"], ["y"])
    path.write_bytes(
        model_bytes([node], [tensor("index", TensorProto.INT64, ["n"])], [tensor("y", 1, ["n"])], (table,))
    )
    return path


def failures(server: Server) -> str:
    text = server.get("/metrics?name[]=podium_serving_inference_failures_total").body.decode()
    return text.rsplit(maxsplit=1)[1]


def test_what_the_model_fails_on_is_the_servers_fault_before_its_first_success_and_after(folder: Path) -> None:
    path = folder / "six.onnx"
    six = helper.make_tensor("six", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("Reshape", ["x", "six"], ["y"])
    path.write_bytes(model_bytes([node], [tensor("x", 1, ["n"])], [tensor("y", 1, [2, 3])], (six,)))
    wrong = {"inputs": [x(shape=[5], data=[0] * 5)]}
    with serving(path) as server:
        before = int(failures(server))
        first = server.infer(wrong)
        assert server.infer({"inputs": [x(shape=[6], data=[0] * 6)]}).status == 200
        second = server.infer(wrong)
        assert server.infer({"inputs": [x(shape=[6, 1], data=[0] * 6)]}).status == 400
        assert int(failures(server)) - before == 2
    for answer in (first, second):
        assert answer.status == 500
        assert answer.json["error"].startswith("the model failed on this input: ")
        assert answer.json["error"].endswith("Input shape:{5}, requested shape:{2,3}")
        assert "onnxruntime_src" not in answer.json["error"]
        assert "ReshapeHelper" not in answer.json["error"]


def test_an_index_out_of_bounds_is_found_by_the_model_and_not_by_validation(folder: Path) -> None:
    request = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}]}
    with serving(_gather(folder, "table.onnx", 3)) as server:
        answer = server.infer(request)
    assert answer.status == 500
    assert answer.json["error"].endswith("idx=99 must be within the inclusive range [-3,2]")


def test_want_of_memory_is_the_servers_fault_although_the_model_has_worked(folder: Path) -> None:
    path = folder / "as-large-as-asked.onnx"
    path.write_bytes(as_large_as_asked())
    with serving(path) as server:
        assert server.infer(zeros(1)).status == 200
        # More than a process can address, so that no machine has it.
        answer = server.infer(zeros(2**50))
        assert answer.status == 500
        assert "the memory does not suffice for this run; send fewer rows at once" in answer.json["error"]
        assert server.infer(zeros(2**62)).status == 500
    assert all(json.loads(line) for line in server.lines)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(field=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), value=json_values)
def test_no_input_whatever_makes_the_server_fail(echo: Server, field: str, value: object) -> None:
    answer = echo.infer(json.dumps({"inputs": [x(**{field: value})]}).encode())
    assert answer.status in (200, 400)
    assert answer.status == 200 or answer.json["error"]
