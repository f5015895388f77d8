"""What the agent tells whoever asks it, and how many may ask."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podium.router.agent import Agent, serve
from podium.router.said import Said

SAID = Said(applied={"fraud-router": "{}"})
MOST = 4
Begin = Callable[[float], int]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins an agent's server, whose callers may be silent for so many seconds; answers its port."""
    with ExitStack() as stack:

        def begin(seconds: float) -> int:
            agent = cast(Agent, SimpleNamespace(said=lambda: SAID))
            server = serve(agent, "127.0.0.1", 0, most=MOST, seconds=seconds)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield begin


def ask(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/applied")
        return json.load(connection.getresponse())
    finally:
        connection.close()


def callers() -> int:
    """Who is answered now, each in a thread."""
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def test_it_says_what_is_loaded_time_and_again(begin: Begin) -> None:
    port = begin(60)
    for _ in range(2 * MOST):
        assert ask(port) == SAID.to_json()


def test_who_says_nothing_is_sent_away_and_keeps_nobody_from_asking(begin: Begin) -> None:
    port = begin(0.2)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(MOST)]

        assert ask(port) == SAID.to_json()
        assert idle[0].recv(1) == b""


def test_no_more_than_so_many_are_answered_at_a_time(begin: Begin) -> None:
    port = begin(60)
    with ExitStack() as stack:
        for _ in range(MOST + 3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        end = time.monotonic() + 30
        while callers() < MOST:
            assert time.monotonic() < end, "nobody is answered"
            time.sleep(0.01)
        # Whoever would be one too many would have its thread at once.
        time.sleep(0.2)
        assert callers() == MOST
    assert ask(port) == SAID.to_json()


@pytest.mark.parametrize(
    ("cluster", "routing", "first"), [(None, None, None), (7.0, None, 7.0), (None, 0.0, 0.0), (7.0, 3.0, 3.0)]
)
def test_it_looks_again_when_the_first_of_what_lingers_may_go(
    cluster: float | None, routing: float | None, first: float | None
) -> None:
    parts = {"_files": cluster, "_state": routing}
    agent = SimpleNamespace(**{name: SimpleNamespace(next_look=lambda at=at: at) for name, at in parts.items()})
    assert Agent.next_look(cast(Agent, agent)) == first
