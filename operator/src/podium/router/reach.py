"""Whether this router reaches the pods of a revision: asked once, before anybody else is sent there through it.

A pod that answers anything at all is reached: over HTTP, or over gRPC where nobody listens for HTTP. What keeps it from
that (a NetworkPolicy, a mesh that takes no plain text) keeps Envoy from it as well: both are in one pod.
"""

import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from podium.router.endpoints import GRPC, HTTP, Endpoint

SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0
TRIED: Final = 3
"""Pods of a revision that are asked each time: one that answers is enough."""
PATH: Final = "/v2/health/ready"
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
    """What was reached stays so for as long as the pod that answered is there; the rest is tried time and again.

    A revision that lost its pods is reached anew: who gets a weight before its new pod is known here gets 503.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask or answers
        self._wanted: dict[str, tuple[Pod, ...]] = {}
        self._answered: dict[str, Endpoint] = {}
        self._news = threading.Event()
        self.unreached: Mapping[str, str] = {}

    @property
    def reached(self) -> frozenset[str]:
        """The revisions of which a pod that is there has answered."""
        return frozenset(name for name, pods in self._wanted.items() if self._has(name, pods))

    def _has(self, revision: str, pods: Iterable[Pod]) -> bool:
        answered = self._answered.get(revision)
        return answered is not None and any(pod.http == answered for pod in pods)

    def want(self, revisions: Iterable[str], pods: Mapping[tuple[str, str], tuple[Endpoint, ...]]) -> None:
        """From now on these revisions, with their pods by revision and name of the port."""
        wanted = {name: _pods_of(name, pods) for name in revisions}
        if wanted != self._wanted:
            self._wanted = wanted
            self.unreached = {name: why for name, why in self.unreached.items() if name in wanted}
            self._news.set()

    def run(self) -> None:
        """Until the process ends."""
        wait: float | None = None
        while True:
            self._news.wait(wait)
            self._news.clear()
            wait = None if self.look() else RETRY_SECONDS

    def look(self) -> bool:
        """Try the revisions that are not reached yet; true once all those of which a pod is known have been reached."""
        wanted, failed = self._wanted, {}
        self._answered = {name: pod for name, pod in self._answered.items() if name in wanted}
        for name, pods in wanted.items():
            if not pods or self._has(name, pods):
                continue
            reasons = []
            for pod in pods[:TRIED]:
                why = self._ask(pod)
                if not why:
                    self._answered[name] = pod.http
                    break
                reasons.append(why)
            else:
                failed[name] = reasons[0]
        self.unreached = failed
        return not failed


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
    except (OSError, http.client.HTTPException) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        return f"{asked.address} port {asked.port}: {reason}"
    return ""


def _ask_http(at: Endpoint) -> None:
    connection = http.client.HTTPConnection(at.address, at.port, timeout=SECONDS)
    try:
        connection.request("GET", PATH, headers={"user-agent": "podium-router", "connection": "close"})
        connection.getresponse().read(1)
    finally:
        connection.close()


def _ask_grpc(at: Endpoint) -> None:
    with socket.create_connection((at.address, at.port), timeout=SECONDS) as connection:
        connection.sendall(PREFACE)
        if not connection.recv(1):
            raise ConnectionError("closed without an answer")
