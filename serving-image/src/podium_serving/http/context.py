"""What all connections of a server share: limits, the handler, and the memory that they may hold together."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from podium_serving.http.message import Request, Response

Handler = Callable[[Request], "Response | asyncio.Future[Response]"]
Draw = Callable[[float, float], float]


class Client(Protocol):
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

    def room_given(self) -> None:
        """The memory that it waits for is its own now."""


NO_ROOM = "the memory for requests is used up (PODIUM_MEMORY_BYTES): the server is overloaded"


class Budget:
    """Bytes that all connections together may hold of requests, of what is made of them, and of answers.

    Only what a request announces is asked for beforehand, and waits in turn while it does not fit; what is there
    already counts as well, whether it fits or not.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self._waiting: deque[tuple[Client, int]] = deque()

    def take(self, client: Client, size: int) -> bool:
        """Whether there is room; if not, the client is told by `room_given` once it has it, in the order of asking."""
        if not self._waiting and self.used + size <= self.size:
            self.used += size
            return True
        self._waiting.append((client, size))
        return False

    def change(self, difference: int) -> None:
        """A client holds so many bytes more, or fewer."""
        self.used += difference
        while self._waiting and self.used + self._waiting[0][1] <= self.size:
            client, size = self._waiting.popleft()
            self.used += size
            client.room_given()

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._waiting)

    def used_up(self, own: int) -> bool:
        """Whether nothing is left, apart from the bytes that the asking one holds itself."""
        return self.used - own >= self.size

    def withdraw(self, client: Client) -> None:
        """The client waits no longer."""
        self._waiting = deque(each for each in self._waiting if each[0] is not client)
        self.change(0)


class Holding:
    """Bytes of the budget that are held for one request beside its body, until they are released together."""

    def __init__(self, budget: Budget) -> None:
        """Nothing yet."""
        self._budget = budget
        self._size = 0

    def add(self, size: int) -> None:
        """So many bytes more, which are there already."""
        self._size += size
        self._budget.change(size)

    def release(self) -> None:
        """All of them."""
        size, self._size = self._size, 0
        self._budget.change(-size)


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
