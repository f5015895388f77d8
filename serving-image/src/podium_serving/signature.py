"""What a model takes and gives, and the checks of a request against it that hold for every wire format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from podium_serving.datatypes import Datatype


class BadRequest(Exception):
    """The client's request cannot be served as it is; the message says what was expected and what was given."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. In `shape` -1 stands for a dimension of any size; None for a shape that is not declared."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...] | None

    def metadata(self) -> dict[str, object]:
        """As the protocol's model metadata shows it."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": list(self.shape or ())}

    def check(self, datatype: object, shape: object) -> tuple[int, ...]:
        """Returns the given shape, if it and the given datatype are what this input takes; else raises BadRequest."""
        if datatype != self.datatype.name:
            raise BadRequest(f"input {self.name!r}: expected datatype {self.datatype.name}, given {datatype!r}")
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise BadRequest(f"input {self.name!r}: shape must be a list of whole numbers >= 0, given {shape!r}")
        if self.shape is not None and (
            len(shape) != len(self.shape)
            or any(expected not in (-1, given) for expected, given in zip(self.shape, shape, strict=True))
        ):
            raise BadRequest(f"input {self.name!r}: expected shape {list(self.shape)} (-1 is any size), given {shape}")
        return tuple(shape)


@dataclass(frozen=True)
class Signature:
    """The tensors of a model, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_names(self, given: Sequence[str]) -> None:
        """Raises BadRequest unless every input is given exactly once, and no other."""
        expected = [spec.name for spec in self.inputs]
        for name in given:
            if name not in expected:
                raise BadRequest(f"input {name!r}: the model has no such input; it takes {_listed(expected)}")
            if given.count(name) > 1:
                raise BadRequest(f"input {name!r}: given {given.count(name)} times, expected once")
        for spec in self.inputs:
            if spec.name not in given:
                raise BadRequest(
                    f"input {spec.name!r}: missing; expected datatype {spec.datatype.name}"
                    + ("" if spec.shape is None else f" and shape {list(spec.shape)}")
                )

    def select(self, names: Sequence[str]) -> tuple[TensorSpec, ...]:
        """The outputs of these names, in the order asked for; all of them if none is named."""
        if not names:
            return self.outputs
        by_name = {spec.name: spec for spec in self.outputs}
        for name in names:
            if name not in by_name:
                raise BadRequest(f"output {name!r}: the model has no such output; it gives {_listed(by_name)}")
            if names.count(name) > 1:
                raise BadRequest(f"output {name!r}: asked for {names.count(name)} times, expected once")
        return tuple(by_name[name] for name in names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
