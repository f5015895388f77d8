"""Packed values stand for what they hold: in comparisons, in JSON, and wherever they are taken in again."""

import orjson
import pytest

from podium.kube.transport import dump
from podium.manifests.canonical import digest
from podium.packed import pack, to_json, unpacked

VALUE = {"b": [1, {"z": None, "a": "<ü>"}], "a": 1.5}


def test_equal_values_are_equal_and_one_text_whatever_the_order_of_their_keys() -> None:
    first, second = pack(VALUE), pack(dict(reversed(VALUE.items())))
    assert first == second
    assert first is second, "a thousand equal ones cost as much as one"
    assert pack({**VALUE, "a": 2}) != first


def test_packing_and_unpacking_changes_nothing_and_packing_twice_is_packing_once() -> None:
    assert pack(VALUE).unpack() == VALUE
    assert pack(pack(VALUE)) == pack(VALUE)
    assert (unpacked(pack(VALUE)), unpacked(VALUE)) == (VALUE, VALUE)


def test_an_object_with_a_packed_part_is_written_and_hashed_as_if_it_were_whole() -> None:
    whole, part = {"spec": {"template": VALUE, "x": 1}}, {"spec": {"x": 1, "template": pack(VALUE)}}
    assert to_json(part) == to_json(whole)
    assert orjson.loads(to_json(part)) == whole
    assert dump(part) == dump(whole)
    assert digest(part) == digest(whole)


def test_a_value_much_like_another_costs_little_more_than_what_tells_them_apart() -> None:
    first, second = ({"env": [{"name": f"V{i}", "value": f"{i * 7919}"} for i in range(100)], "n": n} for n in (1, 2))
    pack(first)
    assert (pack(second).unpack(), len(pack(second).compressed) < len(to_json(second)) / 2) == (second, True)


def test_what_is_no_json_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="object"):
        to_json({"a": object()})


def test_what_is_unpacked_is_the_readers_own() -> None:
    packed = pack({"a": []})
    packed.unpack()["a"].append(1)
    assert packed.unpack() == {"a": []}
