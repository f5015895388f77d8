"""What a process that a signal ends leaves behind: a termination message that names the requests it was running.

Nothing can be written at that moment (SIGKILL) or is worth trusting then (SIGSEGV), so it stands in the file at all
times: the file is mapped into memory, and each run writes its line there and wipes it out again. The kernel keeps what
was written when the process is gone. A request costs about a microsecond.
"""

import json
import mmap
import os
from pathlib import Path
from typing import Protocol

import orjson

from podium_serving import termination
from podium_serving.inference import InferRequest

_SMALLEST, _LARGEST = 200, 400
_NOTHING = b"null"
_MESSAGE = "the server was ended from outside or by a fault of onnxruntime, while it ran the requests under `running`"
_LONGEST_ID = 80
_UNTOLD = b'"inputs": "too many to name"}'
_Key = tuple[tuple[str, tuple[int, ...]], ...]


class Words(Protocol):
    """Told what runs."""

    def begin(self, request: InferRequest) -> int:
        """A request is about to run; returns a number for its end. Callable from several threads."""

    def end(self, place: int) -> None:
        """It has run."""


class NoWords:
    """Nowhere to write, as outside a pod."""

    def begin(self, request: InferRequest) -> int:
        """Nothing."""
        return 0

    def end(self, place: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class LastWords:
    """The mapped file. Raises OSError if it cannot be."""

    def __init__(self, path: Path, runs: int) -> None:
        """`runs` is how many there may be at the same time; what exceeds the file's room is not named."""
        head = json.dumps(termination.failed("Died", _MESSAGE, permanent=False))[:-1].encode() + b', "running": ['
        count = min(runs, (termination.LIMIT - len(head)) // _SMALLEST)
        self._width = min(_LARGEST, (termination.LIMIT - len(head) - 2) // count - 1)
        self._empty = _NOTHING.ljust(self._width)
        self._free = [len(head) + (self._width + 1) * number for number in range(count)]
        self._lines: dict[_Key, bytes] = {}
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.write(head + b",".join([self._empty] * count) + b"]}")
            file.truncate()
            file.flush()
            self._file = os.dup(file.fileno())
        self._map = mmap.mmap(self._file, 0)
        self._closed = False

    def begin(self, request: InferRequest) -> int:
        """Writes the request's id and shapes; returns where, 0 if there is no room."""
        if self._closed or not self._free:
            return 0
        place = self._free.pop()
        # With the names, since clients may send them in any order.
        key = tuple([(name, tensor.shape) for name, tensor in request.feeds.items()])
        line = self._lines.get(key)
        if line is None:
            line = self._told(request, key)
        if request.id is not None:
            line = self._identified(request.id, line)
        self._map[place : place + self._width] = line
        return place

    def end(self, place: int) -> None:
        """Wipes it out."""
        if place and not self._closed:
            self._map[place : place + self._width] = self._empty
            self._free.append(place)

    def close(self) -> None:
        """Leaves the file empty: the process ends by itself, and whoever has something to say will write it."""
        if not self._closed:
            self._closed = True
            os.ftruncate(self._file, 0)
            os.close(self._file)

    def _told(self, request: InferRequest, key: _Key) -> bytes:
        inputs = {name: list(tensor.shape) for name, tensor in request.feeds.items()}
        line = self._fitted(f'{{"inputs": {json.dumps(inputs)}}}'.encode())
        # Clients send a few shapes over and over; one that sends ever new ones must not fill the memory.
        if len(self._lines) >= 1000:
            self._lines.clear()
        self._lines[key] = line
        return line

    def _identified(self, name: str, line: bytes) -> bytes:
        """The line with the request's id before its shapes; without these if there is no room for both."""
        head = b'{"id": ' + orjson.dumps(name[:_LONGEST_ID]) + b", "
        whole = head + line.rstrip()[1:]
        if len(whole) > self._width:
            # An id is what people can search their logs for. Of one character JSON makes up to six bytes.
            whole = head + _UNTOLD
        if len(whole) > self._width:
            whole = b'{"id": ' + orjson.dumps(name[: _LONGEST_ID // 4]) + b", " + _UNTOLD
        return whole.ljust(self._width)

    def _fitted(self, text: bytes) -> bytes:
        """The text padded with spaces to the width of its slot; one that is too long is replaced."""
        return (text if len(text) <= self._width else b"{" + _UNTOLD).ljust(self._width)


def opened(runs: int) -> LastWords | NoWords:
    """The container's own, or none where there is no such file."""
    path = termination.path()
    if path is None:
        return NoWords()
    try:
        return LastWords(path, runs)
    except OSError:
        return NoWords()
