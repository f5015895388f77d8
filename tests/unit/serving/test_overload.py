"""Bad requests, rude clients and too many of them: the server answers or closes, and serves the next one."""

import errno
import json
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.serving.bad_requests import BODY, bad_json, corpus, malformed_http
from tests.unit.serving.harness import JSON_TYPES, Server, identity, serving

IDLE = 10_000
REQUEST = b"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    path = folder / "overload.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    return path


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with serving(model, PODIUM_READ_SECONDS=1) as running:
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
        except OSError as error:
            # ENOTCONN is what `shutdown` says of a connection that was reset already.
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise
    return received


def statuses(received: bytes) -> list[int]:
    """Those of the answers: an interim one only asks whether the client is still there."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", received)]


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def served(server: Server) -> bool:
    return statuses(exchange(server, REQUEST)) == [200]


def test_at_least_two_hundred_requests_are_malformed_as_http_whatever_they_carry() -> None:
    assert len(set(malformed_http().values())) >= 200
    assert len(set(bad_json().values())) >= 50
    assert corpus() == malformed_http() | bad_json()


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


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have as many connections as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        pytest.fail(
            f"a process may have {hard} files here, too few for {IDLE:,} idle connections: run the tests where "
            f"`ulimit -Hn` is at least {IDLE + 1000} (by LimitNOFILE= of a systemd unit, `docker run --ulimit "
            f"nofile={IDLE + 1000}`, or as root `ulimit -n {IDLE + 1000}`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections_hold_up_nobody(model: Path) -> None:
    with serving(model) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(IDLE)]
        half = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(400)]
        try:
            for connection in half:
                connection.sendall(REQUEST[:-5])
            assert served(server)
            for connection in half:
                connection.sendall(REQUEST[-5:])
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
            idle[-1].sendall(REQUEST)
            assert idle[-1].recv(15) == b"HTTP/1.1 200 OK"
        finally:
            for connection in (*idle, *half):
                connection.close()
        assert served(server)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be(model: Path) -> None:
    running = Server(model, prefix=("prlimit", "--nofile=100:400")).wait_until_ready()
    try:
        limits = Path(f"/proc/{running.process.pid}/limits").read_text()
        assert re.search(r"Max open files +400 +400 ", limits)
    finally:
        running.close()


def test_beyond_the_limit_of_open_files_connections_are_cut_off_and_the_others_served(model: Path) -> None:
    running = Server(model, prefix=("prlimit", "--nofile=200:200")).wait_until_ready()
    connections = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(400)]
    try:
        began, used = time.monotonic(), cpu_seconds(running.process.pid)
        # Beyond the limit: whoever is accepted last is let go of at once.
        assert connections[-1].recv(1) == b""
        for connection in connections[:50]:
            connection.sendall(REQUEST)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.02)
        # It does not go round and round over what it cannot accept.
        assert cpu_seconds(running.process.pid) - used < (time.monotonic() - began) / 2
        for connection in connections:
            connection.close()
        assert any(served(running) for _ in range(100))
        assert not [line for line in running.lines if "exception" in json.loads(line)]
    finally:
        for connection in connections:
            connection.close()
        running.close()


def test_a_thousand_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    bodies = [BODY.replace(b"{", b'{"id":"%d",' % number, 1) for number in range(1000)]
    head = b"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    received = exchange(server, b"".join(head % len(body) + body for body in bodies))
    assert re.findall(rb'"id":"(\d+)"', received) == [b"%d" % number for number in range(1000)]
    assert served(server)


def test_half_closed_and_reset_connections_harm_nobody(server: Server) -> None:
    for data in (b"", b"G", REQUEST[:40], REQUEST[:-1], REQUEST, REQUEST * 50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        exchange(server, data)
    assert served(server)
