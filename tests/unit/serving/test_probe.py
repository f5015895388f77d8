"""A legal request must not kill the server; and what a model is run on before it is asked."""

import contextlib
import faulthandler
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families

from podium_serving import probe as probing
from podium_serving import warm_up
from podium_serving.inference import InferRequest, Misfit
from podium_serving.last_words import LastWords
from podium_serving.model import Model
from podium_serving.model_file import ModelError
from podium_serving.refusals import Case, Refusal
from tests.unit.serving.harness import JSON_TYPES, Answer, Server, identity, model_bytes, serving, tensor


def families(server: Server) -> dict[str, Any]:
    return {each.name: each for each in text_string_to_metric_families(server.get("/metrics").body.decode())}


LIMIT = 4 * 2**30


def recurrent(operator: str) -> bytes:
    """Of shape [time, batch, 3]; onnxruntime ends the process with SIGABRT when the batch is empty."""
    gates = {"LSTM": 4, "GRU": 3}[operator]
    weights = [
        numpy_helper.from_array(np.ones((1, gates * 2, width), dtype=np.float32), name)
        for name, width in (("W", 3), ("R", 2))
    ]
    node = helper.make_node(operator, ["x", "W", "R"], ["y"], hidden_size=2)
    return model_bytes(
        [node], [tensor("x", 1, ["time", "batch", 3])], [tensor("y", 1, ["time", 1, "batch", 2])], tuple(weights)
    )


def asked(shape: list[int], name: str = "x", datatype: str = "FP32", value: object = 1) -> dict[str, Any]:
    data = [value] * int(np.prod(shape))
    return {"id": "a-7", "inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_a_batch_without_rows_is_answered_without_the_model(tmp_path: Path, operator: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(recurrent(operator))
    with serving(path) as server:
        for _ in range(2):
            answer = server.infer(asked([1, 0, 3]))
            assert (answer.status, answer.json["outputs"][0]["shape"]) == (200, [1, 1, 0, 2]), answer
        assert server.infer(asked([1, 1, 3])).status == 200
        # The probe has met it, and says so.
        refused = json.loads(next(line for line in server.lines if "model loaded" in line))["refused"]
        assert refused == ["no row: SIGABRT", "no element on axis 1: SIGABRT"][operator == "LSTM" :]
        metrics = families(server)
        assert metrics["podium_serving_refused_kinds"].samples[0].value == len(refused)


@pytest.mark.parametrize(
    ("declared", "given", "made", "expected"),
    [
        (["n", 2], [0, 2], ["n", 2], [0, 2]),
        ([None, 2], [0, 2], [None, 3], [0, 3]),
        (["n", "m"], [3, 0], ["m", "n"], [0, 3]),
        (["n", 2], [0, 2], [1], None),
        (["n", 2], [0, 2], ["n", "k"], None),
        (["n", "m"], [3, 0], ["n"], None),
        (None, [0], None, None),
    ],
)
def test_what_is_known_to_be_empty_is_answered_and_the_rest_refused_with_400(
    tmp_path: Path, declared: Any, given: list[int], made: Any, expected: list[int] | None
) -> None:
    # The model gives something else altogether, which shows that it is not run.
    path = tmp_path / "model.onnx"
    one = numpy_helper.from_array(np.zeros((1,), dtype=np.float32), "one")
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y"])]
    path.write_bytes(model_bytes(nodes, [tensor("x", 1, declared)], [tensor("y", 1, made)], (one,)))
    model = Model(path)
    feeds = {"x": np.zeros(given, dtype=np.float32)}
    if expected is None:
        with pytest.raises(Misfit, match=r"input 'x' has the shape \[.*\], which holds no element, and output 'y'"):
            model.run(feeds, model.signature.outputs)
    else:
        assert model.run(feeds, model.signature.outputs)[0].shape == tuple(expected)


def test_a_model_that_asks_for_an_empty_tensor_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("Concat", ["past", "x"], ["y"], axis=0)]
    inputs = [tensor("past", 1, [0, 2]), tensor("x", 1, ["n", 2])]
    path.write_bytes(model_bytes(nodes, inputs, [tensor("y", 1, ["n", 2])]))
    model = Model(path)
    feeds = {"past": np.zeros((0, 2), np.float32), "x": np.ones((3, 2), np.float32)}
    assert model.run(feeds, model.signature.outputs)[0].shape == (3, 2)


# The probe


class Deadly(Model):
    """A model that ends its process where the test says so, as some operators do and none does on demand."""

    deadly: Any = None

    def run_as_given(self, feeds: "dict[str, np.ndarray[Any, Any]]") -> None:
        if type(self).deadly(feeds["x"]):
            faulthandler.disable()  # pytest's: it would tell of the child as if it were the test that ended
            os.kill(os.getpid(), signal.SIGSEGV)
        super().run_as_given(feeds)


def probed(
    path: Path, monkeypatch: pytest.MonkeyPatch, deadly: Any, onnx_type: int = TensorProto.FLOAT, shape: Any = ("n", 2)
) -> probing.Probed:
    path.write_bytes(identity({"x": onnx_type}, list(shape)))
    monkeypatch.setattr(Deadly, "deadly", staticmethod(deadly))
    monkeypatch.setattr(probing, "Model", Deadly)
    return probing.probe(path, 1, 30, LIMIT)


def refused(found: probing.Probed, value: object, dtype: Any, shape: tuple[int, ...] = (1, 2)) -> bool:
    try:
        for refusal in found.refusals:
            refusal.check({"x": np.full(shape, value, dtype=dtype)})
    except Misfit:
        return True
    return False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_values_that_end_the_probe_are_refused_beyond_the_last_that_it_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = probed(tmp_path / "m.onnx", monkeypatch, lambda x: (x > 10**6).any(), TensorProto.INT64)
    assert [each.case.name for each in found.refusals] == ["2147483647 in every element of int64"]
    assert found.incomplete == ""
    assert refused(found, 10**6 + 1, np.int64)
    assert refused(found, 2**62, np.int64)
    assert not refused(found, 2**15 - 1, np.int64)
    assert not refused(found, -(2**62), np.int64)
    with pytest.raises(Misfit, match="was probed with 2147483647 in every element of int64, SIGSEGV ended the process"):
        found.refusals[0].check({"x": np.full((1, 2), 2**40)})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_kind_that_ends_the_probe_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = probed(
        tmp_path / "m.onnx", monkeypatch, lambda x: not x.size or bool(np.isnan(x).any()) or bool((x < -1e20).any())
    )
    assert [each.case.name.split(" ")[0] for each in found.refusals] == ["no", str(-float(np.finfo("f").max)), "nan"]
    assert refused(found, np.nan, np.float32)
    assert refused(found, -np.inf, np.float32)
    assert not refused(found, np.inf, np.float32)
    assert not refused(found, -1e9, np.float32)


@pytest.mark.parametrize("datatype", ["INT32", "INT64"])
def test_the_quotient_of_the_least_integer_and_minus_one_is_refused(tmp_path: Path, datatype: str) -> None:
    """SIGFPE: there is no such integer. The same value in every input does not show it, since 1 is the quotient."""
    path = tmp_path / "model.onnx"
    onnx_type = JSON_TYPES[datatype]
    inputs = [tensor(name, onnx_type, ["n"]) for name in ("a", "b")]
    path.write_bytes(model_bytes([helper.make_node("Div", ["a", "b"], ["y"])], inputs, [tensor("y", onnx_type, ["n"])]))
    least = -(2 ** (int(datatype[3:]) - 1))

    def divided(server: Server, a: list[int], b: list[int]) -> Answer:
        sent = [{"name": name, "shape": [3], "datatype": datatype, "data": data} for name, data in (("a", a), ("b", b))]
        return server.infer({"inputs": sent})

    with serving(path) as server:
        refused = divided(server, [6, least, 6], [3, -1, 3])
        assert (refused.status, server.process.poll()) == (400, None)
        name = f"{least} in a and -1 in the other inputs of {datatype.lower()}, SIGFPE ended the process"
        assert f"was probed with {name}" in refused.json["error"]
        assert divided(server, [6, least, 6], [3, 2, 3]).status == 200
        assert divided(server, [6, 6, -1], [-1, 4, least]).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_long_texts_that_end_the_probe_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = probed(
        tmp_path / "m.onnx", monkeypatch, lambda x: any(len(each) > 100 for each in x.flat), TensorProto.STRING
    )
    assert refused(found, "a" * 101, object)
    assert not refused(found, "é" * 9, object)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_that_ends_the_process_on_everything_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"SIGSEGV ends the process on zeros of x \[1, 2\]") as problem:
        probed(tmp_path / "m.onnx", monkeypatch, lambda x: True)
    assert problem.value.reason == "ModelCrashes"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_size_that_ends_the_probe_is_refused_and_another_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = probed(tmp_path / "m.onnx", monkeypatch, lambda x: x.shape == (1, 1), shape=("n", "m"))
    assert found.base == "zeros of x [1, 8]"
    assert refused(found, 5, np.float32, (1, 1))
    assert not refused(found, 5, np.float32, (1, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_probe_that_hangs_is_ended_in_time_and_said_to_be_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(identity({"x": TensorProto.FLOAT}, ["n"]))
    monkeypatch.setattr(Deadly, "deadly", staticmethod(lambda x: bool(np.isnan(x).any()) and signal.pause()))
    monkeypatch.setattr(probing, "Model", Deadly)
    found = probing.probe(path, 1, 6, LIMIT)
    assert found.incomplete == "it took longer than PODIUM_PROBE_SECONDS"
    assert found.base
    assert found.refusals == []


def test_a_pod_that_is_told_to_stop_does_not_wait_for_its_probe(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(counting())
    server = Server(path, PODIUM_PROBE_SECONDS=600)
    child: list[str] = []
    try:
        # given a probe that would go round 2**31 times and more
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        while not (child := children.read_text().split()):
            assert server.process.poll() is None
        server.process.terminate()
        assert server.wait() == 0
        assert not Path("/proc", child[0]).exists()
    finally:
        for each in child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(each), signal.SIGKILL)  # else it would count on, and hold the server's output open
        server.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_probe_takes_a_third_of_the_memory_at_most(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    weights = numpy_helper.from_array(np.zeros((33 * 2**20,), dtype=np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    path.write_bytes(model_bytes([node], [tensor("x", 1, [1])], [tensor("y", 1, [33 * 2**20])], (weights,)))
    limit = 3 * (probing._data_bytes() + 64 * 2**20)
    found = probing.probe(path, 1, 60, limit)
    assert "third of the memory limit" in found.incomplete
    assert found.refusals == []
    assert "does not suffice for another process" in probing.probe(path, 1, 60, 2**20).incomplete


def test_a_refusal_by_shape_covers_that_shape_alone() -> None:
    refusal = Refusal(Case("zeros", (("x", (1, 2)),)), "SIGABRT")
    refusal.check({"x": np.zeros((2, 2))})
    with pytest.raises(Misfit):
        refusal.check({"x": np.zeros((1, 2))})


# Death by signal


def counting() -> bytes:
    """Goes round as often as the largest element of `n` says: a run that takes as long as the client asks for."""
    trip, cond = tensor("n", TensorProto.INT64, ["k"]), numpy_helper.from_array(np.array(True), "go")
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [tensor("i", TensorProto.INT64, []), tensor("c", TensorProto.BOOL, []), tensor("v", TensorProto.INT64, ["k"])],
        [tensor("c2", TensorProto.BOOL, []), tensor("v2", TensorProto.INT64, ["k"])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["n"], ["m"], keepdims=0),
        helper.make_node("Loop", ["m", "go", "n"], ["y"], body=body),
    ]
    return model_bytes(nodes, [trip], [tensor("y", TensorProto.INT64, ["k"])], (cond,))


def test_a_death_by_signal_names_the_request_that_was_running(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(counting())
    with serving(path, PODIUM_PROBE_SECONDS=0) as server:
        assert server.infer(asked([2], "n", "INT64", 3)).status == 200
        idle = json.loads(server.termination.read_text())
        assert (idle["result"], set(idle["running"])) == ("failed", {None})
        with server.connect() as connection:
            connection.request("POST", "/v2/models/model/infer", json.dumps(asked([2], "n", "INT64", 2**60)))
            while not any(running := json.loads(server.termination.read_text())["running"]):
                assert server.process.poll() is None
            server.process.send_signal(signal.SIGABRT)
            assert server.wait() == -signal.SIGABRT
    message = json.loads(server.termination.read_text())
    assert [each for each in running if each] == [{"id": "a-7", "inputs": {"n": [2]}}]
    assert message["running"] == running
    assert (message["reason"], message["permanent"]) == ("Died", False)


def test_a_server_that_ends_by_itself_leaves_no_last_words(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(identity({"x": 1}, ["n"]))
    with serving(path) as server:
        assert server.infer(asked([1])).status == 200
        assert server.stop() == 0
        assert server.termination.read_text() == ""


def test_last_words_are_json_whatever_is_running(tmp_path: Path) -> None:
    path = tmp_path / "termination"
    words = LastWords(path, 4)
    many = {f"input-{n}": np.zeros((1,) * 8) for n in range(100)}
    requests = [
        InferRequest('é"\\\n' * 100, {"x": np.zeros((1, 0, 3))}, ()),
        InferRequest("b", many, ()),
        InferRequest(None, {"x": np.zeros(2)}, ()),
        InferRequest("c", {"x": np.zeros(())}, ()),
        InferRequest("one too many", {}, ()),
    ]
    places = [words.begin(each) for each in requests]
    told = json.loads(path.read_text())["running"]
    assert {each.get("id"): each["inputs"] for each in told} == {
        ('é"\\\n' * 100)[:80]: {"x": [1, 0, 3]},
        "b": "too many to name",
        None: {"x": [2]},
        "c": {"x": []},
    }
    assert places[4] == 0
    assert len(path.read_bytes()) <= 1500
    for place in places:
        words.end(place)
    assert set(json.loads(path.read_text())["running"]) == {None}
    words.close()
    words.end(words.begin(requests[3]))
    assert path.read_text() == ""


def test_last_words_name_inputs_in_whatever_order_they_came(tmp_path: Path) -> None:
    path = tmp_path / "termination"
    words = LastWords(path, 2)
    for names in (("a", "b"), ("b", "a")):
        feeds = dict(zip(names, (np.zeros(1), np.zeros(2)), strict=True))
        place = words.begin(InferRequest(None, feeds, ()))
        told = [each for each in json.loads(path.read_text())["running"] if each]
        assert told == [{"inputs": {names[0]: [1], names[1]: [2]}}]
        words.end(place)
    words.close()


# Warm-up


def picky(side: int) -> bytes:
    """Takes images of that side alone, which its signature does not tell: a Reshape to a fixed number of elements."""
    shape = numpy_helper.from_array(np.array([-1, 3 * side * side], dtype=np.int64), "shape")
    weights = numpy_helper.from_array(np.ones((3 * side * side, 1), dtype=np.float32), "w")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    return model_bytes(nodes, [tensor("x", 1, ["n", 3, "h", "w_"])], [tensor("y", 1, ["n", 1])], (shape, weights))


@pytest.mark.parametrize("side", [1, 8, 32, 224])
def test_a_model_is_warmed_up_with_a_size_that_fits_it(tmp_path: Path, side: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(picky(side))
    with serving(path) as server:
        line = json.loads(next(line for line in server.lines if "model loaded" in line))
        metric = families(server)["podium_serving_warm_up_runs"]
    assert line["message"] == "model loaded and warm"
    assert line["warm_up_runs"] == [f"zeros of x [1, 3, {side}, {side}]"]
    assert {each.labels["source"]: each.value for each in metric.samples} == {"samples": 0, "sizes": 1}


def test_the_users_own_samples_go_first(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(picky(5))
    wrong, right = asked([1, 3, 4, 4]), asked([2, 3, 5, 5])
    (tmp_path / "warmup.json").write_text(json.dumps([right, wrong, asked([1]), right]))
    with serving(tmp_path) as server:
        line = json.loads(next(line for line in server.lines if "model loaded" in line))
        metric = families(server)["podium_serving_warm_up_runs"]
    assert line["warm_up_runs"] == ["request 1 of warmup.json", "request 4 of warmup.json"]
    assert "request 2 of warmup.json: " in line["warm_up_error"]
    assert f"{tmp_path / 'warmup.json'}: request 3: input 'x': expected shape" in line["warm_up_error"]
    assert {each.labels["source"]: each.value for each in metric.samples} == {"samples": 2, "sizes": 0}


@pytest.mark.parametrize("folders", [["", "1"], ["1", "1/a"], ["1/a"], [""], [".."]])
def test_samples_lie_in_the_models_folder_or_above_it_and_the_nearest_are_taken(
    tmp_path: Path, folders: list[str]
) -> None:
    top = tmp_path / "top"
    (top / "1" / "a").mkdir(parents=True)
    (top / "1" / "a" / "model.onnx").write_bytes(identity({"x": 1}, ["n"]))
    for size, folder in enumerate(folders, 1):
        (top / folder / "warmup.json").write_text(json.dumps(asked([size])))
    model = Model(top)
    found, problems = warm_up.samples(model.file, model.top, model.signature)
    expected = [] if folders == [".."] else [(len(folders),)]
    assert [attempt.feeds["x"].shape for attempt in found] == expected
    assert problems == []


@pytest.mark.parametrize("content", ["{", '{"inputs": []}', "7", "[]"])
def test_samples_that_are_none_are_told_and_do_no_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.onnx").write_bytes(identity({"x": 1}, ["n"]))
    (tmp_path / "warmup.json").write_text(content)
    with serving(tmp_path) as server:
        line = json.loads(next(line for line in server.lines if "model loaded" in line))
    assert line["warm_up_runs"] == ["zeros of x [1]"]
    assert ("warm_up_error" in line) is (content != "[]")


def test_axes_of_one_name_get_one_size_and_no_attempt_is_huge(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    inputs = [tensor("a", 1, ["n", "m", "m", "k"]), tensor("b", 1, ["m", "n", "m", "k"])]
    path.write_bytes(model_bytes(nodes, inputs, [tensor("y", 1, None)]))
    for attempt in warm_up.sized(Model(path).signature):
        a, b = attempt.feeds["a"].shape, attempt.feeds["b"].shape
        assert (a[0], a[1], a[1]) == (b[1], b[0], b[2])
        assert sum(each.size for each in attempt.feeds.values()) <= 2**22
