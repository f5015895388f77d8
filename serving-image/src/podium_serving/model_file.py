"""The model on disk: which file it is, how large, and what it is when it is none."""

import os
from pathlib import Path

from podium_serving import folders, kinds, onnx_file

SAMPLES = "warmup.json"  # may lie beside a model: warm_up.py
_SHOWN = 5


class ModelError(Exception):
    """The model cannot be served; `reason` is for the termination message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def find(path: Path) -> Path:
    """The model file that `path` is, or the only one in the folder. Raises ModelError, naming what is there.

    That is the only .onnx file, or the only file whatever its name, be it hidden: what a URI names is the model.
    """
    try:
        path.stat()
        if not path.is_dir():
            return path
        files = list(folders.files(path))
        others = [each for each in files if each.name != SAMPLES]
        hidden = [] if others else [each for each in folders.files(path, leftovers=True) if each.name != SAMPLES]
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            "ModelNotFound", f"{path} does not exist: set PODIUM_MODEL_PATH to an .onnx file or its folder"
        ) from None
    except OSError as problem:
        raise unreadable(problem, path) from None
    others = others or hidden
    found = [each for each in files if each.suffix == ".onnx"] or (others if len(others) == 1 else [])
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(each.relative_to(path)) for each in (found or others or files)[:_SHOWN]) or "nothing"
    if hidden:
        names = f"only hidden files and what tools have left ({names})"
    if found:
        raise ModelError("ModelInvalid", f"{path} holds {len(found)} .onnx files ({names}); expected exactly one")
    raise ModelError("ModelInvalid", f"{path} holds no .onnx file, but {names}; expected exactly one")


def size(file: Path) -> int:
    """Bytes of the model, with the files that its tensors lie in and no others. Raises ModelError."""
    total = 0
    for each in (file, *(file.parent / name for name in _external_files(file))):
        try:
            total += each.stat().st_size
        except FileNotFoundError:
            continue  # onnxruntime names it, and how it needs it
        except OSError as problem:
            raise unreadable(problem, each) from None
    return total


def explained(file: Path) -> str:
    """What the file is, or one that its tensors lie in, if that is why it cannot be loaded; else ""."""
    for each in (file, *(file.parent / name for name in _external_files(file))):
        try:
            with each.open("rb") as opened:
                kind = kinds.of(opened.read(kinds.HEAD_BYTES))
        except OSError:
            continue
        # Weights may begin with anything.
        if kind and (each == file or kind.never_a_model):
            return f"{each.name} is {kind.name}; {kind.way_out}"
    return ""


def unreadable(problem: OSError, path: Path) -> ModelError:
    """The failure of reading what is there; it names the path that was refused."""
    where = os.fsdecode(problem.filename) if problem.filename else str(path)
    way_out = ""
    if isinstance(problem, PermissionError):
        way_out = "; it must be readable for the pod's user (podTemplate.securityContext.fsGroup)"
    return ModelError("ModelUnreadable", f"{where}: {problem.strerror or problem}{way_out}")


def _external_files(file: Path) -> list[str]:
    try:
        return sorted(onnx_file.external_files(file))
    except onnx_file.Malformed:
        return []
    except OSError as problem:
        raise unreadable(problem, file) from None
