"""Inference requests and responses in JSON, the Open Inference Protocol's first form.

Numbers go from Python's objects into a tensor by struct.pack: three times as fast as numpy.array for a flat list, and
strict (no string becomes a number, no fraction is cut off, nothing overflows). When it refuses, the data is packed once
more in slices, and only the slice that fails element by element, for an error that names the first wrong one.

JSON knows no NaN and no infinity. In floating-point outputs they are written as null, and the output's parameters then
count them ("non_finite"); in floating-point inputs null is read as NaN.
"""

import contextlib
import math
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import orjson

from podium_serving import json_pieces
from podium_serving.budget import tensors_too_large
from podium_serving.datatypes import Datatype
from podium_serving.inference import InferRequest, InferResult, RequestedOutput, characters, element_size, size_of
from podium_serving.signature import BadRequest, Signature, TensorSpec, TooLarge, shown

LARGE = 2**18
"""Bytes of JSON, or of a result, that are read or written at once, in up to 10 ms."""
_SLICE = 1024
"""Elements that are checked at once in the search for a wrong one: a single one takes a third of a microsecond."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_BINARY = "the binary tensor extension, which this server does not offer yet"


class JsonCodec:
    """Decodes requests for one model and encodes its answers."""

    def __init__(
        self, signature: Signature, model: str, version: str, large: int = LARGE, memory: float = math.inf
    ) -> None:
        """Bodies and results of more than `large` bytes are read and written in pieces.

        `memory`: bytes that the tensors of a request may take.
        """
        self.large = large
        self._memory = memory
        self._signature = signature
        self._by_name = {spec.name: spec for spec in signature.inputs}
        self._all_outputs = tuple(RequestedOutput(spec) for spec in signature.outputs)
        self._has_strings = any(spec.datatype.name == "BYTES" for spec in signature.inputs)
        self._all_in_json = all(spec.datatype.in_json for spec in signature.outputs)
        self._head: dict[str, object] = {"model_name": model, "model_version": version}

    def decode(self, given: memoryview) -> InferRequest:
        """Raises BadRequest, naming the input, for whatever the model cannot take; TooLarge for what memory cannot."""
        body = _whole(given)
        if body.startswith(_BYTE_ORDER_MARK):
            body = body[len(_BYTE_ORDER_MARK) :]
        arrays: dict[str, json_pieces.Array] = {}
        if len(body) > self.large:
            body, arrays = json_pieces.cut(body)
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError as problem:
            raise BadRequest(f"the body is not valid JSON: {problem}") from None
        if not isinstance(request, dict):
            raise BadRequest(f"the body must be a JSON object, given {_kind(request)}")
        identifier = request.get("id")
        if identifier is not None and not isinstance(identifier, str):
            raise BadRequest(f"id must be a string, given {_kind(identifier)}")
        _check_parameters("the request", request, ("binary_data_output",))
        # struct.pack takes true for 1. A body without these words need not be searched for booleans.
        # Of numbers a single letter is found a hundred times as fast as a word, and hardly any body has these two.
        strict = (b"r" in body and b"true" in body) or (b"l" in body and b"false" in body)
        inputs = _objects(request, "inputs")
        self._signature.check_names([each["name"] for each in inputs])
        feeds: dict[str, np.ndarray[Any, Any]] = {}
        taken = 0
        for each in inputs:
            feeds[each["name"]] = tensor = self._tensor(each, strict, arrays, taken)
            taken += size_of(tensor)
        counted = sum(characters(each) for each in feeds.values() if each.dtype.hasobject) if self._has_strings else 0
        if taken + counted > self._memory:
            raise TooLarge(tensors_too_large(taken + counted, self._memory))
        return InferRequest(identifier, feeds, self._outputs(request), counted)

    def encode(self, request: InferRequest, result: InferResult) -> bytes | bytearray:
        """The response's body."""
        tensors = result.tensors
        if result.nbytes > self.large:
            return self._encode_in_pieces(request, result)
        outputs = [
            {
                "name": each.spec.name,
                "shape": tensor.shape,
                "datatype": each.spec.datatype.name,
                "data": _data(tensor),
            }
            for each, tensor in zip(request.outputs, tensors, strict=True)
        ]
        response = {**self._head, "outputs": outputs}
        if request.id is not None:
            response["id"] = request.id
        body = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
        # The word can also be a string of the model's; then there is nothing to count, and the body stays.
        if b"null" in body and _count_non_finite(outputs, tensors):
            body = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
        return body

    def _encode_in_pieces(self, request: InferRequest, result: InferResult) -> bytearray:
        head = self._head if request.id is None else {**self._head, "id": request.id}
        body = bytearray(orjson.dumps(head)[:-1] + b',"outputs":[')
        for index, (each, tensor) in enumerate(zip(request.outputs, result.tensors, strict=True)):
            output: dict[str, object] = {
                "name": each.spec.name,
                "shape": tensor.shape,
                "datatype": each.spec.datatype.name,
            }
            _count_non_finite([output], [tensor])
            body += (b"," if index else b"") + orjson.dumps(output)[:-1] + b',"data":'
            json_pieces.write(tensor, body)
            body += b"}"
        body += b"]}"
        return body

    def _tensor(
        self, given: dict[str, Any], strict: bool, arrays: dict[str, json_pieces.Array], taken: int
    ) -> "np.ndarray[Any, Any]":
        """The input's tensor; those before it take `taken` bytes."""
        spec = self._by_name[given["name"]]
        shape = spec.check(given.get("datatype"), given.get("shape"))
        if "parameters" in given:
            _check_parameters(f"input {spec.name!r}", given, ("binary_data_size",))
        if not spec.datatype.in_json:
            raise BadRequest(
                f"input {spec.name!r}: {spec.datatype.name} has no form in JSON; it needs {NO_BINARY}. "
                "Export the model with an FP32 input"
            )
        data = given.get("data")
        if not isinstance(data, list):
            cut_out = arrays.get(data) if isinstance(data, str) else None
            if cut_out is not None:
                return self._tensor_of_pieces(spec, shape, cut_out, taken)
            raise BadRequest(f"input {spec.name!r}: data must be a list, given {_kind(data)}")
        flat = _flatten(spec, data, shape)
        self._check_room(spec, taken, len(flat))
        if spec.datatype.name == "BYTES":
            return _strings(spec, flat).reshape(shape)
        if strict or spec.datatype.name == "BOOL":
            _check_booleans(spec, flat)
        return np.ndarray(shape, spec.datatype.dtype, _pack(spec, flat))

    def _tensor_of_pieces(
        self, spec: TensorSpec, shape: tuple[int, ...], array: json_pieces.Array, taken: int
    ) -> "np.ndarray[Any, Any]":
        if spec.datatype.name == "BYTES":
            raise BadRequest(f"input {spec.name!r}: data has numbers; BYTES takes strings")
        return json_pieces.tensor(spec, shape, array, _pack_checked, partial(self._check_room, spec, taken))

    def _check_room(self, spec: TensorSpec, taken: int, count: int) -> None:
        """Raises TooLarge if so many elements beside `taken` bytes are more than there may be."""
        dtype = spec.datatype.dtype
        assert dtype is not None  # else it has no form in JSON
        size = taken + count * element_size(dtype)
        if size > self._memory:
            raise TooLarge(f"input {spec.name!r}: {tensors_too_large(size, self._memory)}")

    def _outputs(self, request: dict[str, Any]) -> tuple[RequestedOutput, ...]:
        if self._all_in_json and request.get("outputs") is None:
            return self._all_outputs
        asked = _objects(request, "outputs") if request.get("outputs") is not None else []
        # First the names, by which no more are left than the model has outputs.
        specs = self._signature.select([each["name"] for each in asked])
        for each in asked:
            if "parameters" in each:
                _check_parameters(f"output {shown(each['name'])}", each, ("binary_data", "classification"))
        selected = tuple(map(RequestedOutput, specs)) if asked else self._all_outputs
        for spec in (each.spec for each in selected):
            if not spec.datatype.in_json:
                raise BadRequest(
                    f"output {spec.name!r}: {spec.datatype.name} has no form in JSON; it needs {NO_BINARY}. "
                    "Name other outputs in the request's outputs, or export the model with an FP32 output"
                )
        return selected


def _whole(view: memoryview) -> json_pieces.Buffer:
    """What the view shows, uncopied where it shows all of its object: bytes can be searched and views cannot."""
    behind = view.obj
    return behind if isinstance(behind, (bytes, bytearray)) and len(behind) == view.nbytes else bytes(view)


def _objects(request: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The request's list of objects that each have a name."""
    value = request.get(field)
    if not isinstance(value, list):
        raise BadRequest(f"{field} must be a list of objects, given {_kind(value)}")
    for index, each in enumerate(value):
        if not isinstance(each, dict):
            raise BadRequest(f"{field}[{index}] must be an object, given {_kind(each)}")
        if not isinstance(each.get("name"), str):
            raise BadRequest(f"{field}[{index}].name must be a string, given {_kind(each.get('name'))}")
    return value


def _check_parameters(where: str, given: dict[str, Any], unsupported: tuple[str, ...]) -> None:
    """Parameters that would change the answer are refused while they are not supported; others are passed over."""
    parameters = given.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise BadRequest(f"{where}: parameters must be an object, given {_kind(parameters)}")
    for name in unsupported:
        if parameters.get(name):
            what = "this server does not offer" if name == "classification" else f"belongs to {NO_BINARY}"
            raise BadRequest(f"{where}: parameter {name!r} {what}")


def _flatten(spec: TensorSpec, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """The elements in row-major order of data that is flat or nested exactly as the shape says."""
    if data and isinstance(data[0], list):
        for axis, size in enumerate(shape):
            if axis:
                if set(map(type, data)) - {list}:
                    raise BadRequest(
                        f"input {spec.name!r}: data is nested unevenly; expected shape {shown(list(shape))}"
                    )
                lengths = set(map(len, data))
                if lengths - {size}:
                    _wrong_shape(spec, shape, f"a list of {min(lengths - {size})} at depth {axis}")
                data = list(chain.from_iterable(data))
            elif len(data) != size:
                _wrong_shape(spec, shape, f"a list of {len(data)} at depth 0")
    if len(data) != math.prod(shape):
        raise BadRequest(
            f"input {spec.name!r}: shape {shown(list(shape))} has {math.prod(shape)} elements, data has {len(data)}"
        )
    return data


def _wrong_shape(spec: TensorSpec, shape: tuple[int, ...], given: str) -> NoReturn:
    raise BadRequest(f"input {spec.name!r}: expected data nested as shape {shown(list(shape))}, given {given}")


def _pack_checked(spec: TensorSpec, flat: list[Any], first: int) -> bytes:
    """Packs elements of which nothing is known; `first` is the index of the first of them in the tensor."""
    if spec.datatype.name == "BOOL" or bool in set(map(type, flat)):
        _check_booleans(spec, flat, first)
    return _pack(spec, flat, first)


@lru_cache(maxsize=128)
def _layout(count: int, packing: str) -> struct.Struct:
    # "<": standard sizes and checked ranges; with native ones an FP32 overflow would pass as infinity.
    return struct.Struct(f"<{count}{packing}")


def _pack(spec: TensorSpec, flat: list[Any], first: int = 0) -> bytes:
    # Not struct.pack: behind a first argument Python copies the list twice.
    layout = _layout(len(flat), spec.datatype.packing)
    with contextlib.suppress(struct.error, OverflowError):
        return layout.pack(*flat)
    if spec.datatype.is_float and None in flat:
        flat = [math.nan if each is None else each for each in flat]
        with contextlib.suppress(struct.error, OverflowError):
            return layout.pack(*flat)
    _check(spec, flat, first, lambda some: _packs(spec, some))
    return layout.pack(*flat)


def _packs(spec: TensorSpec, some: list[Any]) -> bool:
    try:
        _layout(len(some), spec.datatype.packing).pack(*some)
    except (struct.error, OverflowError):
        return False
    return True


def _strings(spec: TensorSpec, flat: list[Any]) -> "np.ndarray[Any, Any]":
    _check(spec, flat, 0, lambda some: set(map(type, some)) == {str})
    tensor: np.ndarray[Any, Any] = np.empty(len(flat), dtype=object)
    tensor[:] = flat
    return tensor


def _check_booleans(spec: TensorSpec, flat: list[Any], first: int = 0) -> None:
    if spec.datatype.name == "BOOL":
        _check(spec, flat, first, lambda some: set(map(type, some)) == {bool})
    else:
        _check(spec, flat, first, lambda some: bool not in set(map(type, some)))


def _check(spec: TensorSpec, flat: list[Any], first: int, right: Callable[[list[Any]], bool]) -> None:
    """Raises BadRequest for the first element that is not `right`, which is asked about several or a single one.

    `first` is the index of the first of them in the tensor.
    """
    for start in range(0, len(flat), _SLICE):
        some = flat[start : start + _SLICE]
        if right(some):
            continue
        for index, each in enumerate(some, first + start):
            if not right([each]):
                raise _wrong_element(spec, index, each)


def _wrong_element(spec: TensorSpec, index: int, element: object) -> BadRequest:
    given = f"element {index} is {shown(element)}" + ("" if element is None else f" ({_kind(element)})")
    return BadRequest(f"input {spec.name!r}: {given}; {spec.datatype.name} takes {_takes(spec.datatype)}")


def _takes(datatype: Datatype) -> str:
    if datatype.name == "BOOL":
        return "true and false"
    if datatype.name == "BYTES":
        return "strings"
    if datatype.is_float:
        return "numbers within its range, and null for NaN"
    limits = np.iinfo(datatype.dtype)
    return f"whole numbers from {limits.min} to {limits.max}"


def _data(tensor: "np.ndarray[Any, Any]") -> object:
    return tensor.ravel().tolist() if tensor.dtype.hasobject else tensor.ravel()


def _count_non_finite(outputs: list[dict[str, object]], tensors: "list[np.ndarray[Any, Any]]") -> bool:
    found = False
    for output, tensor in zip(outputs, tensors, strict=True):
        if tensor.dtype.kind == "f":
            count = int(tensor.size - np.isfinite(tensor).sum())
            if count:
                output["parameters"] = {"non_finite": count}
                found = True
    return found


def _kind(value: object) -> str:
    """What JSON calls the value's type."""
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a whole number",
        float: "a fraction",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
