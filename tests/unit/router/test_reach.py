"""A revision is reached when any of its pods has answered this router anything at all."""

import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest

from podium.router.endpoints import GRPC, HTTP, Endpoint
from podium.router.reach import Pod, Reach, answers

NOBODY = Endpoint("127.0.0.1", 1)
A, B = Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)


class Network:
    """Which pods answer."""

    def __init__(self) -> None:
        self.up: set[Endpoint] = set()
        self.asked: list[Endpoint] = []

    def ask(self, pod: Pod) -> str:
        self.asked.append(pod.http)
        return "" if pod.http in self.up else "no answer in time"


@pytest.fixture
def network() -> Network:
    return Network()


def test_one_pod_that_answers_is_enough(network: Network) -> None:
    reach = Reach(network.ask)
    network.up = {B}
    reach.want(["r"], {("r", HTTP): (A, B)})
    assert reach.look()
    assert (reach.reached, reach.unreached) == ({"r"}, {})


def test_who_does_not_answer_is_told_and_tried_again(network: Network) -> None:
    reach = Reach(network.ask)
    reach.want(["r"], {("r", HTTP): (A,)})
    assert not reach.look()
    assert (reach.reached, reach.unreached) == (set(), {"r": "no answer in time"})
    network.up = {A}
    assert reach.look()
    assert (reach.reached, reach.unreached) == ({"r"}, {})


def test_what_was_reached_is_not_asked_again(network: Network) -> None:
    reach = Reach(network.ask)
    network.up = {A}
    reach.want(["r"], {("r", HTTP): (A,)})
    reach.look()
    reach.want(["r"], {("r", HTTP): (A, B)})
    reach.look()
    assert network.asked == [A]


def test_whoever_does_not_answer_holds_up_nobody(network: Network) -> None:
    """Ten revisions whose pods take 2 s not to answer; then another one is wanted."""
    silent = {(f"s{number}", HTTP): (Endpoint(f"10.0.1.{number}", 8080),) for number in range(10)}
    reach = Reach(network.ask)
    reach.want([name for name, _ in silent], silent)
    reach.look()
    network.up, network.asked = {A}, []
    reach.want([*(name for name, _ in silent), "r"], silent | {("r", HTTP): (A,)})

    assert not reach.look()

    assert network.asked[0] == A
    assert (reach.reached, reach.unreached.keys()) == ({"r"}, {name for name, _ in silent})


def test_what_is_wanted_during_a_look_is_asked_for_next(network: Network) -> None:
    reach = Reach(lambda pod: ask(pod))
    pods = {("r", HTTP): (A,), ("s", HTTP): (B,)}

    def ask(pod: Pod) -> str:
        if not network.asked:
            reach.want(["r", "s", "t"], pods | {("t", HTTP): (Endpoint("10.0.0.3", 8080),)})
        return network.ask(pod)

    reach.want(["r", "s"], pods)
    assert not reach.look()
    assert network.asked == [A], "it ended early"
    reach.look()
    assert [each.address for each in network.asked[1:]] == ["10.0.0.2", "10.0.0.3", "10.0.0.1"]
    assert reach.unreached.keys() == {"r", "s", "t"}


def test_a_revision_without_pods_is_neither_reached_nor_complained_of(network: Network) -> None:
    reach = Reach(network.ask)
    reach.want(["r"], {})
    assert reach.look()
    assert (reach.reached, reach.unreached) == (set(), {})


def test_what_is_no_longer_wanted_is_forgotten(network: Network) -> None:
    reach = Reach(network.ask)
    network.up = {A}
    reach.want(["r", "s"], {("r", HTTP): (A,), ("s", HTTP): (B,)})
    reach.look()
    reach.want([], {})
    reach.look()
    assert (reach.reached, reach.unreached) == (set(), {})


class Refuses(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_any_answer_over_HTTP_will_do(server: http.server.HTTPServer) -> None:
    assert answers(Pod(Endpoint("127.0.0.1", server.server_port))) == ""


@pytest.mark.parametrize("said", [b"\x15\x03\x03\x00\x02\x02\x46", b"HT", b""])
def test_who_does_not_speak_HTTP_is_not_reached(said: bytes) -> None:
    """Such as a server that wants TLS, and says so by an alert."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        assert "127.0.0.1 port" in answers(Pod(Endpoint("127.0.0.1", other.getsockname()[1])))


def test_a_port_where_nobody_listens_is_named(server: http.server.HTTPServer) -> None:
    port = server.server_port
    server.shutdown()
    server.server_close()
    assert f"127.0.0.1 port {port}" in answers(Pod(Endpoint("127.0.0.1", port)))


@pytest.fixture
def grpc_port() -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def test_where_nobody_listens_for_HTTP_any_answer_over_gRPC_will_do(grpc_port: int) -> None:
    reach = Reach()
    reach.want(["r"], {("r", HTTP): (NOBODY,), ("r", GRPC): (Endpoint("127.0.0.1", grpc_port),)})
    assert reach.look()
    assert reach.reached == {"r"}


def test_who_takes_no_plain_text_is_not_reached_by_either(grpc_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mesh:
        port = mesh.getsockname()[1]
        threading.Thread(target=lambda: [mesh.accept()[0].close() for _ in range(2)], daemon=True).start()
        closes = Endpoint("127.0.0.1", port)
        assert f"127.0.0.1 port {port}" in answers(Pod(closes, Endpoint("127.0.0.1", grpc_port)))
        assert f"127.0.0.1 port {port}" in answers(Pod(NOBODY, closes))
