"""What is read of an object, whatever somebody has put into it: all of it, or its metadata and the reason."""

import json
from typing import Any

import pytest

from podium.kube import reading
from podium.kube.reading import NODES, NotJson, read_event, read_object, read_page, unreadable

META = {"name": "r", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"podium.dev/model": "m"}}
HEAD = b'{"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":' + json.dumps(META).encode() + b',"data":'

# What a real API server takes as a ControllerRevision's data, and sends as it is.
JUNK = {
    "half a surrogate pair": rb'{"a":"\ud800"}',
    "half a surrogate pair in a key": rb'{"\udfff":1}',
    "bytes that are no UTF-8": b'{"a":"\xff\xfe"}',
    "2,000 nested objects": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "450,000 empty lists": b'{"a":[' + b"[]," * 450_000 + b"1]}",
}


def revision(data: bytes) -> bytes:
    return HEAD + data + b',"revision":1}'


@pytest.mark.parametrize("data", JUNK.values(), ids=JUNK)
def test_of_what_cannot_be_read_the_metadata_is_known_and_the_reason(data: bytes) -> None:
    found = read_object(revision(data))

    assert found["metadata"] == META
    assert found["kind"] == "ControllerRevision"
    assert "data" not in found
    assert unreadable(found)


@pytest.mark.parametrize("data", JUNK.values(), ids=JUNK)
def test_a_watch_goes_on_after_an_event_of_such_an_object(data: bytes) -> None:
    found = read_event(b'{"type":"MODIFIED","object":' + revision(data) + b"}")

    assert found["type"] == "MODIFIED"
    assert found["object"]["metadata"] == META
    assert unreadable(found["object"])


def test_a_page_is_read_with_all_that_is_well_in_it() -> None:
    items = [revision(b'{"n":1}'), *(revision(data) for data in JUNK.values()), revision(b'{"n":2}')]
    text = b'{"kind":"L","metadata":{"resourceVersion":"9","continue":"c"},"items":[' + b",\n ".join(items) + b"]}\n"

    page = read_page(text)

    assert page["metadata"] == {"resourceVersion": "9", "continue": "c"}
    assert [item["metadata"] for item in page["items"]] == [META] * len(items)
    assert [item.get("data") for item in page["items"]] == [{"n": 1}, *[None] * len(JUNK), {"n": 2}]
    assert [bool(unreadable(item)) for item in page["items"]] == [False, *[True] * len(JUNK), False]


@pytest.mark.parametrize(
    "data",
    [b'{"a":"}]\\",\\\\"}', b'{ "a" : [ ] , "b":{}\n}', '{"ü":"\u2028 \U0001f600"}'.encode(), rb'{"a":"\ud83d\ude00"}'],
)
def test_a_page_is_taken_apart_where_its_items_end_and_nowhere_else(data: bytes) -> None:
    text = b'{"items":[' + revision(data) + b"," + revision(JUNK["half a surrogate pair"]) + b"]}"

    read = read_page(text)["items"][0]

    assert read["data"] == json.loads(data)


def test_what_is_well_is_read_in_full_however_long_its_texts_are() -> None:
    prose = "a, b, [c], {d} " * 50_000

    found = read_object(revision(json.dumps({"inputs": prose}).encode()))

    assert found["data"] == {"inputs": prose}
    assert not unreadable(found)


def test_the_reason_says_what_is_wrong() -> None:
    assert "surrogate" in unreadable(read_object(revision(JUNK["half a surrogate pair"])))
    assert f"no more than {NODES}" in unreadable(read_object(revision(JUNK["450,000 empty lists"])))


def test_metadata_that_cannot_be_read_either_is_known_but_for_that_field() -> None:
    text = b'{"metadata":{"name":"a","annotations":{"x":"\xff"},"managedFields":[[[]]],"resourceVersion":"3"},"data":1}'

    assert read_object(text)["metadata"] == {"name": "a", "resourceVersion": "3"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        b"[]",
        b'"ok"',
        b"null",
        b"{",
        b'{"a":"\xff"',
        b'{"a":1}{"b":2}',
        b"{'a':1}",
    ],
)
@pytest.mark.parametrize("read", [read_object, read_event, read_page])
def test_what_is_not_one_whole_object_is_none(text: bytes, read: Any) -> None:
    with pytest.raises(NotJson):
        read(text)


def test_an_event_that_was_cut_off_is_not_taken_for_an_object_that_cannot_be_read() -> None:
    whole = b'{"type":"MODIFIED","object":' + revision(b'{"a":{"b":1}}') + b"}"

    for length in range(1, len(whole)):
        with pytest.raises(NotJson):
            read_event(whole[:length])


def test_numbers_that_are_none_say_nothing() -> None:
    assert [reading.number(text) for text in ("12", None, "", "abc", "1.5", ["1"], "9" * 5000)] == [
        12,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
