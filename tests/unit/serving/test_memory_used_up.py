"""While the memory for requests is used up, inference is told to come again, whoever uses it for whatever."""

import http.client
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests.unit.serving.harness import Answer, Server, identity, model_bytes, serving, slow_by_rows, tensor
from tests.unit.serving.watched import INFER, InBackground, children, in_flight, value, wait_until

MIB = 2**20
SHED = "podium_serving_requests_shed_total"
ABANDONED = "podium_serving_requests_abandoned_total"
WAITING = "podium_serving_queue_length"
RUNS = "podium_serving_inference_duration_seconds_count"


def request(name: str, datatype: str, *data: float) -> bytes:
    return json.dumps({"inputs": [{"name": name, "shape": [len(data)], "datatype": datatype, "data": data}]}).encode()


def of(count: int) -> bytes:
    """Some hundred bytes that ask for so many elements."""
    return request("count", "INT64", count)


@pytest.fixture(scope="module")
def giving(folder: Path) -> Path:
    """A model that gives as many elements as it is asked for, of four bytes each, and eleven in JSON."""
    path = folder / "giving.onnx"
    element = helper.make_tensor("element", TensorProto.FLOAT, [1], [0.12345679])
    nodes = [helper.make_node("Expand", ["element", "count"], ["y"])]
    given, made = tensor("count", TensorProto.INT64, [1]), tensor("y", TensorProto.FLOAT, ["n"])
    path.write_bytes(model_bytes(nodes, [given], [made], (element,)))
    return path


@contextmanager
def limited(model: Path, memory: int) -> Iterator[Server]:
    """Not probed: the model gives whatever it is asked for, and would be asked for more than there is."""
    with serving(model, PODIUM_MEMORY_BYTES=memory, PODIUM_PROBE_SECONDS=0, PODIUM_QUEUE_SECONDS=60) as server:
        yield server


@contextmanager
def sent(server: Server, body: bytes) -> Iterator[socket.socket]:
    """A connection on which inference was asked for, until it is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        yield connection


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Inside, its process for large JSON, which must run already, does nothing."""
    (process,) = children(server)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def reset_at_its_end(connection: socket.socket) -> None:
    """A client that ends so is known to have gone; one that only closes may still wait for its answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refused(server: Server, body: bytes) -> bool:
    """Whether a request is told that there is no memory, and to come again; others are not concerned.

    It is sent as a whole: a body that comes after its head would wait for memory.
    """
    assert server.get("/v2/health/ready").status == 200
    with sent(server, body) as connection, http.client.HTTPResponse(connection) as answer:
        answer.begin()
        if answer.status != 503:
            return False
        assert b"the memory for requests is used up (PODIUM_MEMORY_BYTES)" in answer.read()
        assert answer.headers["retry-after"] == "1"
        return True


@pytest.mark.parametrize("read", [True, False], ids=["read", "closed"])
def test_answers_that_nobody_reads_leave_no_room_for_others_until_they_are_read_or_closed(
    giving: Path, read: bool
) -> None:
    with limited(giving, 8 * MIB) as server:
        with sent(server, of(2 * MIB)) as idle, idle.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            # What the system does not take of the rest waits in the server.
            assert refused(server, of(1))
            assert value(server, SHED, 'reason="memory"') == 1
            if read:
                length = int(http.client.parse_headers(answer)["content-length"])
                assert len(answer.read(length)) == length
                wait_until(lambda: not refused(server, of(1)))
        wait_until(lambda: not refused(server, of(1)))


def test_results_that_wait_to_be_written_count(giving: Path) -> None:
    with limited(giving, 4 * MIB) as server:
        assert server.infer(of(MIB // 2)).status == 200
        with stopped(server):
            asked = [InBackground(server, of(MIB // 2))]
            wait_until(lambda: value(server, RUNS) == 2)
            assert not refused(server, of(1))
            asked.append(InBackground(server, of(MIB // 2)))
            wait_until(lambda: value(server, RUNS) == 4)
            assert refused(server, of(1))
        for each in asked:
            each.join()
        assert [each.answer.status for each in asked if isinstance(each.answer, Answer)] == [200, 200]
        wait_until(lambda: not refused(server, of(1)))


def test_tensors_count_which_are_larger_than_their_text(folder: Path) -> None:
    path = folder / "slow-by-rows.onnx"
    path.write_bytes(slow_by_rows())
    count = 100_000
    body = request("x", "FP32", *[1] * count).replace(b" ", b"")
    assert len(body) < 2.1 * count
    with limited(path, 5 * count) as server, sent(server, body):
        wait_until(lambda: in_flight(server) == 1)
        assert refused(server, request("x", "FP32", 1))


def test_a_body_that_is_still_read_for_a_client_that_has_gone_counts_until_it_is_done(folder: Path) -> None:
    path = folder / "any.onnx"
    path.write_bytes(identity({"x": TensorProto.FLOAT}, ["n"]))
    count = 150_000
    large = request("x", "FP32", *[1] * count).replace(b" ", b"")
    with limited(path, 4 * count) as server:
        assert server.infer(large).status == 200
        with stopped(server):
            with sent(server, large) as connection:
                wait_until(lambda: in_flight(server) == 1 and value(server, WAITING) == 0)
                reset_at_its_end(connection)
            wait_until(lambda: value(server, ABANDONED) == 1)
            assert refused(server, request("x", "FP32", 1))
        wait_until(lambda: not refused(server, request("x", "FP32", 1)))


def test_who_waits_for_room_gets_none_of_a_body_that_is_still_read_for_a_client_that_has_gone(folder: Path) -> None:
    path = folder / "any.onnx"
    path.write_bytes(identity({"x": TensorProto.FLOAT}, ["n"]))
    count = 150_000
    large = request("x", "FP32", *[1] * count).replace(b" ", b"")
    head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(large)}\r\n\r\n"
    with limited(path, 4 * count) as server:
        assert server.infer(large).status == 200
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as waiting:
            with stopped(server):
                with sent(server, large) as connection:
                    wait_until(lambda: in_flight(server) == 1 and value(server, WAITING) == 0)
                    waiting.sendall(head.encode())
                    reset_at_its_end(connection)
                wait_until(lambda: value(server, ABANDONED) == 1)
                assert not select.select([waiting], [], [], 0.2)[0], "it is told to send its body"
            assert waiting.recv(12) == b"HTTP/1.1 100"
