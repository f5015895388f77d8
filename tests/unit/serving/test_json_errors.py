"""JSON tensors with a wrong element: which one is named, and what finding it takes."""

import json
from typing import Any

import pytest

from podium_serving import json_codec
from podium_serving.datatypes import BY_NAME
from podium_serving.json_codec import LARGE, JsonCodec
from podium_serving.signature import BadRequest, Signature, TensorSpec

SLICE = 1024
"""So many elements are looked at together."""
PLACES = [0, 1, 1023, 1024, 1025, 2047, 2048, 2999]
NULL_OR_NUMBER = "numbers within its range, and null for NaN"


def codec(datatype: str) -> JsonCodec:
    spec = TensorSpec("x", BY_NAME[datatype], None)
    return JsonCodec(Signature((spec,), (spec,)), "model", "1")


def body(datatype: str, data: list[Any], shape: list[int] | None = None) -> memoryview:
    given = {"name": "x", "datatype": datatype, "shape": shape or [len(data)], "data": data}
    return memoryview(json.dumps({"inputs": [given]}, separators=(",", ":")).encode())


def refusal(datatype: str, data: list[Any], shape: list[int] | None = None) -> str:
    with pytest.raises(BadRequest) as caught:
        codec(datatype).decode(body(datatype, data, shape))
    return str(caught.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("datatype", "right", "wrong", "told"),
    [
        ("FP32", 0.5, "a", f"'a' (a string); FP32 takes {NULL_OR_NUMBER}"),
        ("FP32", 0.5, 1e39, f"1e+39 (a fraction); FP32 takes {NULL_OR_NUMBER}"),
        ("FP16", None, 65536, f"65536 (a whole number); FP16 takes {NULL_OR_NUMBER}"),
        ("FP64", 1, True, f"true (a boolean); FP64 takes {NULL_OR_NUMBER}"),
        ("INT8", 1, 128, "128 (a whole number); INT8 takes whole numbers from -128 to 127"),
        (
            "INT64",
            1,
            0.5,
            "0.5 (a fraction); INT64 takes whole numbers from -9223372036854775808 to 9223372036854775807",
        ),
        ("INT64", 1, None, "null; INT64 takes whole numbers from -9223372036854775808 to 9223372036854775807"),
        ("BOOL", False, 0, "0 (a whole number); BOOL takes true and false"),
        ("BYTES", "a", 1, "1 (a whole number); BYTES takes strings"),
    ],
)
def test_the_first_wrong_element_is_named_wherever_it_stands(
    datatype: str, right: object, wrong: object, told: str, place: int
) -> None:
    data = [right] * 3000
    data[place] = data[-1] = wrong
    assert refusal(datatype, data) == f"input 'x': element {place} is {told}"


def test_a_list_among_numbers_is_told_as_uneven_nesting() -> None:
    rows: list[Any] = [[1]] * 3000
    rows[2000] = 1
    assert refusal("FP32", rows, [3000, 1]) == "input 'x': data is nested unevenly; expected shape [3000, 1]"


@pytest.mark.parametrize(("datatype", "wrong"), [("FP32", "a"), ("INT8", 999)])
def test_a_wrong_element_at_the_end_is_looked_for_in_slices_and_only_in_the_last_one_by_one(
    datatype: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = (LARGE - 100) // 2
    asked = []
    packs = json_codec._packs

    def counted(spec: TensorSpec, some: list[Any]) -> bool:
        asked.append(len(some))
        return packs(spec, some)

    monkeypatch.setattr(json_codec, "_packs", counted)
    refusal(datatype, [0] * (count - 4) + [wrong])
    assert sum(asked) <= count + SLICE
    assert len(asked) <= count // SLICE + 1 + SLICE


def test_whoever_reads_strings_counts_their_characters() -> None:
    assert codec("BYTES").decode(body("BYTES", ["", "ab", "\u00e9\u4e2d\n"])).characters == 5
    assert codec("FP32").decode(body("FP32", [1, 2])).characters == 0
