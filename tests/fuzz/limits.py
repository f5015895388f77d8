"""What reading an input may cost, and which input it was if its process is gone."""

import mmap
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

CPU_SECONDS = 1.0
WALL_SECONDS = 30.0
"""So long that nobody takes it for want of a core alone: what loops or waits for ever is all that it has to end."""
_ROOM = 2**22
_NUMBER = 4


class Limits:
    """Those of one reader. Made before its process is forked: the memory is then of both, and outlives the process."""

    def __init__(self) -> None:
        self.wall = WALL_SECONDS
        self._memory = mmap.mmap(-1, _ROOM)

    @contextmanager
    def reading(self, *given: object) -> Iterator[None]:
        """Around the reading of an input.

        The kernel itself ends a process that takes too long, with SIGALRM: a handler in Python would not be run in a
        loop in C, and what it raises could be caught as a refusal, or be shrunk for hours.
        """
        text = repr(given).encode()[: _ROOM - _NUMBER]
        self._memory[: _NUMBER + len(text)] = len(text).to_bytes(_NUMBER) + text
        started = time.thread_time()
        signal.setitimer(signal.ITIMER_REAL, self.wall)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert time.thread_time() - started < CPU_SECONDS, given

    def last(self) -> str:
        """The input that is, or was last, read."""
        length = int.from_bytes(self._memory[:_NUMBER])
        return self._memory[_NUMBER : _NUMBER + length].decode()
