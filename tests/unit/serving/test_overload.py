"""Bad requests, rude clients and too many of them: the server answers or closes, and serves the next one."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.serving.bad_requests import BODY, corpus
from tests.unit.serving.harness import JSON_TYPES, Server, identity, serving

REQUEST = b"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    path = folder / "overload.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    with serving(path, PODIUM_READ_SECONDS=1) as running:
        yield running


def exchange(server: Server, data: bytes) -> bytes:
    """All that comes back on one connection, whose client says when it has sent everything."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def served(server: Server) -> bool:
    return statuses(exchange(server, REQUEST)) == [200]


def test_there_are_at_least_two_hundred_bad_requests() -> None:
    assert len(corpus()) >= 200


def test_every_bad_request_is_refused_or_cut_off_and_the_next_one_is_served(server: Server) -> None:
    wrong = {}
    for name, request in corpus().items():
        found = statuses(exchange(server, request))
        # Several answers where what follows a refused request is one of its own.
        if any(status not in (400, 404, 405, 408, 413, 415, 431, 501, 505) for status in found):
            wrong[name] = found
    assert wrong == {}
    assert served(server)
    assert not [line for line in server.lines if "exception" in json.loads(line)]


def test_thousands_of_idle_connections_hold_up_nobody(server: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(400)]
    half = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(400)]
    try:
        for connection in half:
            connection.sendall(REQUEST[:-5])
        assert served(server)
        for connection in half:
            connection.sendall(REQUEST[-5:])
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
    finally:
        for connection in (*idle, *half):
            connection.close()
    assert served(server)


def test_half_closed_and_reset_connections_harm_nobody(server: Server) -> None:
    for data in (b"", b"G", REQUEST[:40], REQUEST[:-1], REQUEST, REQUEST * 50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        exchange(server, data)
    assert served(server)
