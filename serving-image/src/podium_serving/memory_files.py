"""Messages between this process and one of its own, in files without a name that are in memory alone.

Bodies and tensors are written and read without the interpreter's lock; tensors are used where they lie.
"""

import mmap
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

Buffer = bytes | bytearray | memoryview
BODY, OBJECT = b"b", b"o"
_ALIGNMENT = 64  # numpy and onnxruntime take no tensor that lies across their elements' boundaries
_SIZE = struct.Struct("<Q")


def send_body(connection: socket.socket, body: Buffer) -> None:
    """Bytes as they are, at least one. Raises OSError."""
    _send(connection, BODY, [body])


def send_object(connection: socket.socket, value: object) -> None:
    """What pickle takes; arrays lie behind it. Raises OSError."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts: list[Buffer] = [text, *(each.raw() for each in buffers)]
    sizes = [part.nbytes if isinstance(part, memoryview) else len(part) for part in parts]
    head = b"".join(map(_SIZE.pack, (len(sizes), *sizes)))
    _send(connection, OBJECT, [head, *parts])


def receive(connection: socket.socket) -> tuple[bytes, Any] | None:
    """The kind of the next message, and its body or its object; None if the other side has ended.

    Raises OSError, TimeoutError among them. Only a process of our own may be at the other end: pickle trusts it.
    """
    kind, files, *_ = socket.recv_fds(connection, 1, 1)
    if not files:
        return None
    try:
        return kind, _read(files[0]) if kind == BODY else _object(memoryview(mmap.mmap(files[0], 0)))
    finally:
        os.close(files[0])


def _send(connection: socket.socket, kind: bytes, parts: Sequence[Buffer]) -> None:
    file = os.memfd_create("podium")
    try:
        at = 0
        for part in parts:
            at = _aligned(at)
            rest = memoryview(part).cast("B") if len(part) else memoryview(b"")
            while rest.nbytes:
                written = os.pwrite(file, rest, at)
                at, rest = at + written, rest[written:]
        socket.send_fds(connection, [kind], [file])
    finally:
        os.close(file)


def _read(file: int) -> bytearray:
    body = bytearray(os.fstat(file).st_size)
    rest = memoryview(body)
    while rest.nbytes:
        rest = rest[os.preadv(file, [rest], len(body) - rest.nbytes) :]
    return body


def _object(view: memoryview) -> Any:
    (count,) = _SIZE.unpack_from(view)
    at, parts = _SIZE.size * (1 + count), []
    for (size,) in _SIZE.iter_unpack(view[_SIZE.size : at]):
        at = _aligned(at)
        parts.append(view[at : at + size])
        at += size
    return pickle.loads(parts[0], buffers=parts[1:])


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT
