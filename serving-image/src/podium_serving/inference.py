"""What passes between a codec and the engine, the same for every wire format, and why a request gets no result."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from podium_serving.signature import TensorSpec


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
        """Bytes of all tensors, as of a result."""
        return _nbytes(self.feeds.values())


@dataclass(frozen=True, slots=True)
class InferResult:
    """The tensors, in the order of the request's outputs."""

    tensors: "list[np.ndarray[Any, Any]]"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors; of strings 64 each, for counting them would cost more than the answer."""
        return _nbytes(self.tensors)


def _nbytes(tensors: "Iterable[np.ndarray[Any, Any]]") -> int:
    size = 0
    for each in tensors:
        size += each.size * 64 if each.dtype.hasobject else each.nbytes
    return size


class RunError(Exception):
    """The model failed on a request that passed validation: the server's fault. The message is onnxruntime's."""


class NoMemory(RunError):
    """The run wanted more memory than there is."""


class TooSlow(Exception):
    """Large JSON was not read or written within the time that its size allows. The message has both."""


class Misfit(RunError):
    """onnxruntime's own check of the inputs refused them: the client's fault."""


class Overloaded(Exception):
    """The server has too much to do to take the request; the same one may be sent again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after
