"""What all connections of a server share: limits, the handler, and the memory that they may hold together."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from podium_serving.budget import Budget, Waiter
from podium_serving.http.message import Request, Response

Handler = Callable[[Request], "Response | asyncio.Future[Response]"]
Draw = Callable[[float, float], float]


class Client(Waiter, Protocol):
    """A connection, as its context and the server see it."""

    @property
    def active(self) -> bool:
        """A request is being received, handled or waits; or an answer is not yet sent."""

    def close(self) -> None:
        """Ends the connection once what has been written is sent."""

    def abort(self) -> None:
        """Ends the connection at once."""

    def check_timeouts(self, now: float) -> None:
        """To be called every second."""


@dataclass
class Context:
    """What all connections of a server share; times in seconds, sizes in bytes.

    `draining` makes every answer the last of its connection. `life` is how long a connection is kept for further
    requests, give or take a fifth (0: for ever): who keeps one for hours never meets the pods that came since.
    `no_room` is told of each request that is refused for want of memory; `crowded` says whether requests wait for
    others.
    """

    # Gets every request, refused ones too, so that it can count them; those it answers with their refusal.
    handler: Handler
    max_body: int
    keep_alive: float
    read_timeout: float
    clock: Callable[[], float]
    body_timeout: float = 600.0
    life: float = 0.0
    room_timeout: float = 5.0
    budget: Budget = field(default_factory=lambda: Budget(2**62))
    no_room: Callable[[], None] = lambda: None
    crowded: Callable[[], bool] = lambda: True
    extra_headers: bytes = b""
    draining: bool = False
    draw: Draw = random.uniform
    connections: "set[Client]" = field(default_factory=set)
    date: bytes = b""

    def tick(self) -> None:
        """To be called every second: renews the Date header and ends connections that idle or stall for too long."""
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
        now = self.clock()
        for connection in list(self.connections):
            connection.check_timeouts(now)

    def end_of_life(self, now: float) -> float:
        """From when on an answer is the last of a connection that is accepted now."""
        return now + self.draw(0.8 * self.life, 1.2 * self.life) if self.life else float("inf")
