"""The models that people have, as they lie in folders and volumes, and what is told of what is none."""

import gzip
import json
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from podium_serving import kinds, model_file, onnx_file
from podium_serving.model import Model
from podium_serving.model_file import ModelError
from tests.unit.serving.harness import (
    UNPRIVILEGED,
    Server,
    fetch,
    identity,
    model_bytes,
    serving,
    tensor,
)

ECHO = identity({"x": TensorProto.FLOAT}, [1])
ASKED = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ECHO)
    return folder


@pytest.mark.parametrize("name", ["artifact", ".artifact", "model~"])
def test_what_a_uri_names_is_the_model_whatever_its_name(tmp_path: Path, name: str) -> None:
    put(tmp_path / "pvc", name)
    assert fetch(tmp_path, f"pvc://claim/{name}").code == 0
    with serving(tmp_path / "models" / "model") as server:
        assert server.infer(ASKED).status == 200


@pytest.mark.parametrize(
    "leftover",
    [
        ".ipynb_checkpoints/model-checkpoint.onnx", "._model.onnx", "__MACOSX/model.onnx", ".git/lfs/a.onnx",
        "lost+found/a.onnx", ".Trash-1000/files/a.onnx", ".snapshot/hourly/model.onnx", "sub/.cache/a.onnx",
    ],
)  # fmt: skip
def test_what_tools_leave_behind_is_no_model(tmp_path: Path, leftover: str) -> None:
    assert model_file.find(put(tmp_path, "sub/model.onnx", leftover)) == tmp_path / "sub" / "model.onnx"


@pytest.mark.parametrize("name", ["artifact", ".artifact", "1/artifact"])
def test_samples_of_requests_beside_it_are_not_taken_for_the_model(tmp_path: Path, name: str) -> None:
    assert model_file.find(put(tmp_path, name, "warmup.json")) == tmp_path / name


@pytest.mark.parametrize("name", ["model.onnx", "sub/model.onnx"])
def test_kubernetes_own_layout_of_a_volume_holds_one_model(tmp_path: Path, name: str) -> None:
    put(tmp_path / "..2026_11_26_10_00_00.1", name)
    (tmp_path / "..data").symlink_to("..2026_11_26_10_00_00.1")
    first = name.split("/")[0]
    (tmp_path / first).symlink_to(Path("..data") / first)
    assert model_file.find(tmp_path) == tmp_path / name
    with serving(tmp_path) as server:
        assert server.infer(ASKED).status == 200


def test_a_link_beside_its_model_is_the_same_model_and_a_loop_has_an_end(tmp_path: Path) -> None:
    put(tmp_path, "1/model.onnx")
    (tmp_path / "latest").symlink_to("1")
    (tmp_path / "1" / "up").symlink_to("..")
    assert model_file.find(tmp_path) == tmp_path / "1" / "model.onnx"


def test_a_hidden_folder_may_be_named_itself(tmp_path: Path) -> None:
    assert model_file.find(put(tmp_path / ".models", "a.onnx")) == tmp_path / ".models" / "a.onnx"


@pytest.mark.parametrize("closed", ["model", "model/deep", "model/deep/model.onnx"])
def test_what_may_not_be_read_is_named(tmp_path: Path, closed: str) -> None:
    put(tmp_path, "model/deep/model.onnx")
    os.chown(tmp_path / closed, 1, 1)
    (tmp_path / closed).chmod(0o600)
    server = Server(tmp_path / "model", UNPRIVILEGED)
    assert server.wait() == 65
    message = json.loads(server.termination.read_text())
    server.close()
    assert (message["reason"], message["permanent"]) == ("ModelUnreadable", True)
    assert message["message"].startswith(f"{tmp_path / closed}")
    assert "Permission denied; it must be readable for the pod's user" in message["message"]


def with_external_data(folder: Path, location: str, size: int) -> Path:
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    weights = numpy_helper.from_array(np.ones((size,), dtype=np.float32), "weights")
    raw = model_bytes(
        [helper.make_node("Mul", ["x", "weights"], ["y"])], [tensor("x", 1, [1])], [tensor("y", 1, [size])], (weights,)
    )
    path = folder / "model.onnx"
    onnx.save_model(
        onnx.load_from_string(raw), str(path), save_as_external_data=True, location=location, size_threshold=0
    )
    return path


def test_external_data_counts_wherever_it_lies_and_unrelated_files_do_not(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, "deep/er/weights.bin", 1000)
    (tmp_path / "README.pdf").write_bytes(bytes(5_000_000))
    (tmp_path / "deep" / "other.bin").write_bytes(bytes(5_000_000))
    assert onnx_file.external_files(path) == {"deep/er/weights.bin"}
    assert model_file.size(path) == path.stat().st_size + 4000


def test_external_data_inside_a_subgraph_counts(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((10,), dtype=np.float32), "weights")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["weights"], ["z"])], "branch", [], [tensor("z", 1, [10])], [weights]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = onnx.load_from_string(model_bytes([node], [tensor("c", TensorProto.BOOL, [])], [tensor("y", 1, [10])]))
    for attribute in model.graph.node[0].attribute:
        inner = attribute.g.initializer[0]
        inner.data_location = TensorProto.EXTERNAL
        inner.external_data.add(key="location", value="inner.bin")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert onnx_file.external_files(tmp_path / "model.onnx") == {"inner.bin"}


@pytest.mark.parametrize("size", [0, 1, 5, 300])
def test_any_bytes_are_an_external_file_less_model_or_malformed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.onnx"
    for seed in range(50):
        path.write_bytes(np.random.default_rng(seed).bytes(size) + b"location")
        try:
            assert onnx_file.external_files(path) == set()
        except onnx_file.Malformed:
            continue


def located(folder: Path, location: str) -> Path:
    """A model whose weights lie in a file of that name, as the file says."""
    weights = numpy_helper.from_array(np.ones((1,), dtype=np.float32), "weights")
    node = helper.make_node("Mul", ["x", "weights"], ["y"])
    model = onnx.load_from_string(model_bytes([node], [tensor("x", 1, [1])], [tensor("y", 1, [1])], (weights,)))
    initializer = model.graph.initializer[0]
    initializer.ClearField("raw_data")
    initializer.data_location = TensorProto.EXTERNAL
    initializer.external_data.add(key="location", value=location)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def nested(folder: Path, depth: int) -> Path:
    """A model of so many graphs within each other, too many for onnxruntime, with the word `location` in it."""

    def message(number: int, value: bytes) -> bytes:
        size, encoded = len(value), b""
        while size > 0x7F:
            size, encoded = size >> 7, encoded + bytes((size & 0x7F | 0x80,))
        return bytes((number << 3 | 2,)) + encoded + bytes((size,)) + value

    graph = message(2, b"location")
    for _ in range(depth):
        graph = message(1, message(5, message(6, graph)))
    (folder / "model.onnx").write_bytes(message(7, graph))
    return folder / "model.onnx"


@pytest.mark.parametrize(
    "write", [lambda folder: located(folder, "a\0b"), lambda folder: nested(folder, 400)], ids=["NUL", "nested"]
)
def test_a_file_that_only_a_fault_or_malice_could_write_is_an_invalid_model(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        Model(write(tmp_path))
    assert caught.value.reason == "ModelInvalid"


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "zip", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return (folder / "zip").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "model.onnx is a zip archive, as PyTorch's torch.save writes; export the model to ONNX with torch.onnx"),
        (pickle.dumps({"a": 1}), "is a Python pickle, as joblib and scikit-learn write; export the model to ONNX"),
        (gzip.compress(ECHO, mtime=0), "is compressed with gzip; upload it uncompressed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page, perhaps one to sign in"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes"),
        (b"\x1c\x00\x00\x00TFL3", "is a TensorFlow Lite model"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\": 1}", "is a safetensors file: weights without a graph"),
        (b'{"learner": {}}', "is a JSON document"),
        (b"<?xml version='1.0'?><PMML/>", "is an XML document"),
        (b"", "is empty (0 bytes)"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_onnx_model_is_told_from_its_first_bytes(tmp_path: Path, content: bytes | None, said: str) -> None:
    (tmp_path / "model.onnx").write_bytes(zipped(tmp_path) if content is None else content)
    server = Server(tmp_path / "model.onnx")
    assert server.wait() == 65
    message = json.loads(server.termination.read_text())["message"]
    server.close()
    assert said in message


def test_weights_that_are_a_git_lfs_pointer_are_told(tmp_path: Path) -> None:
    with_external_data(tmp_path, "weights.bin", 1000)
    (tmp_path / "weights.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4000\n")
    server = Server(tmp_path)
    assert server.wait() == 65
    assert "weights.bin is a Git LFS pointer" in json.loads(server.termination.read_text())["message"]
    server.close()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\r\n\t ", "utf-16"])
@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0'>", b"<HTML>", b"<Head><title>", b"<script>location='/login'",
        b"<title>Sign in</title>", b"<META charset=utf-8>", b"<body onload='go()'>", b"<!--x", b"<!--[if IE]>",
        b"<h1>403", b"<!-- saved from url -->\n<html>", b"<?xml version='1.0'?>\n<!DOCTYPE html><html>",
        b"<p>You need to log in</p>",
    ],
)  # fmt: skip
def test_a_web_page_is_told_however_it_begins(mark: bytes | str, content: bytes) -> None:
    coded = content.decode().encode(mark) if isinstance(mark, str) else mark + content
    assert kinds.of(coded[: kinds.HEAD_BYTES]) is kinds.WEB_PAGE
    assert kinds.of((coded + content * 1000)[: kinds.HEAD_BYTES]) is kinds.WEB_PAGE


@pytest.mark.parametrize(
    "content",
    [
        b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code></Error>", b"<Error><Code>AccessDenied</Code></Error>",
        b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code>",
        b"<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>",
        b"<?xml version='1.0'?><soap:Envelope>", b'{"error":"Repository not found"}',
        b'{\n  "errors" : [ {"status": 404',
        b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 7 not found"}', b'{"detail":"Not Found"}',
        b'{"message":"Not Found","documentation_url":"https://docs"}', b'{"status": 404, "title": "Not Found"}',
        b'{"timestamp": "2026", "status": 404, "error": "Not Found", "path": "/model"}', b"Not Found",
        b"404 page not found\n",
        b"Access denied", b"Entry not found", b"default backend - 404", b"no healthy upstream", b"error code: 1020",
        b"Invalid username or password.", b'"Not Found"', b"<Error>" + b"x" * 2000, b'{"error": "' + b"x" * 2000,
    ],
)  # fmt: skip
def test_what_stores_answer_instead_of_a_model_is_told(content: bytes) -> None:
    assert kinds.of(content[: kinds.HEAD_BYTES]) is kinds.ERROR_MESSAGE


@pytest.mark.parametrize(
    "content",
    [
        b"<?xml version='1.0'?><net name='fraud' version='11'>", b"<PMML version='4.4'>",
        b"<!-- 7 --><PMML version='4'>",
        b'{"learner": {"error": 1}, "version": [2, 0, 0]}' + b" " * 2000, b'{"name": "m", "message": "hello"}',
        b"tree\nversion=v4\nnum_class=1\n", b"\n<\n\x05input\x12\x0bPlaceholder", b"\n\x07Not Found\x12", b"7",
        b"\x08\x0a:\x09<html>", b"expired\0", b"access denied " * 100, b"<", b"{", b"", b"\xff\xfe", b"\xff\xfe<",
    ],
)  # fmt: skip
def test_what_some_runtime_may_serve_is_never_told_to_be_no_model(content: bytes) -> None:
    kind = kinds.of(content[: kinds.HEAD_BYTES])
    assert kind is None or not kind.never_a_model or not content


def test_no_onnx_model_is_taken_for_something_else(tmp_path: Path) -> None:
    assert kinds.of(ECHO[: kinds.HEAD_BYTES]) is None
    assert kinds.of(b"\x08\x07\x12\x07pytorch") is None


@pytest.mark.parametrize("where", ["input", "output"])
def test_a_model_that_json_cannot_ask_for_anything_is_refused_at_load(tmp_path: Path, where: str) -> None:
    onnx_type = TensorProto.BFLOAT16
    x, y = tensor("x", onnx_type, [1]), tensor("y", TensorProto.FLOAT, [1])
    node: Any = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    if where == "output":
        x, y = tensor("x", TensorProto.FLOAT, [1]), tensor("y", onnx_type, [1])
        node = helper.make_node("Cast", ["x"], ["y"], to=onnx_type)
    (tmp_path / "half.onnx").write_bytes(model_bytes([node], [x], [y]))
    server = Server(tmp_path / "half.onnx")
    assert server.wait() == 65
    message = json.loads(server.termination.read_text())
    server.close()
    assert message["reason"] == "ModelUnsupported"
    assert (
        f"{where} '{'x' if where == 'input' else 'y'}' is of datatype BF16, which has no form in JSON"
        in (message["message"])
    )


def test_a_model_of_half_precision_gives_what_onnxruntime_gives(tmp_path: Path) -> None:
    """Small and large, halfway between two numbers, below the least: each as numpy rounds what JSON says."""
    random = np.random.default_rng(1)
    weights = numpy_helper.from_array(random.standard_normal((40, 7)).astype(np.float16), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Tanh", ["z"], ["y"])]
    half = TensorProto.FLOAT16
    outputs = [tensor("z", half, ["n", 7]), tensor("y", half, ["n", 7])]
    path = tmp_path / "half.onnx"
    path.write_bytes(model_bytes(nodes, [tensor("x", half, ["n", 40])], outputs, (weights,)))
    numbers = [*random.uniform(-90, 90, 3990), 65504, 65519.9, 1 + 2**-11, 1 + 3 * 2**-11, 6e-8, 2.9e-8, 1e-300]
    numbers += [-0.0, 0, 1 + 2**-11 + 2**-40]  # which in two steps, by way of FP32, would become 1
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": np.array(numbers, dtype=np.float16).reshape(-1, 40)})
    with serving(path) as server:
        assert server.get("/v2/models/model").json["inputs"][0]["datatype"] == "FP16"
        asked = {"inputs": [{"name": "x", "shape": [100, 40], "datatype": "FP16", "data": numbers}]}
        answer = server.infer(asked).json["outputs"]
        beyond = {"inputs": [{"name": "x", "shape": [1, 40], "datatype": "FP16", "data": [0] * 39 + [65520]}]}
        refused = server.infer(beyond)
    for output, right in zip(answer, expected, strict=True):
        finite = np.isfinite(right.ravel())
        assert output["datatype"] == "FP16"
        assert [value is not None for value in output["data"]] == finite.tolist()
        given = np.array([value or 0 for value in output["data"]], dtype=np.float16)
        assert given[finite].tobytes() == (right.ravel()[finite] + np.float16(0)).tobytes()
    assert "element 39 is 65520 (a whole number); FP16 takes numbers within its range" in refused.json["error"]


def test_text_models_find_the_locale_that_they_ask_for(tmp_path: Path) -> None:
    """As the image makes it; without it onnxruntime cannot load such a model where only C.UTF-8 is installed."""
    image = Path("serving-image")
    subprocess.run(["sh", image / "locale.sh", tmp_path / "locale"], check=True)
    assert "locale.sh /opt/locale" in (image / "Dockerfile").read_text()
    assert "LOCPATH=/opt/locale" in (image / "Dockerfile").read_text()
    # skl2onnx takes words of ASCII alone, which is its own limitation.
    texts = ["Trouble over OIL", "oil Over everything", "nothing"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 0])
    exported = to_onnx(pipeline, initial_types=[("text", StringTensorType([None, 1]))])
    (tmp_path / "text.onnx").write_bytes(exported.SerializeToString())
    with serving(tmp_path / "text.onnx", LOCPATH=tmp_path / "locale") as server:
        asked = {"inputs": [{"name": "text", "shape": [3, 1], "datatype": "BYTES", "data": texts}]}
        label, probabilities = server.infer(asked).json["outputs"]
    assert label["data"] == pipeline.predict(texts).tolist()
    assert np.allclose(np.reshape(probabilities["data"], (3, 2)), pipeline.predict_proba(texts), atol=1e-5)


def test_a_copy_of_a_config_map_is_one_model(tmp_path: Path) -> None:
    put(tmp_path / "volume" / "..2026", "model.onnx")
    (tmp_path / "volume" / "..data").symlink_to("..2026")
    (tmp_path / "volume" / "model.onnx").symlink_to("..data/model.onnx")
    shutil.copytree(tmp_path / "volume", tmp_path / "copy")
    assert model_file.find(tmp_path / "copy") == tmp_path / "copy" / "model.onnx"


def test_a_folder_of_two_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds 2 .onnx files \(a.onnx, b.onnx\); expected exactly one"):
        model_file.find(put(tmp_path, "a.onnx", "b.onnx"))
