"""What passes between a codec and the engine, the same for every wire format, and why a request gets no result."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from podium_serving.signature import TensorSpec

STRING_BYTES = 64
"""Bytes of a string's object and of what refers to it, beside its characters."""
_COUNTED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output to be answered; `binary` says that its tensor goes behind the JSON instead of into it."""

    spec: TensorSpec
    binary: bool = False


class InferRequest(NamedTuple):
    """A checked request: tensors by input name, and the outputs asked for, in their order.

    `characters` are those of all its strings: whoever reads them counts them, which for 700,000 takes 14 ms.
    """

    id: str | None
    feeds: "dict[str, np.ndarray[Any, Any]]"
    outputs: tuple[RequestedOutput, ...]
    characters: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, as of a result; of strings those that `characters` has."""
        return sum(size_of(tensor) for tensor in self.feeds.values()) + self.characters


@dataclass(frozen=True, slots=True)
class InferResult:
    """The tensors, in the order of the request's outputs.

    `nbytes` are the bytes of all tensors, of strings 64 each and one for each character. They are counted as soon as
    the result is there, where it was computed: for 4,000 strings that takes 0.1 ms, a part of what making them took.
    """

    tensors: "list[np.ndarray[Any, Any]]"
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        size = 0
        for each in self.tensors:
            size += size_of(each) + characters(each) if each.dtype.hasobject else each.nbytes
        object.__setattr__(self, "nbytes", size)


def characters(tensor: "np.ndarray[Any, Any]") -> int:
    """Characters of all strings of a tensor that has them."""
    flat = tensor.ravel()
    # Other threads may go on between two pieces, but not while `sum` goes through one.
    return sum(sum(map(len, flat[start : start + _COUNTED_AT_ONCE])) for start in range(0, flat.size, _COUNTED_AT_ONCE))


def element_size(dtype: "np.dtype[Any]") -> int:
    """Bytes of an element; of a string without its characters."""
    return STRING_BYTES if dtype.hasobject else dtype.itemsize


def size_of(tensor: "np.ndarray[Any, Any]") -> int:
    """Bytes of a tensor; of strings without their characters."""
    return tensor.size * element_size(tensor.dtype)


class RunError(Exception):
    """The model failed on a request that passed validation: the server's fault. The message is onnxruntime's."""


class NoMemory(RunError):
    """The run wanted more memory than there is: more than all that runs may take, if `hopeless`."""

    hopeless = False


class TooSlow(Exception):
    """Large JSON was not read or written within the time that its size allows. The message has both."""


class Misfit(RunError):
    """onnxruntime's own check of the inputs refused them: the client's fault."""


class Overloaded(Exception):
    """The server has too much to do to take the request; the same one may be sent again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after
