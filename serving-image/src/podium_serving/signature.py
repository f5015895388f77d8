"""What a model takes and gives, and the checks of a request against it that hold for every wire format."""

import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from podium_serving.datatypes import Datatype

# numpy's limits. They bind a tensor without elements too, of which the length of its data says nothing.
_MAX_DIMENSIONS = 64
_MAX_BYTES = 2**63 - 1
_LARGEST_ELEMENT = 8


class BadRequest(Exception):
    """The client's request cannot be served as it is; the message says what was expected and what was given."""


class TooLarge(BadRequest):
    """The request is larger than is taken; the message says how to ask for less."""


class _Brief(reprlib.Repr):
    """As Python writes a value, but for what JSON calls by other names."""

    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return "true" if value else "false"


_brief = _Brief()
_brief.maxlist = _brief.maxdict = 16
_brief.maxstring = _brief.maxother = 60
_brief.maxlevel = 2


def shown(value: object) -> str:
    """The client's value in short: an error must not send megabytes back."""
    return _brief.repr(value)


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. In `shape` -1 stands for a dimension of any size; None for a shape that is not declared.

    `axes` has the name of each symbolic dimension, and "" for one that is fixed or has no name.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...] | None
    axes: tuple[str, ...] = ()

    @property
    def leading_axis(self) -> str | None:
        """The name of the first dimension if that is of any size ("" without a name), else None."""
        return self.axes[0] if self.axes and self.shape and self.shape[0] == -1 else None

    def metadata(self) -> dict[str, object]:
        """As the protocol's model metadata shows it."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": list(self.shape or ())}

    def check(self, datatype: object, shape: object) -> tuple[int, ...]:
        """Returns the given shape, if it and the given datatype are what this input takes; else raises BadRequest."""
        if datatype != self.datatype.name:
            raise BadRequest(f"input {self.name!r}: expected datatype {self.datatype.name}, given {shown(datatype)}")
        if not isinstance(shape, list) or not _all_sizes(shape):
            raise BadRequest(f"input {self.name!r}: shape must be a list of whole numbers >= 0, given {shown(shape)}")
        if self.shape is not None and not _fits(shape, self.shape):
            raise BadRequest(
                f"input {self.name!r}: expected shape {list(self.shape)} (-1 is any size), given {shown(shape)}"
            )
        if len(shape) > _MAX_DIMENSIONS:
            raise BadRequest(
                f"input {self.name!r}: shape has {len(shape)} dimensions, {_MAX_DIMENSIONS} at most are possible"
            )
        if 0 in shape and math.prod(size or 1 for size in shape) * _LARGEST_ELEMENT > _MAX_BYTES:
            raise BadRequest(f"input {self.name!r}: no tensor can have the shape {shown(shape)}, not even an empty one")
        return tuple(shape)


# Loops, since generators in all() take twice as long, and each request is checked.


def _all_sizes(shape: list[Any]) -> bool:
    for size in shape:  # noqa: SIM110
        if type(size) is not int or size < 0:
            return False
    return True


def _fits(shape: list[int], expected: tuple[int, ...]) -> bool:
    if len(shape) != len(expected):
        return False
    for given, size in zip(shape, expected, strict=True):  # noqa: SIM110
        if size not in (-1, given):
            return False
    return True


@dataclass(frozen=True)
class Signature:
    """The tensors of a model, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def batch_axis(self) -> str | None:
        """The name of the dimension that all tensors begin with, "" if it has none; None where rows cannot be told.

        All must begin with a dimension of any size, and those that are named must have one name: what begins with
        "rows" here and with "words" there is not one row each.
        """
        leading = [spec.leading_axis for spec in (*self.inputs, *self.outputs)]
        names = {name for name in leading if name}
        return None if None in leading or len(names) > 1 else next(iter(names), "")

    @property
    def readable(self) -> tuple[TensorSpec, ...]:
        """The outputs of datatypes that numpy knows, and that onnxruntime can therefore hand over."""
        return tuple(spec for spec in self.outputs if spec.datatype.dtype is not None)

    @cached_property
    def _input_names(self) -> list[str]:
        return [spec.name for spec in self.inputs]

    @cached_property
    def _known_inputs(self) -> frozenset[str]:
        return frozenset(self._input_names)

    def check_names(self, given: list[str]) -> None:
        """Raises BadRequest unless every input is given exactly once, and no other."""
        expected = self._input_names
        # Not name by name in a list: of a model with thousands of inputs that would hold up others.
        if given == expected or (len(given) == len(expected) and self._known_inputs == set(given)):
            return
        counts = Counter(given)
        for name, count in counts.items():
            if name not in self._known_inputs:
                raise BadRequest(f"input {shown(name)}: the model has no such input; it takes {_listed(expected)}")
            if count > 1:
                raise BadRequest(f"input {name!r}: given {count} times, expected once")
        for spec in self.inputs:
            if spec.name not in counts:
                raise BadRequest(
                    f"input {spec.name!r}: missing; expected datatype {spec.datatype.name}"
                    + ("" if spec.shape is None else f" and shape {list(spec.shape)}")
                )

    def select(self, names: Sequence[str]) -> tuple[TensorSpec, ...]:
        """The outputs of these names, in the order asked for; all of them if none is named. Raises BadRequest."""
        if not names:
            return self.outputs
        by_name = {spec.name: spec for spec in self.outputs}
        asked = set(names)
        if len(asked) < len(names) or not asked <= by_name.keys():
            for name, count in Counter(names).items():
                if name not in by_name:
                    raise BadRequest(f"output {shown(name)}: the model has no such output; it gives {_listed(by_name)}")
                if count > 1:
                    raise BadRequest(f"output {name!r}: asked for {count} times, expected once")
        return tuple(by_name[name] for name in names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
