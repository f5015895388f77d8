"""Large JSON is read and written by a process of its own: whoever holds this one's lock holds up everybody.

JSON's parser holds the interpreter's lock; in a thread it lets others in for a moment only, and not at all while the
system has put that thread aside. The process is started when it is first needed (0.2 s, some 30 MB), does one thing
after the other, ends itself when it was idle for IDLE_SECONDS, and is started anew at the next need. Over what takes it
too long it is ended, since everybody else's large JSON waits behind that.

    python -m podium_serving.json_process FD

is the process; FD is its end of a pair of sockets.
"""

import contextlib
import math
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podium_serving.inference import InferRequest, InferResult, NoMemory, Overloaded, TooSlow
from podium_serving.json_codec import JsonCodec
from podium_serving.memory_files import BODY, OBJECT, Buffer, receive, send_body, send_object
from podium_serving.signature import BadRequest, Signature

IDLE_SECONDS = 60.0
_MIB = 2**20
_DONE = {BODY: "read", OBJECT: "written"}
_FIRST_TO_END = "1000"  # of a container without memory the system ends this process before the server


def longest(size: int) -> float:
    """Seconds that reading or writing so many bytes may take.

    Nulls, which are the slowest to read, take half of them on a tenth of a core.
    """
    return 20 + 2 * size / _MIB


class JsonProcess:
    """The process, seen from the server. Its methods block: they are for one thread beside the event loop's."""

    def __init__(
        self,
        signature: Signature,
        model: str,
        version: str,
        idle: float = IDLE_SECONDS,
        longest: Callable[[int], float] = longest,
        memory: float = math.inf,
    ) -> None:
        """Starts nothing yet. `longest` is how many seconds it may take over so many bytes.

        `memory`: bytes that the tensors of a request may take.
        """
        self._longest = longest
        self._begin = (signature, model, version, idle, memory)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process's, if it was started."""
        return self._process.pid if self._process else None

    def decode(self, body: memoryview) -> InferRequest:
        """As JsonCodec.decode.

        Raises NoMemory if the process was ended over it, TooSlow if it took too long, Overloaded if it cannot be had.
        """
        value = self._ask(BODY, body, body.nbytes)
        assert isinstance(value, InferRequest)
        return value

    def encode(self, request: InferRequest, result: InferResult) -> bytearray:
        """As JsonCodec.encode. Raises as decode does."""
        value = self._ask(OBJECT, (InferRequest(request.id, {}, request.outputs), result), result.nbytes)
        assert isinstance(value, bytearray)
        return value

    def close(self) -> None:
        """Ends the process."""
        connection, process, self._connection, self._process = self._connection, self._process, None, None
        if connection is not None:
            connection.close()
        if process is not None:
            process.wait()

    def _ask(self, kind: bytes, value: Any, size: int) -> Any:
        seconds = self._longest(size)
        try:
            answer = self._exchange(kind, value, seconds)
            if answer is None and self._ended() == 0:  # of idleness, at the same moment
                answer = self._exchange(kind, value, seconds)
        except TimeoutError:
            self._kill()
            raise TooSlow(f"{size} bytes were not {_DONE[kind]} within {seconds:g} s") from None
        except OSError as problem:
            self._kill()
            raise Overloaded(f"large JSON cannot be handed on: {problem.strerror or problem}") from None
        if answer is None:
            self._ended()
            raise NoMemory("the process that reads and writes large JSON was ended")
        found = answer[1]
        if isinstance(found, Exception):
            raise found
        return found

    def _exchange(self, kind: bytes, value: Any, seconds: float) -> tuple[bytes, Any] | None:
        """The process's answer; None if it has ended. Raises TimeoutError if there is none after so many seconds."""
        connection = self._started()
        connection.settimeout(seconds)
        try:
            (send_body if kind == BODY else send_object)(connection, value)
        except (BrokenPipeError, ConnectionResetError):
            return None
        with contextlib.suppress(ConnectionResetError):
            return receive(connection)
        return None

    def _started(self) -> socket.socket:
        if self._connection is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._connection = ours
            with theirs:
                number = theirs.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "podium_serving.json_process", str(number)],
                    pass_fds=[number],
                    stdin=subprocess.DEVNULL,
                )
            send_object(ours, self._begin)
        return self._connection

    def _kill(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
        self.close()

    def _ended(self) -> int | None:
        """Forgets the process, and says how it ended."""
        process = self._process
        self.close()
        return process.returncode if process else None


def main(number: int) -> int:
    """Answers until there is nothing to do for too long, or nobody to do it for."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_END)
    connection = socket.socket(fileno=number)
    begin = receive(connection)
    if begin is None:
        return 0
    signature, model, version, idle, memory = begin[1]
    codec = JsonCodec(signature, model, version, memory=memory)
    connection.settimeout(idle)
    with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
        while message := receive(connection):
            _answer(connection, codec, *message)
            del message
    return 0


def _answer(connection: socket.socket, codec: JsonCodec, kind: bytes, value: Any) -> None:
    found: object
    try:
        if kind == OBJECT:
            body: Buffer = codec.encode(*value)
            send_body(connection, body)
            return
        found = codec.decode(memoryview(value))
    except BadRequest as problem:
        found = problem
    except MemoryError:
        found = NoMemory("large JSON could not be read or written")
    except OSError:
        raise
    except Exception as problem:
        # Its traceback ends here; the server's log is to have it.
        problem.add_note(traceback.format_exc())
        found = problem
    send_object(connection, found)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
