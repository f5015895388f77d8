"""From start to exit: readiness, draining, deadlines, and why a server could not start."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serving.harness import (
    JSON_TYPES,
    Answer,
    Server,
    ask,
    environment,
    identity,
    serving,
    slow,
    slow_and_never_warm,
    slow_by_rows,
)
from tests.unit.serving.watched import INFER, InBackground, in_flight, value, wait_until


def work(times: int) -> bytes:
    tensor = {"name": "times", "shape": [1], "datatype": "INT64", "data": [times]}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture
def quick_model(tmp_path: Path) -> Path:
    path = tmp_path / "quick.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    return path


@pytest.fixture
def slow_model(tmp_path: Path) -> Path:
    path = tmp_path / "slow.onnx"
    path.write_bytes(slow())
    return path


def times_for(server: Server, seconds: float) -> int:
    """How often the slow model has to multiply to be busy for at least that long; the server then knows it as slow."""
    taken = []
    for _ in range(3):
        started = time.monotonic()
        assert server.request("POST", INFER, work(100)).status == 200
        taken.append(time.monotonic() - started)
    return int(seconds * 100 / min(taken)) + 1


def test_sigterm_lets_requests_finish_and_says_so_to_everyone(slow_model: Path) -> None:
    settings = {"PODIUM_DRAIN_QUIET_SECONDS": 2, "PODIUM_DRAIN_IDLE_SECONDS": 10}
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, **settings) as server, server.connect() as kept:
        ask(kept, "GET", "/v2/health/ready")
        request = InBackground(server, work(times_for(server, 2)))
        wait_until(lambda: in_flight(server) == 1)

        server.process.terminate()
        server.wait_for("draining")

        # Readiness is withdrawn, liveness is not; a kept-alive connection still gets its answer, its last.
        answer = ask(kept, "GET", "/v2/health/ready")
        assert answer.status == 503
        assert answer.headers["connection"] == "close"
        assert server.get("/v2/health/live").status == 200
        late = server.request("POST", INFER, work(1))
        assert (late.status, late.headers["connection"]) == (200, "close")

        assert server.wait() == 0
        request.join()
        assert isinstance(request.answer, Answer)
        assert request.answer.status == 200


def test_the_deadline_cuts_off_what_does_not_finish(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, PODIUM_GRACE_SECONDS=0.5) as server:
        request = InBackground(server, work(times_for(server, 30)))
        wait_until(lambda: in_flight(server) == 1)
        started = time.monotonic()
        assert server.stop() == 70
        assert time.monotonic() - started < 10
        request.join()
        assert isinstance(request.answer, Exception)
        assert any('"cut": 1' in line for line in server.lines)


def test_draining_waits_for_a_request_that_is_still_being_sent(quick_model: Path) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()
    request = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    with serving(quick_model, PODIUM_DRAIN_QUIET_SECONDS=0) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(request[:-5])
            assert server.get("/v2/health/live").status == 200
            server.process.terminate()
            server.wait_for("draining")
            connection.sendall(request[-5:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.wait() == 0


def test_a_caller_that_pauses_while_the_server_drains_gets_its_answer(quick_model: Path) -> None:
    settings = {"PODIUM_DRAIN_QUIET_SECONDS": 0.1, "PODIUM_DRAIN_IDLE_SECONDS": 20}
    with serving(quick_model, **settings) as server, server.connect() as kept:
        ask(kept, "GET", "/v2")
        server.process.terminate()
        server.wait_for("draining")
        time.sleep(1)  # the pause: nothing but time passes in it
        answer = ask(kept, "GET", "/v2")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        # Now nobody is left to wait for.
        started = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - started < 12


def test_idle_connections_do_not_hold_up_the_end_for_long(quick_model: Path) -> None:
    with serving(quick_model, PODIUM_DRAIN_QUIET_SECONDS=0.1) as server, server.connect() as kept:
        ask(kept, "GET", "/v2")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 12


def test_no_request_is_lost_under_load_when_the_server_is_told_to_stop(quick_model: Path) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()
    failures: list[object] = []
    answered = [0]
    stopped = threading.Event()

    def client(server: Server) -> None:
        # Each goes on until it is told that its connection ends: what it sends before must be answered.
        with server.connect() as connection:
            while not stopped.is_set():
                try:
                    answer = ask(connection, "POST", INFER, body)
                except OSError as problem:
                    failures.append(problem)
                    return
                answered[0] += 1
                if answer.status != 200:
                    failures.append(answer)
                if answer.headers.get("connection") == "close":
                    return

    # A client that does not get to work for a while still holds its connection, and is waited for.
    with serving(quick_model, PODIUM_DRAIN_IDLE_SECONDS=20) as server:
        clients = [threading.Thread(target=client, args=(server,)) for _ in range(8)]
        for each in clients:
            each.start()
        wait_until(lambda: answered[0] > 500)
        assert server.stop() == 0
        stopped.set()
        for each in clients:
            each.join()
    assert failures == []


def test_a_long_run_does_not_hold_up_health_checks(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0) as server:
        request = InBackground(server, work(times_for(server, 2)))
        wait_until(lambda: in_flight(server) == 1)
        assert server.get("/v2/health/live").status == 200
        assert request.answer is None
        request.join()
        assert isinstance(request.answer, Answer)


@pytest.mark.parametrize(
    ("model", "name", "datatype", "data"),
    [(slow_by_rows(), "x", "FP32", [0] * 30_000), (slow_and_never_warm(), "times", "INT64", [600, 0])],
    ids=["the first large batch", "the first run of a model that could not be warmed up"],
)
def test_a_long_run_that_nothing_foretold_does_not_hold_up_health_checks(
    tmp_path: Path, model: bytes, name: str, datatype: str, data: list[int]
) -> None:
    path = tmp_path / "slow.onnx"
    path.write_bytes(model)
    tensor = {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}
    with serving(path) as server:
        request = InBackground(server, json.dumps({"inputs": [tensor]}).encode())
        wait_until(lambda: in_flight(server) == 1 or request.answer is not None)
        assert server.get("/v2/health/live").status == 200
        assert request.answer is None
        request.join()
        assert isinstance(request.answer, Answer)
        assert request.answer.status == 200


def test_more_than_the_queue_takes_are_told_to_come_again_and_counted(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, PODIUM_QUEUE_LENGTH=5, PODIUM_QUEUE_SECONDS=60) as server:
        body = work(times_for(server, 1))
        requests = [InBackground(server, body) for _ in range(30)]
        for each in requests:
            each.join()
        shed = value(server, "podium_serving_requests_shed_total", 'reason="queue_length"')
    found = [each.answer for each in requests if isinstance(each.answer, Answer)]
    refused = [answer for answer in found if answer.status == 503]
    assert len(found) == 30
    assert {answer.status for answer in found} == {200, 503}
    assert len(refused) == shed >= 1
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert "PODIUM_QUEUE_LENGTH" in refused[0].json["error"]


def test_what_waits_too_long_is_told_to_come_again(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, PODIUM_QUEUE_SECONDS=1) as server:
        body = work(times_for(server, 1))
        requests = [InBackground(server, body) for _ in range(20)]
        for each in requests:
            each.join()
    statuses = [each.answer.status for each in requests if isinstance(each.answer, Answer)]
    assert len(statuses) == 20
    assert set(statuses) == {200, 503}


@pytest.mark.parametrize("reset", [True, False])
def test_clients_that_have_gone_are_not_computed_for_and_counted_as_abandoned_alone(
    slow_model: Path, reset: bool
) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, PODIUM_QUEUE_SECONDS=60) as server:
        body = work(times_for(server, 2))
        started = value(server, "podium_serving_requests_started_total")
        answered = value(server, "podium_serving_request_duration_seconds_count")
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        gone = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(100)]
        for connection in gone:
            connection.sendall(head + body)
        wait_until(lambda: value(server, "podium_serving_requests_started_total") >= started + 100)
        for connection in gone:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        # All but the few that were running: at two seconds each they would take a minute and more.
        wait_until(lambda: in_flight(server) < 10)
        wait_until(lambda: in_flight(server) == 0)
        abandoned = value(server, "podium_serving_requests_abandoned_total")
        answers = value(server, "podium_serving_request_duration_seconds_count") - answered
        assert abandoned > 80
        assert abandoned + answers == 100
        assert server.request("POST", INFER, work(1)).status == 200


def test_a_drain_does_not_wait_for_a_run_whose_client_has_gone(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0, PODIUM_GRACE_SECONDS=60) as server:
        body = work(times_for(server, 120))
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head + body)
            wait_until(lambda: in_flight(server) == 1)
        assert server.stop() == 0


def test_a_client_that_half_closes_while_the_model_runs_gets_its_answer(slow_model: Path) -> None:
    with serving(slow_model, PODIUM_PROBE_SECONDS=0) as server:
        body = work(times_for(server, 0.3))
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"


def failing(path: Path, **variables: object) -> tuple[int, dict[str, Any]]:
    server = Server(path, **variables)
    try:
        return server.wait(), json.loads(server.termination.read_text())
    finally:
        server.close()


def test_a_missing_model_is_told_in_the_termination_message(tmp_path: Path) -> None:
    code, message = failing(tmp_path / "nothing.onnx")
    assert code == 66
    assert (message["result"], message["reason"], message["permanent"]) == ("failed", "ModelNotFound", True)
    assert f"{tmp_path / 'nothing.onnx'} does not exist" in message["message"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.onnx": b"", "b/c.onnx": b""}, "holds 2 .onnx files (a.onnx, b/c.onnx); expected exactly one"),
        ({"model.pkl": b"", "b": b""}, "holds no .onnx file, but b, model.pkl; expected exactly one"),
        (
            {".DS_Store": b"", "lost+found/a.onnx": b""},
            "only hidden files and what tools have left (.DS_Store, lost+found/a.onnx); expected exactly one",
        ),
        ({}, "holds no .onnx file, but nothing; expected exactly one"),
        ({"a.onnx": b"garbage" * 10}, "a.onnx cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_model_is_told_in_the_termination_message(
    tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    (tmp_path / "model").mkdir()
    for name, content in files.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    code, message = failing(tmp_path / "model")
    assert code == 65
    assert (message["reason"], message["permanent"]) == ("ModelInvalid", True)
    assert sentence in message["message"]


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PODIUM_MODEL", "", "PODIUM_MODEL is not set: it is required"),
        ("PODIUM_HTTP_PORT", "http", "PODIUM_HTTP_PORT is 'http': expected a whole number, such as 8080"),
        ("PODIUM_HTTP_PORT", "70000", "PODIUM_HTTP_PORT is 70000: expected a number from 0 to 65535"),
        ("PODIUM_GRACE_SECONDS", "20s", "PODIUM_GRACE_SECONDS is '20s': expected a number of seconds, such as 20"),
        ("PODIUM_REVISION", "a\nb", "PODIUM_REVISION is 'a\\nb': expected printable ASCII characters"),
        ("PODIUM_REVISION", "é", "PODIUM_REVISION is 'é': expected printable ASCII characters"),
        ("PODIUM_MODEL", "a\tb", "PODIUM_MODEL is 'a\\tb': expected printable characters in one line"),
        (
            "PODIUM_MODEL_VERSION",
            "a\x07b",
            "PODIUM_MODEL_VERSION is 'a\\x07b': expected printable characters in one line",
        ),
        (
            "PODIUM_MODEL_VERSION",
            "\udcff",
            "PODIUM_MODEL_VERSION is '\\udcff': expected printable characters in one line",
        ),
        ("PODIUM_LOG_LEVEL", "loud", "PODIUM_LOG_LEVEL is 'loud': expected one of debug, info, warning, error"),
    ],
)
def test_a_wrong_variable_is_named(quick_model: Path, variable: str, value: str, sentence: str) -> None:
    code, message = failing(quick_model, **{variable: value})
    assert code == 64
    assert (message["reason"], message["message"]) == ("InvalidConfiguration", sentence)


def test_a_taken_port_is_a_passing_failure(quick_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, message = failing(quick_model, PODIUM_HTTP_PORT=port)
    assert code == 1
    assert (message["reason"], message["permanent"]) == ("AddressInUse", False)
    assert str(port) in message["message"]


def test_nothing_is_written_to_the_home_folder(quick_model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with serving(quick_model, HOME=home, XDG_CACHE_HOME=home / "cache") as server:
        assert server.get("/v2/health/ready").status == 200
        server.stop()
    assert list(home.iterdir()) == []


def test_every_log_line_is_json_and_says_whose_it_is(quick_model: Path) -> None:
    with serving(quick_model, PODIUM_REVISION="model-abc") as server:
        server.stop()
    lines = [json.loads(line) for line in server.lines]
    assert len(lines) >= 4
    assert all((line["model"], line["revision"]) == ("model", "model-abc") for line in lines)


def test_the_fetcher_does_not_load_the_model_runtime() -> None:
    modules = (
        "podium_serving.fetch.__main__, podium_serving.fetch.s3, podium_serving.fetch.https, podium_serving.fetch.pvc"
    )
    code = f"import sys, {modules}; print(*[m for m in ('onnxruntime', 'numpy', 'asyncio') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout == "\n"
