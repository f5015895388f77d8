"""The model: found on disk, loaded into onnxruntime, run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from podium_serving import cpu, empty, model_file, onnx_file
from podium_serving.arena import UNBOUNDED, Arena
from podium_serving.datatypes import BY_ONNX
from podium_serving.failures import failure, sentence, wanted
from podium_serving.inference import NoMemory
from podium_serving.model_file import ModelError, find
from podium_serving.refusals import Refusal
from podium_serving.signature import Signature, TensorSpec

# A model this small spends more on handing work to a second thread than on the work.
TINY_BYTES = 2**20
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
_FATAL = 4  # onnxruntime's log severity: what it would print is in its exceptions, and its lines are not JSON
onnxruntime.set_default_logger_severity(_FATAL)


class Model:
    """A loaded model. `run` may be called from several threads at once."""

    def __init__(self, path: Path, threads: int = 0, most: int = UNBOUNDED) -> None:
        """Loads the file, or the only .onnx file of the folder. Raises ModelError.

        Threads 0: as many as suit it. It may take `most` bytes, its weights aside: `packed` at once, and `run_memory`,
        which is the rest, in runs.
        """
        self.file = find(path)
        # The folder that a user means by "the model's folder".
        self.top = path if path.is_dir() else path.parent
        self.threads = threads or (1 if model_file.size(self.file) < TINY_BYTES else cpu.available())
        self._arena = Arena(most)
        self._session = _session(self.file, self.threads, self._arena)
        self.left_out = tuple(f"{each.name} ({each.type})" for each in self._session.get_outputs() if not _served(each))
        self.packed = self._arena.taken()
        self.run_memory = most - self.packed
        self.signature = _signature(self._session)
        self.refusals: tuple[Refusal, ...] = ()

    def run(
        self, feeds: "dict[str, np.ndarray[Any, Any]]", outputs: Sequence[TensorSpec]
    ) -> "list[np.ndarray[Any, Any]]":
        """The asked-for output tensors, in that order. Raises RunError, one of its kinds where the cause is known."""
        for tensor in feeds.values():
            if not tensor.size and empty.unforeseen(self.signature, feeds):
                return empty.answer(self.signature, feeds, outputs)
        for refusal in self.refusals:
            refusal.check(feeds)
        return self._run(feeds, [spec.name for spec in outputs])

    def run_as_given(self, feeds: "dict[str, np.ndarray[Any, Any]]") -> None:
        """A run of which nobody wants the outputs, without the checks that keep the process alive. Raises RunError."""
        self._run(feeds, [spec.name for spec in self.signature.readable])

    def _run(self, feeds: "dict[str, np.ndarray[Any, Any]]", names: list[str]) -> "list[np.ndarray[Any, Any]]":
        try:
            return self._attempt(feeds, names)
        except NoMemory as problem:
            problem.hopeless = wanted(problem) > self.run_memory
            # What other runs have left may be in pieces that are too small for this one.
            before = self._arena.taken()
            self._arena.give_back()
            if problem.hopeless or self._arena.taken() == before:
                raise
        return self._attempt(feeds, names)

    def _attempt(self, feeds: "dict[str, np.ndarray[Any, Any]]", names: list[str]) -> "list[np.ndarray[Any, Any]]":
        try:
            tensors: list[np.ndarray[Any, Any]] = self._session.run(names, feeds)
        except Exception as problem:
            raise failure(problem) from None
        return tensors

    def give_back(self) -> None:
        """To the system what earlier runs have taken and no tensor lies in any more."""
        self._arena.give_back()


def _session(file: Path, threads: int, arena: Arena) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    arena.attach(options)
    # Threads that spin while they wait use up the CPU quota of a container.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        if not any(_is_zip_map(each) for each in session.get_outputs()):
            return session
        changed = onnx_file.without_zip_map(file.read_bytes())
        if changed is None:
            return session
        options.add_session_config_entry(_EXTERNAL_FOLDER, str(file.parent))
        return onnxruntime.InferenceSession(changed, options, providers=["CPUExecutionProvider"])
    except Exception as problem:
        explained = model_file.explained(file)
        why = f"{explained} ({sentence(problem)})" if explained else sentence(problem)
        raise ModelError("ModelInvalid", f"{file} cannot be loaded: {why}") from None


def _is_zip_map(each: Any) -> bool:
    return str(each.type).startswith("seq(map(") and str(each.type).endswith("tensor(float)))")


def _served(each: Any) -> bool:
    return each.type in BY_ONNX


def _signature(session: Any) -> Signature:
    for each in session.get_inputs():
        if not _served(each):
            raise ModelError(
                "ModelUnsupported",
                f"input {each.name!r} is of type {each.type}, which the Open Inference Protocol cannot carry",
            )
    inputs = tuple(_spec(each) for each in session.get_inputs())
    outputs = tuple(_spec(each) for each in session.get_outputs() if _served(each))
    if not outputs:
        given = ", ".join(f"{each.name!r} of type {each.type}" for each in session.get_outputs())
        raise ModelError(
            "ModelUnsupported", f"no output is a tensor that the Open Inference Protocol can carry ({given})"
        )
    _check_usable(inputs, outputs)
    return Signature(inputs, outputs)


def _check_usable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Raises ModelError for a model that nobody could ask for anything."""
    unsent = [spec for spec in inputs if not spec.datatype.in_json]
    unanswered = [] if any(spec.datatype.in_json for spec in outputs) else list(outputs)
    for what, specs in (("input", unsent), ("no output can be answered: output", unanswered)):
        if specs:
            raise ModelError(
                "ModelUnsupported",
                f"{what} {specs[0].name!r} is of datatype {specs[0].datatype.name}, which has no form in JSON, and "
                "binary tensors are not offered yet; export the model with inputs and outputs of FP32 (keep_io_types "
                "of onnxconverter-common)",
            )


def _spec(each: Any) -> TensorSpec:
    # onnxruntime says [] of a scalar and of an undeclared shape alike, and runs either with any shape: so do we.
    sizes = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in each.shape)
    axes = tuple(size if isinstance(size, str) else "" for size in each.shape)
    return TensorSpec(each.name, BY_ONNX[each.type], sizes or None, axes)
