from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.serving.harness import JSON_TYPES, Server, identity, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def echo(folder: Path) -> Iterator[Server]:
    """A server whose model gives back its input `x`: FP32, two columns, any number of rows."""
    path = folder / "echo.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    with serving(path, PODIUM_REVISION="model-b57wq4c9d2", PODIUM_MODEL_VERSION="7") as server:
        yield server


@pytest.fixture(scope="module")
def all_types(folder: Path) -> Iterator[Server]:
    """A server whose model gives back one input of every datatype that JSON can carry, each of shape [-1, 2]."""
    path = folder / "types.onnx"
    path.write_bytes(identity(JSON_TYPES, ["rows", 2]))
    with serving(path) as server:
        yield server
