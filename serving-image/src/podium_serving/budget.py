"""The memory that all requests of a server may hold together, whatever front they came by."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

NO_ROOM = "the memory for requests is used up (PODIUM_MEMORY_BYTES): the server is overloaded"
NO_ROOM_TO_RUN = "other runs and their results use up the memory that runs may take: the server is overloaded"
NEGLIGIBLE = 2**18
"""Bytes: what a few small requests hold."""


def memory_of_all(memory: float) -> str:
    """The words for the budget's size, in a message that refuses what is larger, and the ways out."""
    return (
        f"{memory} bytes, the memory for all requests (PODIUM_MEMORY_BYTES, or a quarter of what the model leaves of "
        "the container's limit): send fewer rows at once, or raise spec.runtime.resources.limits.memory"
    )


def tensors_too_large(size: int, memory: float) -> str:
    """Why a request is refused whose tensors take so many bytes."""
    return f"the request's tensors take {size} bytes, which exceeds {memory_of_all(memory)}"


def result_too_large(size: int, memory: float) -> str:
    """Why a result of so many bytes is not written."""
    return f"the result takes {size} bytes, which exceeds {memory_of_all(memory)}"


class Waiter(Protocol):
    """Who waits for room."""

    def room_given(self) -> None:
        """The memory that it waits for is its own now."""


class Budget:
    """Bytes that all connections together may hold of requests, of what is made of them, and of answers.

    What a request announces, and what a large body can become at most, is asked for beforehand, and waits while it does
    not fit, unless no other large body is there; what is there already counts as well, whether it fits or not. Changed
    on the event loop's thread only.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        # Requests with large bodies whose tensors or results are there, or being made.
        self.large = 0
        # To be called once, as soon as anything is given back.
        self.freed: Callable[[], None] | None = None
        self._waiting: deque[tuple[Waiter, int]] = deque()

    def take(self, waiter: Waiter, size: int) -> bool:
        """Whether there is room; if not, the waiter is told by `room_given` once it has it, in the order of asking."""
        if not self._waiting and self.used + size <= self.size:
            self.used += size
            return True
        self._waiting.append((waiter, size))
        return False

    def change(self, difference: int) -> None:
        """Somebody holds so many bytes more, or fewer."""
        self.used += difference
        while self._waiting and self.used + self._waiting[0][1] <= self.size:
            waiter, size = self._waiting.popleft()
            self.used += size
            waiter.room_given()
        if self.freed is not None and difference <= 0:
            freed, self.freed = self.freed, None
            freed()

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._waiting)

    def used_up(self, own: int) -> bool:
        """Whether nothing is left, apart from the bytes that the asking one holds itself. For any thread."""
        return self.used - own >= self.size

    def withdraw(self, waiter: Waiter) -> None:
        """The waiter waits no longer."""
        self._waiting = deque(each for each in self._waiting if each[0] is not waiter)
        self.change(0)
