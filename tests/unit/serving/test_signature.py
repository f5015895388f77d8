"""What a model's tensors tell about its rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import helper

from podium_serving import json_codec
from podium_serving.datatypes import BY_NAME
from podium_serving.json_codec import JsonCodec
from podium_serving.model import Model
from podium_serving.signature import BadRequest, Signature, TensorSpec
from tests.unit.serving.harness import model_bytes, tensor


@pytest.mark.parametrize(
    ("given", "output", "batch"),
    [
        (["rows", 2], ["rows", 2], "rows"),
        ([None, 2], [None, 2], ""),
        (["rows", 2], [None, 2], "rows"),
        (["rows", 2], ["words", 2], None),
        ([1, 2], [1, 2], None),
        (["rows", 2], [1, 2], None),
        ([], [], None),
        (None, None, None),
    ],
)
def test_the_batch_axis_is_the_one_that_all_tensors_begin_with(
    tmp_path: Path, given: list[int | str] | None, output: list[int | str] | None, batch: str | None
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(
        model_bytes([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", 1, given)], [tensor("y", 1, output)])
    )
    assert Model(path).signature.batch_axis == batch


def test_symbolic_axes_keep_their_names(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shape: list[int | str] = ["batch", 3, "height", "width"]
    path.write_bytes(
        model_bytes([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", 1, shape)], [tensor("y", 1, shape)])
    )
    spec = Model(path).signature.inputs[0]
    assert (spec.shape, spec.axes) == ((-1, 3, -1, -1), ("batch", "", "height", "width"))


MANY = 1000


class Name(str):
    """Counts how often names are compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def many() -> Signature:
    specs = tuple(TensorSpec(f"x{number}", BY_NAME["FP32"], (1,)) for number in range(MANY))
    return Signature(specs, specs)


def names() -> list[str]:
    return [Name(f"x{number}") for number in reversed(range(MANY))]


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: many().check_names(names()), ""),
        (lambda: many().check_names(names()[1:]), "input 'x999': missing"),
        (lambda: many().check_names([*names()[1:], Name("x0")]), "input 'x0': given 2 times, expected once"),
        (lambda: many().check_names([*names()[1:], Name("y")]), "input 'y': the model has no such input"),
        (lambda: many().select(names()), ""),
        (lambda: many().select([*names(), Name("x0")]), "output 'x0': asked for 2 times, expected once"),
    ],
    ids=["inputs", "missing", "twice", "unknown", "outputs", "output twice"],
)
def test_names_are_compared_in_proportion_to_their_number(check: Callable[[], object], told: str) -> None:
    Name.compared = 0
    if told:
        with pytest.raises(BadRequest, match=told):
            check()
    else:
        check()
    # By the square it would be half a million.
    assert Name.compared <= 5 * MANY


def test_more_outputs_than_there_are_are_refused_before_each_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []
    monkeypatch.setattr(json_codec, "shown", lambda value: shown.append(value) or repr(value))
    spec = TensorSpec("x", BY_NAME["FP32"], (1,))
    given = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    body = json.dumps({"inputs": [given], "outputs": [{"name": "x", "parameters": {}}] * MANY}).encode()
    with pytest.raises(BadRequest, match=f"output 'x': asked for {MANY} times, expected once"):
        JsonCodec(Signature((spec,), (spec,)), "model", "1").decode(memoryview(body))
    assert not shown
