"""An ONNX file without the onnx package: which other files it needs, and ZipMap taken out of it.

Only the few messages of onnx.proto that lead there are known here, by their field numbers; everything else is carried
over byte for byte. A protobuf message is a row of fields, each a key (number and wire type) and a value.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_VARINT, _I64, _LENGTH, _I32 = 0, 1, 2, 5
# The fields of a message that hold another one of interest, by the message's name in onnx.proto.
_NESTED: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_GRAPH, _NODE, _OUTPUT = 7, 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_DOMAIN = 1, 2, 4, 7
_TENSOR_EXTERNAL = 13
_LOCATION = b"location"
_FLOAT = 1


class Malformed(Exception):
    """The bytes are no protobuf message."""


class _Field(NamedTuple):
    number: int
    value: memoryview | int
    raw: memoryview


def external_files(model: Path) -> set[str]:
    """The relative paths of the files that the model's tensors lie in. Raises OSError, and Malformed for no model."""
    with model.open("rb") as file:
        if not model.stat().st_size:
            raise Malformed("the file is empty")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Most models have all in one file, and looking through each of their nodes would take a while.
    if content.find(_LOCATION) < 0:
        return set()
    try:
        # No file has a NUL in its path; onnxruntime says what is wrong with that one.
        return {name for name in _locations(memoryview(content), "Model") if "\0" not in name}
    except RecursionError:
        raise Malformed("its graphs are nested too deeply") from None


def without_zip_map(content: bytes) -> bytes | None:
    """The model with each ZipMap at its end replaced by what goes into it; None if it has none. Raises Malformed.

    ZipMap makes a list of dictionaries {class: probability} of the tensor of probabilities. The output keeps its name
    and becomes that tensor, its columns in the order of the classes.
    """
    view = memoryview(content)
    graph = next((field.value for field in _fields(view) if field.number == _GRAPH), None)
    if not isinstance(graph, memoryview):
        return None
    names = {name for name in map(_zip_map_output, _nodes(graph)) if name}
    if not names:
        return None
    parts = []
    for field in _fields(graph):
        if field.number == _NODE and _zip_map_output(field.value):
            parts.append(_message(_NODE, _identity(field.value)))
        elif field.number == _OUTPUT and _text(field.value, 1) in names:
            parts.append(_message(_OUTPUT, _message(1, _text(field.value, 1).encode()) + _message(2, _FLOAT_TENSOR)))
        else:
            parts.append(bytes(field.raw))
    changed = b"".join(parts)
    return b"".join(_message(_GRAPH, changed) if each.number == _GRAPH else bytes(each.raw) for each in _fields(view))


def _nodes(graph: memoryview) -> Iterator[memoryview | int]:
    return (field.value for field in _fields(graph) if field.number == _NODE)


def _zip_map_output(node: memoryview | int) -> str:
    """The name of what a ZipMap gives; "" for any other node."""
    if isinstance(node, int) or _text(node, _NODE_OP) != "ZipMap" or _text(node, _NODE_DOMAIN) != "ai.onnx.ml":
        return ""
    return _text(node, _NODE_OUTPUT)


def _identity(node: memoryview | int) -> bytes:
    inputs, output = _text(node, _NODE_INPUT).encode(), _text(node, _NODE_OUTPUT).encode()
    return _message(_NODE_INPUT, inputs) + _message(_NODE_OUTPUT, output) + _message(_NODE_OP, b"Identity")


def _text(message: memoryview | int, number: int) -> str:
    """The first field of that number, "" without one."""
    assert isinstance(message, memoryview)
    for field in _fields(message):
        if field.number == number and isinstance(field.value, memoryview):
            return bytes(field.value).decode("utf-8", "replace")
    return ""


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    nested = _NESTED.get(kind, {})
    for field in _fields(message):
        if not isinstance(field.value, memoryview):
            continue
        if kind == "Tensor" and field.number == _TENSOR_EXTERNAL and _text(field.value, 1) == _LOCATION.decode():
            yield _text(field.value, 2)
        elif field.number in nested:
            yield from _locations(field.value, nested[field.number])


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        value: memoryview | int
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
        elif wire == _LENGTH:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif wire in (_I64, _I32):
            size = 8 if wire == _I64 else 4
            value, at = message[at : at + size], at + size
        else:
            raise Malformed(f"wire type {wire} at byte {start}")
        if at > len(message):
            raise Malformed(f"a field at byte {start} is cut off")
        yield _Field(key >> 3, value, message[start:at])


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Malformed(f"a number at byte {at} is cut off")


def _message(number: int, value: bytes) -> bytes:
    return _number(number << 3 | _LENGTH) + _number(len(value)) + value


def _number(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


# A TypeProto: a tensor of floats, its shape left for onnxruntime to infer.
_FLOAT_TENSOR = _message(1, b"\x08" + bytes((_FLOAT,)))
