"""Whether this router reaches the pods of a revision: asked once, before anybody else is sent there through it.

A pod that answers anything at all is reached: over HTTP, or over gRPC where nobody listens for HTTP. What keeps it from
that (a NetworkPolicy, a mesh that takes no plain text) keeps Envoy from it as well: both are in one pod.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from podium.router.endpoints import GRPC, HTTP, Endpoint

SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0
TRIED: Final = 3
"""Pods of a revision that are asked each time: one that answers is enough."""
PATH: Final = "/v2/health/ready"
HTTP_ANSWER: Final = b"HTTP/"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How a connection of HTTP/2 begins, with empty settings (RFC 9113, 3.4); the server answers with its own."""


@dataclass(frozen=True)
class Pod:
    """Where one pod is asked."""

    http: Endpoint
    grpc: Endpoint | None = None


Ask = Callable[[Pod], str]
"""Why a pod does not answer; empty if it does."""


class Reach:
    """What was reached stays so for as long as the revision is wanted; the rest is tried time and again.

    One after the other: whoever does not answer takes seconds, so those come first that have not been tried yet.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask or answers
        self._wanted: dict[str, tuple[Pod, ...]] = {}
        self._news = threading.Event()
        self.reached: frozenset[str] = frozenset()
        self.unreached: Mapping[str, str] = {}
        self._tried: dict[str, float] = {}
        """When those that were not reached were asked last, by time.monotonic."""

    def want(self, revisions: Iterable[str], pods: Mapping[tuple[str, str], tuple[Endpoint, ...]]) -> None:
        """From now on these revisions, with their pods by revision and name of the port."""
        wanted = {name: _pods_of(name, pods) for name in revisions}
        if wanted != self._wanted:
            self._wanted = wanted
            self.reached &= wanted.keys()
            self.unreached = {name: why for name, why in self.unreached.items() if name in wanted}
            self._news.set()

    def run(self) -> None:
        """Until the process ends."""
        wait: float | None = None
        while True:
            self._news.wait(wait)
            wait = None if self.look() else RETRY_SECONDS

    def look(self) -> bool:
        """Try the revisions that are not reached yet; true once all those of which a pod is known have been reached.

        It ends early where others are wanted meanwhile.
        """
        self._news.clear()
        self._tried = {name: at for name, at in self._tried.items() if name in self.unreached}
        waiting = [name for name, pods in self._wanted.items() if pods and name not in self.reached]
        for name in sorted(waiting, key=lambda name: self._tried.get(name, 0.0)):
            self._look_at(name)
            if self._news.is_set():
                return False
        self.unreached = {name: why for name, why in self.unreached.items() if name in waiting}
        return not self.unreached

    def _look_at(self, name: str) -> None:
        reasons = []
        for pod in self._wanted.get(name, ())[:TRIED]:
            why = self._ask(pod)
            if not why:
                self.reached = (self.reached | {name}) & self._wanted.keys()
                self.unreached = {other: why for other, why in self.unreached.items() if other != name}
                return
            reasons.append(why)
        self._tried[name] = time.monotonic()
        if reasons and name in self._wanted:
            self.unreached = {**self.unreached, name: reasons[0]}


def _pods_of(revision: str, pods: Mapping[tuple[str, str], tuple[Endpoint, ...]]) -> tuple[Pod, ...]:
    grpc = {each.address: each for each in pods.get((revision, GRPC), ())}
    return tuple(Pod(each, grpc.get(each.address)) for each in pods.get((revision, HTTP), ()))


def answers(pod: Pod) -> str:
    """Ask one pod over HTTP/1.1 and, if nobody listens there, over HTTP/2 as gRPC does; both without TLS."""
    asked = pod.http
    try:
        try:
            _ask_http(asked)
        except ConnectionRefusedError:
            if pod.grpc is None:
                raise
            asked = pod.grpc
            _ask_grpc(asked)
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return f"{asked.address} port {asked.port}: {reason}"
    return ""


def _ask_http(at: Endpoint) -> None:
    """Not by http.client, which waits as long as a byte comes now and then."""
    request = f"GET {PATH} HTTP/1.1\r\nhost: {at.address}\r\nuser-agent: podium-router\r\nconnection: close\r\n\r\n"
    with socket.create_connection((at.address, at.port), timeout=SECONDS) as connection:
        connection.sendall(request.encode())
        begun = b""
        while len(begun) < len(HTTP_ANSWER):
            more = connection.recv(len(HTTP_ANSWER) - len(begun))
            if not more:
                raise ConnectionError("closed without an answer")
            begun += more
        if begun != HTTP_ANSWER:
            raise ConnectionError(f"answered {begun!r}, which is no HTTP")


def _ask_grpc(at: Endpoint) -> None:
    with socket.create_connection((at.address, at.port), timeout=SECONDS) as connection:
        connection.sendall(PREFACE)
        if not connection.recv(1):
            raise ConnectionError("closed without an answer")
