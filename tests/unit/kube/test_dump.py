"""JSON as the API server writes it: its own escapes, so that what it stores does not change when it writes it anew."""

import json

from podium.kube.transport import dump

GO_ESCAPES = "<a> & b\u2028\u2029"


def test_characters_that_go_escapes_are_sent_escaped() -> None:
    assert dump({"data": GO_ESCAPES}) == b'{"data":"\\u003ca\\u003e \\u0026 b\\u2028\\u2029"}'


def test_the_object_stays_the_same() -> None:
    content = {"data": GO_ESCAPES, "nested": [{"ü": '\\u003c " \n \x7f'}]}

    assert json.loads(dump(content)) == content


def test_keys_are_in_order_as_go_writes_them() -> None:
    assert dump({"b": {"d": 1, "c": 2}, "a": []}) == b'{"a":[],"b":{"c":2,"d":1}}'


def test_half_a_surrogate_pair_which_no_API_server_takes_is_sent_as_a_question_mark() -> None:
    content = {"status": {"message": "file \udcff is new", "\ud800": [{"deep": "\udfff"}, 7, None]}}

    assert dump(content) == b'{"status":{"?":[{"deep":"?"},7,null],"message":"file ? is new"}}'
