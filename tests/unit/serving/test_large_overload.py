"""Too much large JSON at once: what waits to be read is bounded like what waits for a worker, and left likewise.

The process that reads and writes it is held up for as long as a test looks.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from podium_serving.json_codec import LARGE
from tests.unit.serving.harness import Answer, Server, model_bytes, serving, tensor
from tests.unit.serving.watched import INFER, InBackground, children, in_flight, value, wait_until

LENGTH = "podium_serving_queue_length"
SHED = "podium_serving_requests_shed_total"
ABANDONED = "podium_serving_requests_abandoned_total"
RUNS = "podium_serving_inference_duration_seconds_count"
COUNT = 180_000


def of(*data: float) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [len(data)], "datatype": "FP32", "data": data}]}).encode()


BODY = of(*[0.5] * COUNT)
SMALL = of(0.5)


@pytest.fixture(scope="module")
def summing(folder: Path) -> Path:
    """A model whose answer is small whatever it is given."""
    path = folder / "summing.onnx"
    nodes = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)]
    path.write_bytes(
        model_bytes(nodes, [tensor("x", TensorProto.FLOAT, ["n"])], [tensor("sum", TensorProto.FLOAT, [])])
    )
    return path


@pytest.fixture(scope="module")
def spreading(folder: Path) -> Path:
    """A model whose answer is large even where its input is not."""
    path = folder / "spreading.onnx"
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [LARGE, 1])
    nodes = [helper.make_node("Expand", ["x", "shape"], ["y"])]
    given, made = tensor("x", TensorProto.FLOAT, ["n"]), tensor("y", TensorProto.FLOAT, [LARGE, "n"])
    path.write_bytes(model_bytes(nodes, [given], [made], (shape,)))
    return path


@contextmanager
def held_up(server: Server) -> Iterator[int]:
    """Meanwhile the process for large JSON does nothing; it is there already."""
    (process,) = children(server)
    os.kill(process, signal.SIGSTOP)
    try:
        yield process
    finally:
        os.kill(process, signal.SIGCONT)


@contextmanager
def occupied(model: Path, **variables: object) -> Iterator[tuple[Server, list[InBackground]]]:
    """A server whose process for large JSON is held up over a body; all that is asked is answered at the end."""
    with serving(model, **variables) as server:
        assert server.infer(BODY).status == 200
        with held_up(server):
            asked = [InBackground(server, BODY)]
            wait_until(lambda: in_flight(server) == 1)
            wait_until(lambda: value(server, LENGTH) == 0)
            yield server, asked
        for each in asked:
            each.join()


def answers(asked: list[InBackground]) -> list[Answer]:
    return [each.answer for each in asked if isinstance(each.answer, Answer)]


def test_more_large_bodies_than_may_wait_are_told_to_come_again_and_counted(summing: Path) -> None:
    with occupied(summing, PODIUM_QUEUE_LENGTH=5, PODIUM_QUEUE_SECONDS=60) as (server, asked):
        asked += [InBackground(server, BODY) for _ in range(30)]
        wait_until(lambda: value(server, SHED, 'reason="queue_length"') == 25)
        assert value(server, LENGTH) == 5
        # Whoever needs neither the process nor a worker is not concerned.
        assert server.infer(SMALL).status == 200
    refused = [answer for answer in answers(asked) if answer.status == 503]
    assert len(refused) == 25
    assert [answer.status for answer in answers(asked) if answer not in refused] == [200] * 6
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert refused[0].json["error"] == ("the server is overloaded: 5 requests wait already (PODIUM_QUEUE_LENGTH)")


def test_a_large_body_that_waits_too_long_is_told_to_come_again_while_another_is_still_read(summing: Path) -> None:
    with occupied(summing, PODIUM_QUEUE_SECONDS=1) as (server, asked):
        refused = server.infer(BODY)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert "waited 1 s for its turn (PODIUM_QUEUE_SECONDS)" in refused.json["error"]
        assert value(server, SHED, 'reason="queue_age"') == 1
        assert not answers(asked)
    assert [answer.status for answer in answers(asked)] == [200]


def test_the_wait_of_a_large_body_counts_as_time_in_the_queue(summing: Path) -> None:
    total = "podium_serving_queue_duration_seconds_sum"
    with occupied(summing, PODIUM_QUEUE_SECONDS=60) as (server, asked):
        before = value(server, total)
        asked.append(InBackground(server, BODY))
        wait_until(lambda: value(server, LENGTH) == 1)
        time.sleep(0.3)  # the wait: nothing but time passes in it
        os.kill(children(server)[0], signal.SIGCONT)
        asked[-1].join()
        assert value(server, total) - before >= 0.3


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed in good order"])
def test_nobody_reads_the_large_bodies_of_those_who_have_gone(summing: Path, reset: bool) -> None:
    with occupied(summing, PODIUM_QUEUE_SECONDS=60) as (server, asked):
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
        gone = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(10)]
        for connection in gone:
            connection.sendall(head + BODY)
        wait_until(lambda: value(server, LENGTH) == 10)
        for connection in gone:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        wait_until(lambda: value(server, ABANDONED) == 10)
        assert value(server, LENGTH) == 0
        assert not answers(asked)
    assert [answer.status for answer in answers(asked)] == [200]


def test_while_too_many_answers_wait_to_be_written_no_further_one_is_computed_and_those_are_given(
    spreading: Path,
) -> None:
    with serving(spreading, PODIUM_QUEUE_LENGTH=3, PODIUM_QUEUE_SECONDS=1) as server:
        assert server.infer(SMALL).status == 200
        computed = value(server, RUNS)
        with held_up(server):
            asked = []
            for number in range(1, 5):  # one that is being written, and three that wait
                asked.append(InBackground(server, SMALL))
                wait_until(lambda number=number: value(server, RUNS) == computed + number)  # type: ignore[misc]
            refused = server.infer(SMALL)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "3 responses wait to be written (PODIUM_QUEUE_LENGTH)" in refused.json["error"]
            assert value(server, SHED, 'reason="queue_length"') == 1
            time.sleep(1.2)  # longer than a request may wait
        for each in asked:
            each.join()
        assert [answer.status for answer in answers(asked)] == [200] * 4
        assert value(server, RUNS) == computed + 4
