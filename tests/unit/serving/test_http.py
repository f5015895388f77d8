"""HTTP/1.1 as clients and proxies rely on it: keep-alive, pipelining, limits, time-outs, refusals."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podium_serving.http.head import MaxBody
from podium_serving.http.message import Request
from podium_serving.http.reader import Reader
from tests.unit.serving.bad_requests import corpus
from tests.unit.serving.clock import Clock
from tests.unit.serving.harness import JSON_TYPES, Answer, Server, ask, identity, serving

INFER = "/v2/models/model/infer"


def body(*values: float) -> bytes:
    tensor = {"name": "x", "shape": [len(values) // 2, 2], "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


def raw(path: str, data: bytes = b"", method: str = "POST", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(data)}\r\n\r\n".encode() + data


@contextmanager
def dial(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def answers(connection: socket.socket, count: int) -> list[Answer]:
    """Reads that many responses off the connection, each by its content-length.

    An interim one stands for nothing: who is done with sending may be sent it to see whether he is still there.
    """
    stream = connection.makefile("rb")
    found: list[Answer] = []
    with stream:
        while len(found) < count:
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            if status == http.HTTPStatus.CONTINUE:
                continue
            length = int(headers["content-length"])
            found.append(Answer(status, {k.lower(): v for k, v in headers.items()}, stream.read(length)))
    return found


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended the connection; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(scope="module")
def small(folder: Path) -> Iterator[Server]:
    """A server with small limits: bodies of 1000 bytes, half a second without progress, one second of idling."""
    path = folder / "small.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    limits = {"PODIUM_MAX_BODY_BYTES": 1000, "PODIUM_READ_SECONDS": 0.5, "PODIUM_KEEP_ALIVE_SECONDS": 1}
    with serving(path, **limits) as server:
        yield server


def test_a_connection_serves_many_requests(echo: Server) -> None:
    with echo.connect() as connection:
        connection.connect()
        first_socket = connection.sock
        for value in range(20):
            answer = ask(connection, "POST", INFER, body(value, 0))
            assert answer.json["outputs"][0]["data"] == [float(value), 0.0]
            assert "connection" not in answer.headers
            assert connection.sock is first_socket


def test_pipelined_requests_are_answered_in_order(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(b"".join(raw(INFER, body(value, 0)) for value in range(200)))
        data = [answer.json["outputs"][0]["data"][0] for answer in answers(connection, 200)]
    assert data == list(range(200))


def test_pipelined_answers_keep_their_order_around_errors_and_other_paths(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(
            raw(INFER, body(1, 2))
            + raw(INFER, b"nonsense")
            + raw("/v2/health/live", method="GET")
            + raw("/nowhere", method="GET")
            + raw(INFER, body(3, 4))
        )
        assert [answer.status for answer in answers(connection, 5)] == [200, 400, 200, 404, 200]


def test_a_request_may_arrive_byte_by_byte(echo: Server) -> None:
    with dial(echo) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw(INFER, body(1, 2)):
            connection.sendall(bytes([byte]))
        assert answers(connection, 1)[0].json["outputs"][0]["data"] == [1.0, 2.0]


def test_a_chunked_body_is_put_together(echo: Server) -> None:
    data = body(1, 2)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:10], data[10:11], data[11:]))
    with dial(echo) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        connection.sendall(head + chunks + b"0\r\n\r\n")
        assert answers(connection, 1)[0].status == 200


def test_a_client_that_waits_for_100_continue_gets_it_before_it_sends(echo: Server) -> None:
    data = body(1, 2)
    request = raw(INFER, data, headers="expect: 100-continue\r\n")
    with dial(echo) as connection:
        connection.sendall(request[: -len(data)])
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(data)
        assert answers(connection, 1)[0].status == 200


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(small: Server) -> None:
    with dial(small) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n".encode())
        answer = answers(connection, 1)[0]
        assert answer.status == 413
        assert answer.json == {"error": "the request's body exceeds 1000 bytes (PODIUM_MAX_BODY_BYTES)"}
        assert answer.headers["connection"] == "close"
        assert is_closed(connection)


def test_a_chunked_body_that_grows_too_large_is_refused_and_its_sender_gets_to_read_why(small: Server) -> None:
    with dial(small) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        # More than fits into the buffers between the two: a connection that were simply closed would be reset.
        began = time.monotonic()
        try:
            for _ in range(12):
                connection.sendall(b"%x\r\n%b\r\n" % (10**6, b"1" * 10**6))
        except OSError:
            assert time.monotonic() - began > 2, "whoever is told to close may go on sending for so long"
        assert answers(connection, 1)[0].status == 413


def test_a_body_of_exactly_the_limit_is_taken(small: Server) -> None:
    data = body(1, 2)
    assert small.infer(data + b" " * (1000 - len(data))).status == 200
    assert small.infer(data + b" " * (1001 - len(data))).status == 413


def test_a_request_that_stops_halfway_is_answered_408(small: Server) -> None:
    with dial(small) as connection:
        connection.sendall(raw(INFER, body(1, 2))[:-3])
        answer = answers(connection, 1)[0]
        assert answer.status == 408
        assert is_closed(connection)


def test_headers_that_trickle_without_end_are_answered_408(small: Server) -> None:
    with dial(small) as connection:
        connection.settimeout(0.1)
        connection.sendall(f"POST {INFER} HTTP/1.1\r\n".encode())
        deadline = time.monotonic() + 20
        received = b""
        while not received and time.monotonic() < deadline:
            connection.sendall(b"a: b\r\n")
            try:
                received = connection.recv(1000)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_ended_without_a_word(small: Server) -> None:
    with dial(small) as connection:
        connection.sendall(raw("/v2", method="GET"))
        assert answers(connection, 1)[0].status == 200
        assert is_closed(connection)


def test_what_is_not_http_is_answered_400(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        answer = answers(connection, 1)[0]
        assert answer.status == 400
        assert "not valid HTTP/1.1" in answer.json["error"]
        assert is_closed(connection)


def test_conflicting_lengths_are_refused(echo: Server) -> None:
    with dial(echo) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"0\r\n\r\n")
        assert answers(connection, 1)[0].status == 400


def test_headers_without_end_are_answered_431(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\n" + b"".join(b"h%d: %b\r\n" % (i, b"x" * 1000) for i in range(70)))
        assert answers(connection, 1)[0].status == 431


def test_a_compressed_body_is_refused_by_name(echo: Server) -> None:
    answer = echo.infer(b"\x1f\x8b", **{"Content-Encoding": "gzip"})
    assert answer.status == 415
    assert "'gzip'" in answer.json["error"]


@pytest.mark.parametrize(
    "headers",
    ["transfer-encoding: gzip, chunked\r\n", "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"],
)
def test_a_transfer_coding_other_than_chunked_is_refused_by_name_in_one_header_or_two(
    echo: Server, headers: str
) -> None:
    with dial(echo) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nhost: x\r\n{headers}\r\n0\r\n\r\n".encode())
        (answer,) = answers(connection, 1)
        assert (answer.status, "'gzip, chunked'" in answer.json["error"]) == (501, True)
        assert is_closed(connection)


@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked"])
def test_a_body_in_chunks_is_no_part_of_http_1_0(echo: Server, coding: str) -> None:
    headers = f"connection: keep-alive\r\ntransfer-encoding: {coding}\r\n"
    with dial(echo) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.0\r\n{headers}\r\n0\r\n\r\nGET /v2 HTTP/1.0\r\n\r\n".encode())
        (answer,) = answers(connection, 1)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        way_out = "an HTTP/1.0 request has no Transfer-Encoding: send Content-Length, or send it in HTTP/1.1"
        assert answer.json["error"] == way_out
        assert is_closed(connection)


def test_the_client_decides_when_the_connection_ends(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(raw("/v2", method="GET", headers="connection: close\r\n"))
        assert answers(connection, 1)[0].headers["connection"] == "close"
        assert is_closed(connection)


def test_a_client_that_has_sent_everything_still_gets_its_answers(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(raw(INFER, body(1, 2)) * 3)
        connection.shutdown(socket.SHUT_WR)
        assert [answer.status for answer in answers(connection, 3)] == [200, 200, 200]
        assert is_closed(connection)


@pytest.mark.parametrize(("header", "kept"), [("connection: keep-alive\r\n", True), ("", False)])
def test_http_1_0_is_spoken(echo: Server, header: str, kept: bool) -> None:
    with dial(echo) as connection:
        connection.sendall(f"GET /v2 HTTP/1.0\r\n{header}\r\n".encode())
        assert answers(connection, 1)[0].headers["connection"] == ("keep-alive" if kept else "close")
        if kept:
            connection.sendall(b"GET /v2 HTTP/1.0\r\n\r\n")
            assert answers(connection, 1)[0].status == 200


# As sent by curl --http2 and by Java's HttpClient with every request.
OFFER = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"


def chunked(data: bytes, headers: str) -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\n{headers}transfer-encoding: chunked\r\n\r\n"
    return head.encode() + b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (data[:5], len(data) - 5, data[5:])


@pytest.mark.parametrize("packet", [1, 100, 10**6])
@pytest.mark.parametrize("transfer", ["content-length", "chunked"])
def test_an_offer_to_upgrade_is_passed_over_and_the_request_is_answered_in_http_1_1(
    echo: Server, transfer: str, packet: int
) -> None:
    one, two = body(1, 2), body(3, 4)
    with_body = chunked(one, OFFER) if transfer == "chunked" else raw(INFER, one, headers=OFFER)
    sent = with_body + raw("/v2", method="GET", headers=OFFER) + with_body + raw(INFER, two)
    with dial(echo) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), packet):
            connection.sendall(sent[start : start + packet])
        found = answers(connection, 4)
        assert [answer.status for answer in found] == [200] * 4
        assert [found[i].json["outputs"][0]["data"] for i in (0, 2, 3)] == [[1, 2], [1, 2], [3, 4]]
        assert all("connection" not in answer.headers for answer in found)


def test_an_offer_to_upgrade_changes_neither_limits_nor_the_connections_end(small: Server) -> None:
    with dial(small) as connection:
        connection.sendall(raw(INFER, b" " * 1001, headers=OFFER))
        assert answers(connection, 1)[0].status == 413
    with dial(small) as connection:
        connection.sendall(raw(INFER, body(1, 2), headers=OFFER + "expect: 100-continue\r\nconnection: close\r\n"))
        with connection.makefile("rb") as stream:
            received = stream.read()
        assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert b"\r\nconnection: close\r\n" in received


def offering(request: bytes) -> bytes:
    """The same request with an offer to upgrade behind its first line."""
    first, line, rest = request.partition(b"\n")
    return first + line + OFFER.encode() + rest


def test_what_is_refused_is_refused_as_well_if_it_comes_with_an_offer_to_upgrade() -> None:
    def status(request: bytes) -> int | None:
        found: list[Request] = []
        Reader(MaxBody(10**6), Clock(), found.append, lambda: None).feed(request)
        return found[0].refusal.status if found and found[0].refusal else None

    wrong = {name: request for name, request in corpus().items() if status(request) and b"HTTP/1.1\r\n" in request}
    assert len(wrong) > 100
    taken = {name: status(request) for name, request in wrong.items() if status(offering(request)) is None}
    assert taken == {}


def test_two_hosts_are_refused_with_an_offer_to_upgrade_as_well(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(raw(INFER, body(1, 2), headers="host: y\r\n" + OFFER))
        (answer,) = answers(connection, 1)
        assert answer.status == 400
        assert answer.json["error"] == "the request must have one Host header (RFC 9112, 3.2), given 2"
        assert is_closed(connection)


@pytest.mark.parametrize("headers", ["", OFFER], ids=["plain", "with an offer to upgrade"])
def test_a_client_of_http_1_0_that_expects_to_be_told_to_go_on_is_not(echo: Server, headers: str) -> None:
    data = body(1, 2)
    head = f"POST {INFER} HTTP/1.0\r\nexpect: 100-continue\r\n{headers}content-length: {len(data)}\r\n\r\n"
    with dial(echo) as connection:
        connection.sendall(head.encode())
        # What is asked elsewhere is answered after the head was read.
        assert echo.get("/v2").status == 200
        connection.sendall(data)
        assert answers(connection, 1)[0].status == 200


def test_what_follows_a_connect_is_not_taken_for_http(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n" + raw("/v2", method="GET"))
        answer = answers(connection, 1)[0]
        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert is_closed(connection)


def test_head_has_the_headers_of_get_and_no_body(echo: Server) -> None:
    answer = echo.request("HEAD", "/v2/health/ready")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == echo.get("/v2/health/ready").headers["content-length"]


@pytest.mark.parametrize(("hosts", "given"), [("", 0), ("host: x\r\nhost: x\r\n", 2)])
def test_a_request_without_one_host_is_refused(echo: Server, hosts: str, given: int) -> None:
    with dial(echo) as connection:
        connection.sendall(f"GET /v2 HTTP/1.1\r\n{hosts}\r\n".encode())
        (answer,) = answers(connection, 1)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.json["error"] == f"the request must have one Host header (RFC 9112, 3.2), given {given}"


@pytest.mark.parametrize("line", ["GET /v2", "GET /v2 HTTP/0.9", "GET /v2 HTTP/2.0"])
def test_other_versions_of_http_are_refused(echo: Server, line: str) -> None:
    with dial(echo) as connection:
        connection.sendall(f"{line}\r\nhost: x\r\n\r\n".encode())
        assert answers(connection, 1)[0].status == 505
        assert is_closed(connection)


def test_so_many_headers_that_only_their_number_is_large_are_refused(echo: Server) -> None:
    with dial(echo) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 65_000 + b"\r\n")
        (answer,) = answers(connection, 1)
        assert (answer.status, "more than 256 headers" in answer.json["error"]) == (431, True)


def test_trailers_are_no_headers(echo: Server) -> None:
    data = body(1, 2)
    with dial(echo) as connection:
        connection.sendall(
            f"POST {INFER} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{len(data):x}\r\n".encode()
            + data
            + b"\r\n0\r\nx-request-id: of a trailer\r\ncontent-encoding: gzip\r\nhost: y\r\n\r\n"
        )
        (answer,) = answers(connection, 1)
        assert (answer.status, "x-request-id" in answer.headers) == (200, False)


@pytest.mark.parametrize(
    "target", ["http://any.example/v2/models/model", "HTTP://x:8080/v2/models/model?a=b", "/v2/models/model/"]
)
def test_a_target_may_have_the_absolute_form_or_a_slash_at_the_end(echo: Server, target: str) -> None:
    assert echo.request("GET", target).json["name"] == "model"
    infer = target.partition("?")[0].rstrip("/") + "/infer" + "/" * target.endswith("/")
    assert echo.request("POST", infer, body(1, 2)).status == 200


def test_a_body_may_begin_with_a_byte_order_mark_and_outputs_may_be_null(echo: Server) -> None:
    assert echo.infer(b"\xef\xbb\xbf" + body(1, 2)).status == 200
    assert echo.infer(body(1, 2)[:-1] + b', "outputs": null}').status == 200


@pytest.mark.parametrize("path", ["/v2/models/model/ready", "/v2/models/model/versions/7/ready"])
def test_the_readiness_of_a_model_has_its_name(echo: Server, path: str) -> None:
    assert echo.get(path).json == {"name": "model", "ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", INFER, 405),
        ("POST", "/v2/health/ready", 405),
        ("DELETE", "/v2/models/model", 405),
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/model/nothing", 404),
        ("GET", "/v2/models/model/versions/6", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/%6dodel?verbose=1", 200),
    ],
)
def test_wrong_methods_and_paths_are_told_apart(echo: Server, method: str, path: str, status: int) -> None:
    answer = echo.request(method, path)
    assert answer.status == status
    assert status == 200 or set(answer.json) == {"error"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", INFER, body(1, 2), 200),
        ("POST", INFER, b"nonsense", 400),
        ("POST", "/v2/models/other/infer", body(1, 2), 404),
        ("DELETE", INFER, b"", 405),
        ("GET", "/v2", b"", 200),
        ("GET", "/v2/health/ready", b"", 200),
        ("GET", "/metrics", b"", 200),
        ("GET", "/nowhere", b"", 404),
    ],
)
def test_every_answer_carries_the_revision_and_the_callers_request_id(
    echo: Server, method: str, path: str, data: bytes, status: int
) -> None:
    answer = echo.request(method, path, data, {"X-Request-Id": "abc-1"})
    assert answer.status == status
    assert (answer.headers["x-podium-revision"], answer.headers["x-request-id"]) == ("model-b57wq4c9d2", "abc-1")
    assert "x-request-id" not in echo.request(method, path, data).headers


def test_an_answer_that_refuses_a_request_carries_its_request_id_too(small: Server) -> None:
    answer = small.infer(b" " * 1001, **{"X-Request-Id": "abc-1"})
    assert (answer.status, answer.headers["x-request-id"]) == (413, "abc-1")


def test_a_client_that_does_not_read_holds_up_nobody_and_gets_all_answers_when_it_does(echo: Server) -> None:
    request = raw(INFER, body(*[1.0, 2.0] * 20_000))
    count = 60
    with dial(echo) as connection:
        connection.setblocking(False)
        pending = memoryview(request * count)
        with contextlib.suppress(BlockingIOError):
            while pending:
                pending = pending[connection.send(pending) :]
        assert pending, "the server read everything although nobody reads its answers"
        assert echo.infer(body(1, 2)).status == 200
        connection.settimeout(30)
        sender = threading.Thread(target=connection.sendall, args=(pending,))
        sender.start()
        assert [answer.status for answer in answers(connection, count)] == [200] * count
        sender.join()
