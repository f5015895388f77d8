"""What a model's tensors tell about its rows."""

from pathlib import Path

import pytest
from onnx import helper

from podium_serving.model import Model
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
