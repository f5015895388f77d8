"""Large JSON bodies, read and written a piece at a time.

Read as a whole, 60 MB of numbers take 17 times their size as Python's objects. So the arrays of numbers are cut out of
the body and go into their tensors in pieces; what is left is small, and is read as a whole. Numbers are nested rightly
if brackets and commas alone read as the shape says, and if no number stands where a list must.
"""

import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from podium_serving.signature import BadRequest, TensorSpec, TooLarge, shown

Buffer = bytes | bytearray
PackPiece = Callable[[TensorSpec, list[Any], int], bytes]

PIECE = 128 * 1024
"""Bytes that are read at once."""
ELEMENTS = 32 * 1024
"""Elements that are written at once, some 2 ms of short strings."""
CHARACTERS = 512 * 1024
"""Characters of strings that are written at once, in up to 1.5 ms; in 3 ms where each is escaped."""
SMALLEST = 64 * 1024
"""Bytes of an array that is worth cutting out."""
REST = 2 * 2**20
"""Bytes of the rest of a body that are read at once: strings hold up both processes while they are handed over."""
_PAUSE_SECONDS = 0.0002
_WHITE = b" \t\r\n"
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRUCTURE = b"[],"
# Every byte that is neither white space nor structure counts as a part of an element.
_CLASSES = bytes(each if each in _STRUCTURE else ord("0") for each in range(256))


@dataclass(frozen=True)
class Array:
    """The text of an array of numbers in a body, from its opening bracket to behind the closing one."""

    body: Buffer = field(repr=False)
    start: int
    end: int


def cut(body: Buffer, rest: int = REST, smallest: int = SMALLEST) -> tuple[bytes, dict[str, Array]]:
    """The body with a word of our own in place of each large array of numbers, and the arrays by these words.

    Raises TooLarge if more than `rest` bytes are left.
    """
    arrays: dict[str, Array] = {}
    kept: list[bytes] = []
    at = 0
    for start, end in _arrays(body, rest, smallest):
        word = secrets.token_hex(16)
        arrays[word] = Array(body, start, end)
        kept += [bytes(body[at:start]), b'"', word.encode(), b'"']
        at = end
    kept.append(bytes(body[at:]))
    if sum(map(len, kept)) > rest:
        raise _too_large(rest)
    return b"".join(kept), arrays


def _arrays(body: Buffer, rest: int, smallest: int) -> Iterator[tuple[int, int]]:
    """Where arrays of numbers under the name "data" begin and end.

    Behind such an array comes the next name or the object's end: no quote and no brace is in it. No byte is looked at
    more than a few times, whatever the body: a brace is looked for up to the next quote only. Raises TooLarge as soon
    as more than `rest` bytes lie beside the arrays: 64 MiB of names would be looked at for 20 s.
    """
    at = cut_out = 0
    while (name := body.find(b'"data"', at)) >= 0:
        if name - cut_out > rest:
            raise _too_large(rest)
        at = _skip(body, name + 6)
        if body[at : at + 1] != b":":
            continue
        start = _skip(body, at + 1)
        if body[start : start + 1] != b"[":
            continue
        stop = _find(body, b"}", start, _find(body, b'"', start, len(body)))
        end = body.rfind(b"]", start, stop) + 1
        at = stop
        if end - start >= smallest and not bytes(body[end:stop]).strip(_WHITE + b","):
            cut_out += end - start
            yield start, end


def _too_large(rest: int) -> TooLarge:
    return TooLarge(f"the request has more than {rest} bytes of JSON beside its numbers: send fewer rows at once")


def _find(body: Buffer, what: bytes, start: int, end: int) -> int:
    """Where it is first; `end` if it is not there before."""
    found = body.find(what, start, end)
    return found if found >= 0 else end


def _skip(body: Buffer, at: int) -> int:
    """Where something other than white space stands, from `at` on."""
    space = _SPACE.match(body, at)
    assert space is not None
    return space.end()


def tensor(
    spec: TensorSpec,
    shape: tuple[int, ...],
    array: Array,
    pack: PackPiece,
    check_room: Callable[[int], None],
    piece: int = PIECE,
) -> "np.ndarray[Any, Any]":
    """The array's tensor. `pack` makes a tensor's bytes of some elements and the index of the first of them.

    `check_room` is asked first whether there is room for so many elements. Raises BadRequest, and what that raises.
    """
    count = math.prod(shape)
    if 2 * count > array.end - array.start:
        raise BadRequest(f"input {spec.name!r}: shape {shown(list(shape))} has {count} elements, data has fewer")
    check_room(count)
    structure = _Structure(spec, shape, array)
    if not count:
        return structure.empty()
    packed = bytearray()
    index = 0
    for start, end in _pieces(array, piece):
        flat = structure.flatten(bytes(array.body[start:end]))
        try:
            elements = orjson.loads(b"[%b]" % flat)
        except orjson.JSONDecodeError as problem:
            raise _no_json(spec, problem.msg, start + problem.pos - 1) from None
        if not elements:
            raise _no_json(spec, "an element is missing", start)
        packed += pack(spec, elements, index)
        index += len(elements)
    if index != count:
        raise BadRequest(f"input {spec.name!r}: shape {shown(list(shape))} has {count} elements, data has {index}")
    structure.check_end()
    return np.frombuffer(packed, dtype=spec.datatype.dtype).reshape(shape)


def _no_json(spec: TensorSpec, what: str, at: int) -> BadRequest:
    return BadRequest(f"the body is not valid JSON: input {spec.name!r}: {what} near byte {at}")


def _pieces(array: Array, size: int) -> Iterator[tuple[int, int]]:
    """Cuts between elements: where each piece begins and ends, without the comma behind it."""
    at, last = array.start + 1, array.end - 1
    while at <= last:
        end = last
        if last - at > size:
            comma = array.body.rfind(b",", at, at + size)
            comma = comma if comma >= 0 else array.body.find(b",", at, last)
            end = comma if comma >= 0 else last
        yield at, end
        at = end + 1


class _Structure:
    """Checks the brackets of an array's pieces against the shape, and takes them out."""

    def __init__(self, spec: TensorSpec, shape: tuple[int, ...], array: Array) -> None:
        self._spec = spec
        self._shape = shape
        self._array = array
        first = _skip(array.body, array.start + 1)
        self._nested = array.body[first : first + 1] == b"["
        self._expected = self._rows(array.end - array.start) if self._nested else b""
        self._at = 0

    def _rows(self, longest: int) -> bytes:
        """Brackets and commas of data nested as the shape says, without the outermost brackets."""
        text = b""
        for axis, size in enumerate(reversed(self._shape)):
            if (len(text) + 1) * size > longest:
                raise self._wrong()
            text = (text + b",") * (size - 1) + text if size else b""
            if axis < len(self._shape) - 1:
                text = b"[" + text + b"]"
        if len(self._shape) < 2:
            raise self._wrong()
        return text

    def flatten(self, piece: bytes) -> bytes:
        """The piece without brackets. Raises BadRequest."""
        if not self._nested:
            if b"[" in piece or b"]" in piece:
                raise self._wrong()
            return piece
        classes = piece.translate(_CLASSES, _WHITE)
        if b"0[" in classes or b"]0" in classes:
            raise self._wrong()
        found = classes.translate(None, b"0")
        if self._at:
            found = b"," + found
        end = self._at + len(found)
        if self._expected[self._at : end] != found:
            raise self._wrong()
        self._at = end
        return piece.translate(None, b"[]")

    def empty(self) -> "np.ndarray[Any, Any]":
        """The tensor of a shape without elements. Raises BadRequest if there are some."""
        flat = self.flatten(bytes(self._array.body[self._array.start + 1 : self._array.end - 1]))
        if flat.strip(_WHITE + (b"," if self._nested else b"")):
            raise self._wrong()
        self.check_end()
        return np.empty(self._shape, dtype=self._spec.datatype.dtype)

    def check_end(self) -> None:
        """Raises BadRequest if brackets are missing."""
        if self._at != len(self._expected):
            raise self._wrong()

    def _wrong(self) -> BadRequest:
        return BadRequest(f"input {self._spec.name!r}: data is not nested as shape {shown(list(self._shape))} says")


def write(
    values: "np.ndarray[Any, Any]", into: bytearray, elements: int = ELEMENTS, characters: int = CHARACTERS
) -> None:
    """Appends the tensor's elements as a flat JSON array."""
    flat = values.ravel()
    into += b"["
    for start in range(0, flat.size, elements):
        some = flat[start : start + elements]
        if start:
            into += b","
        if some.dtype == object:
            _write_strings(some.tolist(), into, characters)
        else:
            into += _within(np.ascontiguousarray(some))
    into += b"]"


def _write_strings(some: list[str], into: bytearray, characters: int) -> None:
    """Appends at least one string, without brackets; strings are written in the server's process: others first."""
    if sum(map(len, some)) <= characters:
        into += _within(some)
        time.sleep(_PAUSE_SECONDS)
    elif len(some) > 1:
        half = len(some) // 2
        _write_strings(some[:half], into, characters)
        into += b","
        _write_strings(some[half:], into, characters)
    else:
        # What JSON makes of a character does not depend on those beside it.
        (text,) = some
        into += b'"'
        for start in range(0, len(text), characters):
            into += _within(text[start : start + characters])
            time.sleep(_PAUSE_SECONDS)
        into += b'"'


def _within(value: object) -> memoryview:
    """What JSON has between the brackets or quotes of the value."""
    return memoryview(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))[1:-1]
