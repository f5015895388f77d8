"""A disk that fails while a file is written: what Python has kept back is not taken for written."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.source import Entry, Stream
from podium_serving.fetch.staging import Staging

BODY = os.urandom(9 * 2**20 + 5)


class Full:
    """A file whose disk is full beyond so many bytes, which shows when it is written, flushed or closed."""

    def __init__(self, file: IO[bytes], room: int, at: str) -> None:
        self._file = file
        self._room = room
        self._at = at
        self._buffer = b""

    def write(self, chunk: bytes) -> int:
        if self._at == "write" and self._file.tell() + len(self._buffer) + len(chunk) > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._buffer += chunk
        return len(chunk)

    def flush(self) -> None:
        room = max(0, self._room - self._file.tell()) if self._at != "close" else len(self._buffer)
        fits, self._buffer = self._buffer[:room], self._buffer[room:]
        self._file.write(fits)
        self._file.flush()
        if self._buffer:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._at == "close" and not self._file.closed:
            self._file.truncate(self._room)
            self._file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("at", ["write", "flush", "close"])
@pytest.mark.parametrize("room", [1000, 8 * 2**20 + 100], ids=["at once", "behind what is noted"])
@pytest.mark.parametrize("size", [None, len(BODY)], ids=["https", "s3"])
def test_what_a_full_disk_has_not_taken_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, room: int, size: int | None
) -> None:
    def chunks(offset: int) -> Iterator[bytes]:
        stream = io.BytesIO(BODY[offset:])
        while chunk := stream.read(100_000):
            yield chunk

    entry = Entry("a", size, lambda offset, tag: Stream(offset, "one", chunks(offset)), "one" if size else "")
    stage = Staging(tmp_path / "files", tmp_path / "journal", "key", "uri")
    stage.prepare(["a"])
    real = Path.open

    def full(path: Path, *arguments: Any, **named: Any) -> Any:
        file = real(path, *arguments, **named)
        return Full(file, room, at) if path == tmp_path / "files" / "a" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(FetchError) as failure:
            stage.fetch(entry, lambda _: None)
    assert failure.value.reason is Reason.DiskFull
    # The same process meets it again when the node has freed some space.
    assert stage.fetch(entry, lambda _: None) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert (tmp_path / "files" / "a").read_bytes() == BODY
