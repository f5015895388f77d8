"""What the agent tells whoever asks it, and how many may ask."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podium.router.agent import Agent, serve
from podium.router.said import Said

SAID = Said(applied={"fraud-router": "{}"})
MOST, SECONDS = 4, 0.5


@pytest.fixture
def port() -> Iterator[int]:
    """Where an agent answers."""
    agent = cast(Agent, SimpleNamespace(said=lambda: SAID))
    server = serve(agent, "127.0.0.1", 0, most=MOST, seconds=SECONDS)
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


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


def test_it_says_what_is_loaded_time_and_again(port: int) -> None:
    for _ in range(2 * MOST):
        assert ask(port) == SAID.to_json()


def test_callers_who_say_nothing_are_few_and_sent_away(port: int) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(MOST + 3)]
        end = time.monotonic() + 10
        while callers() < MOST:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(SECONDS / 5)
        assert callers() == MOST

        assert ask(port) == SAID.to_json()
        assert idle[0].recv(1) == b""
