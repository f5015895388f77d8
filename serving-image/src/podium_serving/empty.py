"""Requests with a tensor of no elements: answered without the model, which may not survive them.

LSTM, GRU and others of onnxruntime's operators end the process on a tensor without elements.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podium_serving.inference import Misfit
from podium_serving.signature import Signature, TensorSpec


def unforeseen(signature: Signature, feeds: "Mapping[str, np.ndarray[Any, Any]]") -> list[TensorSpec]:
    """The inputs that are given without elements, where the model itself does not ask for it by a size of 0."""
    return [spec for spec in signature.inputs if _unforeseen(spec, feeds[spec.name].shape)]


def _unforeseen(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    foreseen = spec.shape if spec.shape is not None else (-1,) * len(shape)
    return any(size == 0 != declared for size, declared in zip(shape, foreseen, strict=True))


def answer(
    signature: Signature, feeds: "Mapping[str, np.ndarray[Any, Any]]", outputs: Sequence[TensorSpec]
) -> "list[np.ndarray[Any, Any]]":
    """The outputs, if the signature tells that all of them are empty, and their shapes; else raises Misfit.

    A symbolic size of an output is known if an input has one of the same name, or if it is of the rows that all tensors
    begin with.
    """
    sizes = _known_sizes(signature, feeds)
    made = []
    for spec in outputs:
        shape = tuple(_size(signature, sizes, spec, axis) for axis in range(len(spec.shape or ())))
        if 0 not in shape or None in shape or spec.datatype.dtype is None:
            empty = ", ".join(
                f"{each.name!r} has the shape {list(feeds[each.name].shape)}" for each in unforeseen(signature, feeds)
            )
            raise Misfit(
                f"input {empty}, which holds no element, and output {spec.name!r} is not known to be empty then"
            )
        made.append(np.empty([size or 0 for size in shape], dtype=spec.datatype.dtype))
    return made


def _known_sizes(signature: Signature, feeds: "Mapping[str, np.ndarray[Any, Any]]") -> dict[str, int]:
    """The sizes that the inputs give to named axes, and to "" for the rows; without those that they disagree in."""
    found: dict[str, set[int]] = {}
    for spec in signature.inputs:
        for axis, name in enumerate(spec.axes):
            is_rows = axis == 0 and signature.batch_axis is not None
            if name or is_rows:
                found.setdefault(name, set()).add(feeds[spec.name].shape[axis])
            if is_rows:
                found.setdefault("", set()).add(feeds[spec.name].shape[axis])
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def _size(signature: Signature, sizes: Mapping[str, int], spec: TensorSpec, axis: int) -> int | None:
    assert spec.shape is not None
    if spec.shape[axis] != -1:
        return spec.shape[axis]
    name = spec.axes[axis] if spec.axes else ""
    if name in sizes and name:
        return sizes[name]
    return sizes.get("") if axis == 0 and signature.batch_axis is not None else None
