"""The load client over gRPC: a server that misbehaves in one way, and the failure that has to be seen."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from tests.cluster.ports import reserve
from tests.load import Counts, Load, Question

NAME = "named-a"
Behaviour = Callable[[grpc.ServicerContext], bytes]


def right(context: grpc.ServicerContext) -> bytes:
    context.send_initial_metadata((("x-podium-revision", NAME),))
    return NAME.encode()


def unavailable(context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    raise AssertionError


def wrong(context: grpc.ServicerContext) -> bytes:
    right(context)
    return b"named-b"


def nameless(context: grpc.ServicerContext) -> bytes:
    return NAME.encode()


def slow(context: grpc.ServicerContext) -> bytes:
    time.sleep(3)
    return right(context)


class Calls(grpc.GenericRpcHandler):
    """Answers 30 calls rightly, then every tenth by `bad`; `asked` counts all."""

    def __init__(self, bad: Behaviour) -> None:
        self._bad, self._numbers = bad, itertools.count()
        self.asked = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        number = next(self._numbers)
        self.asked = max(self.asked, number + 1)
        return (right if number < 30 or number % 10 else self._bad)(context)


@contextmanager
def serving(calls: Calls) -> Iterator[str]:
    """A server; yields the URL of a method."""
    (port,) = reserve(1)
    with ThreadPoolExecutor(64) as pool:
        server = grpc.server(pool, handlers=[calls], options=[("grpc.so_reuseport", 0)])
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        try:
            yield f"grpc://127.0.0.1:{port}/some.Service/Method"
        finally:
            server.stop(None).wait()


def seen(bad: Behaviour) -> tuple[Counts, int]:
    """What the client counts, and the calls that the server got."""
    calls = Calls(bad)
    timeout = 1.5 if bad is slow else 10
    with serving(calls) as url, Load(url, [Question("")], rate=100, timeout=timeout) as load:
        load.await_answers(60, seconds=60)
        return load.close(), calls.asked


def test_right_answers_are_no_failures() -> None:
    counts, asked = seen(right)

    assert not counts.failed, str(counts)
    assert counts.revisions == {NAME: counts.sent} == {NAME: asked}


@pytest.mark.parametrize(
    ("bad", "kind"),
    [(unavailable, "grpc UNAVAILABLE"), (wrong, "wrong"), (nameless, "nameless"), (slow, "late")],
)
def test_a_failure_is_counted_by_its_kind_and_no_call_is_tried_again(bad: Behaviour, kind: str) -> None:
    counts, asked = seen(bad)

    assert set(counts.failures) == {kind}, str(counts)
    assert counts.sent == counts.answered + counts.failed == asked


def test_a_server_that_is_gone_is_a_failure() -> None:
    with serving(Calls(right)) as url:
        load = Load(url, [Question("")], rate=100)
        load.__enter__()
        load.await_answers(20)
    before = load.counts().failed
    while load.counts().failed < before + 10:
        assert load.counts().seconds < 20
    counts = load.close()

    assert set(counts.failures) == {"grpc UNAVAILABLE"}, str(counts)
