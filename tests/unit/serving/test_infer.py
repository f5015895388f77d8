"""Inference over REST with JSON tensors, as the Open Inference Protocol v2 has it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.unit.serving.harness import JSON_TYPES, Server, identity, model_bytes, serving, tensor

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, False, True],
    "INT8": [-128, 127, 0, -1],
    "INT16": [-(2**15), 2**15 - 1, 0, -1],
    "INT32": [-(2**31), 2**31 - 1, 0, -1],
    "INT64": [-(2**63), 2**63 - 1, 2**53 + 1, -1],
    "UINT8": [0, 255, 1, 2],
    "UINT16": [0, 2**16 - 1, 1, 2],
    "UINT32": [0, 2**32 - 1, 1, 2],
    "UINT64": [0, 2**64 - 1, 2**63 + 1, 2],
    "FP16": [0.5, -1.25, 65504, -0.0625],
    "FP32": [0.5, -1.25, 3, 1e30],
    "FP64": [0.1, -1e300, 3, 2.0**-1074],
    "BYTES": ["", "straße", "null", 'a "quoted"\n'],
}


def request_of_all(**changes: Any) -> dict[str, Any]:
    inputs = [{"name": name, "shape": [2, 2], "datatype": name, "data": data} for name, data in VALUES.items()]
    return {"inputs": [each | {"data": changes.get(each["name"], each["data"])} for each in inputs]}


def only(data: list[Any], shape: list[int], **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}], **more}


def test_every_datatype_of_json_comes_back_exactly(all_types: Server) -> None:
    answer = all_types.infer(request_of_all())
    assert answer.status == 200
    given = {each["name"]: each for each in answer.json["outputs"]}
    for name, data in VALUES.items():
        assert given[f"{name}_out"] == {"name": f"{name}_out", "shape": [2, 2], "datatype": name, "data": data}


def test_nested_data_means_the_same_as_flat_data(all_types: Server) -> None:
    nested = request_of_all(**{name: [data[:2], data[2:]] for name, data in VALUES.items()})
    assert all_types.infer(nested).json == all_types.infer(request_of_all()).json


def test_id_model_version_and_revision_are_in_the_answer(echo: Server) -> None:
    answer = echo.infer(only([1, 2], [1, 2], id="order 66", parameters={"priority": 3}))
    assert answer.json == {
        "model_name": "model",
        "model_version": "7",
        "id": "order 66",
        "outputs": [{"name": "x_out", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}],
    }
    assert answer.headers["x-podium-revision"] == "model-b57wq4c9d2"
    assert answer.headers["content-type"] == "application/json"


def test_an_answer_without_a_request_id_has_none(echo: Server) -> None:
    assert "id" not in echo.infer(only([1, 2], [1, 2])).json


def test_the_version_can_be_named_in_the_path(echo: Server) -> None:
    body = json.dumps(only([1, 2], [1, 2])).encode()
    assert echo.request("POST", "/v2/models/model/versions/7/infer", body).status == 200
    assert echo.request("POST", "/v2/models/model/versions/8/infer", body).json == {
        "error": "version '8' of model 'model' is not served here; this server has '7'"
    }


def test_model_and_version_may_have_any_printable_name(folder: Path) -> None:
    path = folder / "named.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    model, version = "crédit", 'Größe 1/2 "v\\2" 🎯'
    url = f"/v2/models/{quote(model)}/versions/{quote(version, safe='')}"
    body = json.dumps(only([1, 2], [1, 2])).encode()
    with serving(path, PODIUM_MODEL=model, PODIUM_MODEL_VERSION=version) as server:
        answer = server.request("POST", f"{url}/infer", body)
        assert (answer.json["model_name"], answer.json["model_version"]) == (model, version)
        assert server.request("POST", f"{url}/infer?a=b", body).status == 200
        assert server.get(url).json["versions"] == [version]
        metrics = server.get("/metrics")
        line = next(each for each in server.lines if "model loaded" in each)
    assert metrics.headers["content-type"].endswith("charset=utf-8")
    families = {each.name: each for each in text_string_to_metric_families(metrics.body.decode())}
    sample = next(each for each in families["podium_serving_requests"].samples if each.labels["code"] == "200")
    assert (sample.labels["model"], sample.labels["version"], sample.value) == (model, version, 2)
    assert json.loads(line)["version"] == version


def test_outputs_are_selected_and_ordered_by_the_request(all_types: Server) -> None:
    answer = all_types.infer(request_of_all() | {"outputs": [{"name": "INT8_out"}, {"name": "BYTES_out"}]})
    assert [each["name"] for each in answer.json["outputs"]] == ["INT8_out", "BYTES_out"]


def test_a_batch_may_be_empty(echo: Server) -> None:
    outputs = echo.infer(only([], [0, 2])).json["outputs"]
    assert outputs == [{"name": "x_out", "shape": [0, 2], "datatype": "FP32", "data": []}]


@pytest.mark.parametrize("declared", [[], None], ids=["scalar", "no shape"])
def test_a_scalar_and_an_input_without_a_shape_take_any_shape(folder: Path, declared: list[int | str] | None) -> None:
    path = folder / f"shape-{declared}.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, declared))
    with serving(path) as server:
        assert server.get("/v2/models/model").json["inputs"] == [{"name": "x", "datatype": "FP32", "shape": []}]
        for shape, data in (([], [1.5]), ([2], [1.0, 2.0])):
            output = server.infer(only(data, shape)).json["outputs"][0]
            assert (output["shape"], output["data"]) == (shape, data)


def test_null_is_nan_in_and_what_json_cannot_say_is_null_and_counted_out(folder: Path) -> None:
    path = folder / "log.onnx"
    node = helper.make_node("Log", ["x"], ["y"])
    path.write_bytes(model_bytes([node], [tensor("x", 1, ["n", 2])], [tensor("y", 1, ["n", 2])]))
    with serving(path) as server:
        output = server.infer(only([1, 0, -1, None], [2, 2])).json["outputs"][0]
    # ln 1 = 0, ln 0 = -inf, ln -1 = NaN, ln NaN = NaN
    assert output["data"] == [0.0, None, None, None]
    assert output["parameters"] == {"non_finite": 3}


def test_a_scikit_learn_classifier_answers_as_it_did_in_python(folder: Path) -> None:
    features, species = load_iris(return_X_y=True)
    features = features.astype(np.float32)
    classifier = LogisticRegression(max_iter=1000).fit(features, species)
    path = folder / "iris.onnx"
    path.write_bytes(to_onnx(classifier, features[:1], options={"zipmap": False}).SerializeToString())
    with serving(path) as server:
        request = {"inputs": [{"name": "X", "shape": [150, 4], "datatype": "FP32", "data": features.tolist()}]}
        label, probabilities = server.infer(request).json["outputs"]
    assert label["data"] == classifier.predict(features).tolist()
    assert np.allclose(np.array(probabilities["data"]).reshape(150, 3), classifier.predict_proba(features), atol=1e-5)


@pytest.mark.parametrize("names", [None, ["setosa", "versicolor", "virginica"]])
def test_a_default_export_of_scikit_learn_is_served_with_its_probabilities(
    folder: Path, names: list[str] | None
) -> None:
    features, species = load_iris(return_X_y=True)
    features = features.astype(np.float32)
    classifier = LogisticRegression(max_iter=1000).fit(features, np.array(names)[species] if names else species)
    path = folder / f"zipmap-{bool(names)}.onnx"
    path.write_bytes(to_onnx(classifier, features[:1]).SerializeToString())
    assert b"ZipMap" in path.read_bytes()
    with serving(path) as server:
        outputs = server.get("/v2/models/model").json["outputs"]
        assert [(each["name"], each["datatype"]) for each in outputs] == [
            ("output_label", "BYTES" if names else "INT64"), ("output_probability", "FP32"),
        ]  # fmt: skip
        request = {"inputs": [{"name": "X", "shape": [150, 4], "datatype": "FP32", "data": features.tolist()}]}
        label, probabilities = server.infer(request).json["outputs"]
    assert label["data"] == classifier.predict(features).tolist()
    assert probabilities["shape"] == [150, 3]
    assert np.allclose(np.array(probabilities["data"]).reshape(150, 3), classifier.predict_proba(features), atol=1e-5)


def test_outputs_that_are_no_tensors_are_left_out_and_the_log_says_so(folder: Path) -> None:
    x, parts = tensor("x", TensorProto.FLOAT, [2]), helper.make_tensor_sequence_value_info("parts", 1, None)
    nodes = [helper.make_node("SplitToSequence", ["x"], ["parts"]), helper.make_node("Identity", ["x"], ["y"])]
    path = folder / "sequence.onnx"
    path.write_bytes(model_bytes(nodes, [x], [parts, tensor("y", TensorProto.FLOAT, [2])]))
    with serving(path) as server:
        assert [each["name"] for each in server.get("/v2/models/model").json["outputs"]] == ["y"]
        assert any("parts" in line and "left_out_outputs" in line for line in server.lines)


def test_a_folder_with_external_data_is_served(folder: Path) -> None:
    model_folder = folder / "external" / "deep"
    model_folder.mkdir(parents=True)
    weights = numpy_helper.from_array(np.full((1, 2), 3, dtype=np.float32), "weights")
    raw = model_bytes(
        [helper.make_node("Mul", ["x", "weights"], ["y"])],
        [tensor("x", 1, ["n", 2])],
        [tensor("y", 1, ["n", 2])],
        (weights,),
    )
    onnx.save_model(
        onnx.load_from_string(raw),
        str(model_folder / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert (model_folder / "weights.bin").stat().st_size > 0
    with serving(folder / "external") as server:
        assert server.infer(only([1, 2], [1, 2])).json["outputs"][0]["data"] == [3.0, 6.0]


def test_an_output_of_bfloat16_is_refused_in_json_by_naming_the_binary_extension(folder: Path) -> None:
    cast, onnx_type = folder / "BF16-out.onnx", TensorProto.BFLOAT16
    cast.write_bytes(
        model_bytes(
            [helper.make_node("Cast", ["x"], ["half"], to=onnx_type), helper.make_node("Identity", ["x"], ["y"])],
            [tensor("x", 1, [1])],
            [tensor("half", onnx_type, [1]), tensor("y", 1, [1])],
        )
    )
    full = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    with serving(cast) as server:
        answer = server.infer({"inputs": [full]})
        assert answer.status == 400
        assert "output 'half': BF16 has no form in JSON" in answer.json["error"]
        assert server.infer({"inputs": [full], "outputs": [{"name": "y"}]}).json["outputs"][0]["data"] == [1.0]


def test_metadata_of_server_and_model(echo: Server) -> None:
    assert echo.get("/v2").json == echo.get("/v2/").json
    assert set(echo.get("/v2").json) == {"name", "version", "extensions"}
    expected = {
        "name": "model",
        "versions": ["7"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "x_out", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert echo.get("/v2/models/model").json == expected
    assert echo.get("/v2/models/model/versions/7").json == expected


@pytest.mark.parametrize(
    "path",
    ["/v2/health/live", "/v2/health/ready", "/v2/models/model/ready", "/v2/models/model/versions/7/ready"],
)
def test_health_and_readiness_answer_200(echo: Server, path: str) -> None:
    assert echo.get(path).status == 200
