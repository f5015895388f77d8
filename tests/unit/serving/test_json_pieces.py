"""Large JSON bodies: read and written in pieces they mean what they mean as a whole."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from podium_serving import json_pieces
from podium_serving.datatypes import BY_NAME
from podium_serving.inference import InferRequest, InferResult, RequestedOutput
from podium_serving.json_codec import JsonCodec
from podium_serving.signature import BadRequest, Signature, TensorSpec, TooLarge

X = TensorSpec("x", BY_NAME["FP32"], None)
N = TensorSpec("n", BY_NAME["INT64"], None)
B = TensorSpec("b", BY_NAME["BOOL"], None)
SIGNATURE = Signature((X,), (X,))
CUT = json_pieces.cut


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and pieces have a few bytes."""
    cut, tensor, write = json_pieces.cut, json_pieces.tensor, json_pieces.write
    monkeypatch.setattr(json_pieces, "cut", lambda body: cut(body, smallest=2))
    monkeypatch.setattr(json_pieces, "tensor", lambda *given: tensor(*given, piece=9))
    monkeypatch.setattr(json_pieces, "write", lambda values, into: write(values, into, elements=3, characters=5))
    monkeypatch.setattr(json_pieces, "_PAUSE_SECONDS", 0)


def decoded(body: bytes, large: int, signature: Signature = SIGNATURE) -> "np.ndarray[Any, Any] | None":
    """The input's tensor; None if it is refused."""
    codec = JsonCodec(signature, "model", "1", large)
    try:
        (tensor,) = codec.decode(memoryview(body)).feeds.values()
    except BadRequest:
        return None
    return tensor


def agree(body: bytes, signature: Signature = SIGNATURE) -> None:
    whole, pieces = decoded(body, 2**30, signature), decoded(body, 0, signature)
    assert (whole is None) == (pieces is None), body
    if whole is not None and pieces is not None:
        assert (whole.dtype, whole.shape, whole.tobytes()) == (pieces.dtype, pieces.shape, pieces.tobytes())


def request(shape: list[int], data: str, datatype: str = "FP32", name: str = "x") -> bytes:
    return f'{{"inputs": [{{"name": "{name}", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}'.encode()


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[list[int], str]:
    shape = draw(shapes)
    values = np.array(
        draw(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=np.prod(shape).item()))
        + [0.0] * np.prod(shape).item()
    )[: np.prod(shape).item()].reshape(shape)
    data = json.dumps(
        (values if draw(st.booleans()) else values.ravel()).tolist(), indent=draw(st.sampled_from([None, 1]))
    )
    return shape, data


@settings(deadline=None)
@given(tensors())
def test_numbers_read_in_pieces_are_those_read_as_a_whole(given: tuple[list[int], str]) -> None:
    shape, data = given
    agree(request(shape, data))
    assert decoded(request(shape, data), 0) is not None


@settings(max_examples=1000, deadline=None)
@given(tensors(), st.data())
def test_what_is_wrong_is_refused_in_pieces_as_it_is_as_a_whole(
    given: tuple[list[int], str], data: st.DataObject
) -> None:
    shape, text = given
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        until = data.draw(st.integers(at, min(len(text), at + 2)))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["", "[", "]", ",", "1", " ", "-", ".", "null", "true", "e", "][", "],["]))
            + text[until:]
        )
    agree(request(shape, text))


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2], "[[1,2],[3,4]]"),
        ([2, 2], "[[1,2],3,4]"),
        ([2, 2], "[1[,2],[3,4]]"),
        ([2, 2], "[[1,2][3,4]]"),
        ([2, 2], "[[1,2],[3,4],]"),
        ([2, 2], "[[1,2],[3,4]"),
        ([2, 2], "[[1,2],[3,4]]]"),
        ([2, 2], "[[1,2,3],[4]]"),
        ([2, 2], "[[[1,2],[3,4]]]"),
        ([4], "[[1,2],[3,4]]"),
        ([4], "[[1,2,3,4]]"),
        ([4], "[1,2,3]"),
        ([4], "[1,2,3,4,5]"),
        ([4], "[1,2,3,]"),
        ([4], "[,1,2,3]"),
        ([4], "[1,2,3,1e39]"),
        ([4], "[1,2,3,true]"),
        ([4], "[1,null,3,null]"),
        ([4], "[1,2,3,NaN]"),
        ([2, 1], "[[1],[]]"),
        ([2, 1], "[[],[1]]"),
        ([0], "[]"),
        ([0], "[,]"),
        ([0], "[1]"),
        ([2, 0], "[[],[]]"),
        ([2, 0], "[[],[],]"),
        ([2, 0], "[[1],[]]"),
        ([2, 0], "[]"),
        ([0, 2], "[[1,2]]"),
        ([0, 2], "[ ]"),
        ([2**40, 2**20], "[[1,2]]"),
        ([1] * 60, "[" * 60 + "1" + "]" * 60),
        ([], "[1]"),
        ([], "[[1]]"),
        ([2], "[1,\f2]"),
        ([2], "[1 ,\r\n\t2 ]"),
        ([2], "[01,2]"),
        ([2], "[1,2] x"),
        ([2], '[1,2], "data": [3,4]'),
        ([2], '[1,2], "more": {"data": [3,4]}'),
        ([2], '[1,2], "name": "x", "parameters": {"data": "x"}'),
        ([2], '["1",2]'),
        ([2], '"data"'),
    ],
)
def test_both_ways_agree_on(shape: list[int], data: str) -> None:
    agree(request(shape, data))


@pytest.mark.parametrize(
    "data", ["[1,2,3,4]", "[1,2.0,3,4]", "[1,true,3,4]", "[1,9223372036854775808,3,4]", "[1,null,2,3]"]
)
def test_both_ways_agree_on_whole_numbers(data: str) -> None:
    agree(request([4], data, "INT64", "n"), Signature((N,), (N,)))


@pytest.mark.parametrize("data", ["[true,false,true]", "[true,1,true]", "[true,false,null]"])
def test_both_ways_agree_on_booleans(data: str) -> None:
    agree(request([3], data, "BOOL", "b"), Signature((B,), (B,)))


def test_a_wrong_element_is_named_by_its_place_in_the_whole_tensor() -> None:
    with pytest.raises(BadRequest, match=r"input 'x': element 70 is true \(a boolean\); FP32 takes numbers"):
        JsonCodec(SIGNATURE, "model", "1", 0).decode(memoryview(request([71], json.dumps([1] * 70 + [True]))))


def test_what_is_no_json_is_told_where_it_is() -> None:
    body = request([4], "[1,2,x,4]")
    with pytest.raises(BadRequest, match=f"near byte {body.index(b'x,4')}"):
        JsonCodec(SIGNATURE, "model", "1", 0).decode(memoryview(body))


def test_what_is_left_beside_the_numbers_is_bounded_and_the_error_tells_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    body = request([1], '["' + "a" * json_pieces.REST + '"]')
    with pytest.raises(TooLarge, match=r"bytes of JSON beside its numbers.*send fewer rows at once"):
        json_pieces.cut(body)


class Counted(bytes):
    """Counts how often something is looked for in it."""

    searches = 0

    def find(self, *given: Any) -> int:
        self.searches += 1
        return super().find(*given)


def test_what_is_too_large_beside_its_numbers_is_not_looked_through_to_its_end() -> None:
    short, long = (Counted(b'"data":[' * count) for count in (1_000, 10_000))
    for body in (short, long):
        with pytest.raises(TooLarge):
            CUT(body, rest=4000)
    assert short.searches == long.searches


def numbers(count: int, data: bytes, shape: bytes = b"%d") -> bytes:
    return b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%b],"data":[%b]}]}' % (shape % count, data)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda size: b'"data":[' * (size // 8), id="arrays without an end"),
        pytest.param(lambda size: b"}" + b'"data":[' * (size // 8 - 1), id="arrays behind the only brace"),
        pytest.param(lambda size: b'"data"' * (size // 6), id="names alone"),
        pytest.param(lambda size: b'"data"' + b" " * size, id="white space behind a name"),
        pytest.param(lambda size: b'"data":' + b" " * size, id="white space before an array"),
        pytest.param(lambda size: b'"dat' * (size // 4), id="nearly names"),
        pytest.param(lambda size: numbers(size, b"," * size), id="commas"),
        pytest.param(lambda size: numbers(size // 5, b"null," * (size // 5 - 1) + b"null"), id="nulls"),
        pytest.param(lambda size: numbers(size // 5, b"true," * (size // 5 - 1) + b"true"), id="booleans"),
        pytest.param(lambda size: numbers(1, b"1" * size), id="one endless number"),
        pytest.param(lambda size: numbers(1, b"0." + b"1" * size), id="one endless fraction"),
        pytest.param(lambda size: numbers(size // 2, b"[" * size), id="brackets"),
        pytest.param(lambda size: numbers(size // 4, b"[1],[1" * (size // 6)), id="rows"),
        pytest.param(
            lambda size: numbers(size // 2, b"[" * 63 + b"1," * (size // 2 - 1) + b"1" + b"]" * 63, b"1," * 63 + b"%d"),
            id="many dimensions",
        ),
        pytest.param(lambda size: b'{"inputs":[%b{}]}' % (b'{"name":"x"},' * (size // 13)), id="inputs of one name"),
        pytest.param(lambda size: b'"' + rb"\"" * (size // 2), id="escapes"),
    ],
)
def test_no_body_takes_more_than_in_proportion_to_its_size(
    body: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    size = 2**19

    def seconds(given: bytes) -> float:
        """Of CPU."""
        began = time.process_time()
        decoded(given, 0)
        return time.process_time() - began

    bodies = body(4 * size - 200), body(size)
    # In turn, so that both meet the machine in the same state, and again where it has hit one of them alone.
    for _ in range(3):
        taken = [[seconds(each) for each in bodies] for _ in range(5)]
        large, small = (min(each) for each in zip(*taken, strict=True))
        if large < 9 * max(small, 0.001):
            break
    # In proportion it is 4 times, by the square 16 times; what takes less than a millisecond says nothing.
    assert large < 9 * max(small, 0.001)


def encoded(tensor: "np.ndarray[Any, Any]", large: int) -> Any:
    spec = TensorSpec("x", BY_NAME["BYTES" if tensor.dtype == object else "FP32"], None)
    call = InferRequest("an id", {}, (RequestedOutput(spec), RequestedOutput(X)))
    result = InferResult([tensor, np.zeros(1, dtype=np.float32)])
    return json.loads(JsonCodec(Signature((X,), (spec, X)), "model", "1", large).encode(call, result))


@settings(deadline=None)
@given(st.lists(st.floats(width=32) | st.just(float("nan"))))
@example([float("inf")])
@example([])
def test_answers_written_in_pieces_are_those_written_as_a_whole(values: list[float]) -> None:
    tensor = np.array(values, dtype=np.float32)
    assert encoded(tensor, 2**30) == encoded(tensor, -1)
    assert encoded(tensor.reshape(-1, 1).T, 2**30) == encoded(tensor.reshape(-1, 1).T, -1)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)))))
@example(['é🎯\x01"\\\n' * 3, "", "a" * 5, "b" * 6])
@example([])
def test_texts_written_in_pieces_are_those_written_as_a_whole(values: list[str]) -> None:
    tensor = np.empty(len(values), dtype=object)
    tensor[:] = values
    assert encoded(tensor, 2**30) == encoded(tensor, -1)


def test_no_more_than_some_characters_are_written_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    into = bytearray()
    monkeypatch.setattr(json_pieces.time, "sleep", lambda _: written.append(len(into)))
    tensor = np.empty(4, dtype=object)
    tensor[:] = ["a" * 22, "b", "c", "d" * 5]
    json_pieces.write(tensor, into)
    assert json.loads(into) == tensor.tolist()
    # Up to five characters and what stands around them: quotes, and a comma.
    assert max(end - start for start, end in zip([0, *written], written, strict=False)) <= 5 + 2 + 2 + 1
