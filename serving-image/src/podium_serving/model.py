"""The model: found on disk, loaded into onnxruntime, warmed up, run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Official builds report usage over the network and keep an identifier on disk unless this is set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

from podium_serving import cpu
from podium_serving.datatypes import BY_ONNX
from podium_serving.failures import failure, sentence
from podium_serving.inference import RunError
from podium_serving.signature import Signature, TensorSpec

# A model this small spends more on handing work to a second thread than on the work.
TINY_BYTES = 2**20
_FATAL = 4  # onnxruntime's log severity: what it would print is in its exceptions, and its lines are not JSON
onnxruntime.set_default_logger_severity(_FATAL)


class ModelError(Exception):
    """The model cannot be served; `reason` is for the termination message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Model:
    """A loaded model. `run` may be called from several threads at once."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Loads the file, or the only .onnx file of the folder; threads 0: as many as suit it. Raises ModelError."""
        self.file = find(path)
        self.threads = threads or (1 if _size(self.file) < TINY_BYTES else cpu.available())
        self._session = _session(self.file, self.threads)
        self.left_out = tuple(f"{each.name} ({each.type})" for each in self._session.get_outputs() if not _served(each))
        self.signature = _signature(self._session)

    def run(
        self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: Sequence[TensorSpec]
    ) -> "list[np.ndarray[Any, Any]]":
        """The asked-for output tensors, in that order. Raises RunError, one of its kinds where the cause is known."""
        try:
            tensors: list[np.ndarray[Any, Any]] = self._session.run([spec.name for spec in outputs], feeds)
        except Exception as problem:
            raise failure(problem) from None
        return tensors

    def warm_up(self) -> str:
        """Runs once on zeros; returns why it could not, or "".

        Some models refuse zeros (an index into nothing, a shape that their author never meant): that is no reason not
        to serve them.
        """
        feeds = {spec.name: _zeros(spec) for spec in self.signature.inputs if spec.datatype.dtype is not None}
        outputs = [spec for spec in self.signature.outputs if spec.datatype.dtype is not None]
        if len(feeds) < len(self.signature.inputs) or not outputs:
            return "a tensor has a datatype that numpy does not know"
        try:
            self.run(feeds, outputs)
        except RunError as problem:
            return str(problem)
        return ""


def find(path: Path) -> Path:
    """The model file that `path` is, or the only one in the folder. Raises ModelError, naming what is there."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelError(
            "ModelNotFound", f"{path} does not exist: set PODIUM_MODEL_PATH to an .onnx file or its folder"
        )
    found = sorted(each for each in path.rglob("*.onnx") if each.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(each.relative_to(path)) for each in found[:5])
        raise ModelError("ModelInvalid", f"{path} holds {len(found)} .onnx files ({names}); expected exactly one")
    names = ", ".join(sorted(str(each.relative_to(path)) for each in path.rglob("*"))[:5]) or "nothing"
    raise ModelError("ModelInvalid", f"{path} holds no .onnx file, but {names}; expected exactly one")


def _size(file: Path) -> int:
    """Bytes of the model's folder, external data included, or of the file."""
    return max(file.stat().st_size, sum(each.stat().st_size for each in file.parent.iterdir() if each.is_file()))


def _session(file: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # It would keep the memory of the largest batch for ever: docs/decisions/no-arena.md.
    options.enable_cpu_mem_arena = False
    # Threads that spin while they wait use up the CPU quota of a container.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as problem:
        raise ModelError("ModelInvalid", f"{file} cannot be loaded: {sentence(problem)}") from None


def _served(each: Any) -> bool:
    return each.type in BY_ONNX


def _signature(session: Any) -> Signature:
    for each in session.get_inputs():
        if not _served(each):
            raise ModelError(
                "ModelUnsupported",
                f"input {each.name!r} is of type {each.type}, which the Open Inference Protocol cannot carry",
            )
    outputs = tuple(_spec(each) for each in session.get_outputs() if _served(each))
    if not outputs:
        given = ", ".join(f"{each.name!r} of type {each.type}" for each in session.get_outputs())
        raise ModelError(
            "ModelUnsupported",
            f"no output is a tensor that the Open Inference Protocol can carry ({given}); "
            "a scikit-learn classifier is exported with options={'zipmap': False}",
        )
    return Signature(tuple(_spec(each) for each in session.get_inputs()), outputs)


def _spec(each: Any) -> TensorSpec:
    # onnxruntime says [] of a scalar and of an undeclared shape alike, and runs either with any shape: so do we.
    sizes = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in each.shape)
    axes = tuple(size if isinstance(size, str) else "" for size in each.shape)
    return TensorSpec(each.name, BY_ONNX[each.type], sizes or None, axes)


def _zeros(spec: TensorSpec) -> "np.ndarray[Any, Any]":
    shape = tuple(1 if size == -1 else size for size in spec.shape or ())
    if spec.datatype.name == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=spec.datatype.dtype)
