"""What never comes to its end: lines of a head, of trailers and of chunks, and heads that wait."""

import socket

import pytest

from podium_serving.http.head import MAX_HEAD, MaxBody
from podium_serving.http.message import Request, Response
from podium_serving.http.reader import Reader
from tests.unit.serving.clock import Clock
from tests.unit.serving.harness import Server

PIECE = 16 * 1024
START = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = START + b"transfer-encoding: chunked\r\n\r\n"


def reader(requests: list[Request]) -> Reader:
    return Reader(MaxBody(2**30), Clock(), requests.append, lambda: None)


def taken(start: bytes, piece: bytes) -> tuple[int, Response | None]:
    """Bytes that are taken of one piece after the other, of 2 MiB in all, and the answer that ends it."""
    requests: list[Request] = []
    parts = reader(requests)
    parts.feed(start)
    size = 0
    while not (requests and requests[-1].refusal) and size < 2 * 2**20:
        parts.feed(piece)
        size += len(piece)
    return size, requests[-1].refusal if requests else None


LINES = {
    "a header": (START + b"a: ", b"b"),
    "the first header": (b"POST / HTTP/1.1\r\n", b"b"),
    "a header's name": (START + b"a", b"b"),
    "white space before a header's value": (START + b"a:", b" "),
    "white space behind the target": (b"POST / ", b" "),
    "the target": (b"POST /", b"a"),
    "a header behind another request": (START + b"content-length: 3\r\n\r\nabc" + START + b"a: ", b"b"),
    "a trailer": (CHUNKED + b"1\r\nx\r\n0\r\na: ", b"b"),
    "a trailer behind another": (CHUNKED + b"1\r\nx\r\n0\r\na: b\r\nc: d\r\ne: ", b"b"),
    "the size of a chunk": (CHUNKED, b"0"),
    "the size of a second chunk": (CHUNKED + b"1\r\nx\r\n", b"0"),
    "the extension of a chunk": (CHUNKED + b"1;a=", b"b"),
}


@pytest.mark.parametrize(("start", "byte"), LINES.values(), ids=LINES)
def test_a_line_without_an_end_is_refused_soon(start: bytes, byte: bytes) -> None:
    size, refusal = taken(start, byte * PIECE)
    assert refusal is not None
    assert (refusal.status, size <= MAX_HEAD + 2 * PIECE) == (431, True)
    assert b"65536 bytes" in refusal.body


@pytest.mark.parametrize("size", [1, 1000, MAX_HEAD // 2])
def test_a_header_a_trailer_and_an_extension_may_come_in_pieces_of_any_size(size: int) -> None:
    long = b"b" * (MAX_HEAD // 3)
    head = START + b"a: %b\r\ntransfer-encoding: chunked\r\n\r\n" % long
    sent = head + b"1;a=%b\r\nx\r\n0\r\nc: %b\r\n\r\n" % (long, long)
    requests: list[Request] = []
    parts = reader(requests)
    for start in range(0, len(sent), size):
        parts.feed(sent[start : start + size])
    assert [(request.refusal, bytes(request.body)) for request in requests] == [(None, b"x")]


def test_a_body_without_line_ends_is_no_line_even_if_another_request_begins_behind_it() -> None:
    requests: list[Request] = []
    parts = reader(requests)
    parts.feed(START + b"content-length: %d\r\n\r\n" % (4 * MAX_HEAD))
    parts.feed(b"x" * MAX_HEAD)
    parts.feed(b"\n" + b"x" * (3 * MAX_HEAD - 1) + b"GET / HT")
    parts.feed(b"TP/1.1\r\nhost: x\r\n\r\n")
    assert [request.refusal for request in requests] == [None, None]


def test_the_server_answers_a_header_without_an_end_with_431(echo: Server) -> None:
    with socket.create_connection(("127.0.0.1", echo.port), timeout=30) as connection:
        connection.sendall(START + b"a: " + b"b" * 2**20)
        assert connection.recv(13) == b"HTTP/1.1 431 "
