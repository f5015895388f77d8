"""Files on their way into the pod: kept when a connection breaks, and when the container is restarted.

Beside them lies a journal, a line for every 8 MiB: how much of which file is there, of which generation, and
the hash of it. After a restart a file is continued only if its first bytes still have that hash.
"""

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from podium_serving.fetch.errors import FetchError, Reason, of_disk
from podium_serving.fetch.source import Entry, Stream

_CHUNK = 8 * 2**20
_GZIP = 31  # zlib's number for gzip's framing with the largest window


@dataclass
class _Partial:
    """The first bytes of a file of the generation `tag`: their hash and number in one, as a signal may interrupt."""

    tag: str = ""
    content: tuple[Any, int] = field(default_factory=lambda: (hashlib.sha256(), 0))
    done: bool = False

    @property
    def size(self) -> int:
        return self.content[1]

    @property
    def digest(self) -> str:
        return str(self.content[0].hexdigest())

    def add(self, chunk: bytes) -> None:
        sha256 = self.content[0].copy()
        sha256.update(chunk)
        self.content = sha256, self.content[1] + len(chunk)


class Staging:
    """The folder `files`, whose content belongs to one URI, and its journal. Errors of the disk are FetchErrors.

    `key` tells the URI from every other, `uri` is what messages may say of it.
    """

    def __init__(self, files: Path, journal: Path, key: str, uri: str) -> None:
        self.files = files
        self._uri = uri
        self._journal = journal
        self._key = key
        self._partials: dict[str, _Partial] = {}
        self._told = _read_journal(journal, key)
        if self._told is None:
            self.remove()

    @property
    def progress(self) -> tuple[int, int]:
        """Whole files, and bytes, that another attempt need not fetch."""
        kept = [partial for partial in self._partials.values() if partial.tag]
        return sum(partial.done for partial in kept), sum(partial.size for partial in kept)

    def prepare(self, paths: Iterable[str]) -> None:
        """Makes the folder, and clears away whatever is not one of these files (of an earlier generation)."""
        wanted = {self.files / path for path in paths}
        folders = {parent for path in wanted for parent in path.parents}
        with disk(self.files):
            self.files.mkdir(mode=0o755, parents=True, exist_ok=True)
            for folder, _, names in os.walk(self.files, topdown=False):
                for name in names:
                    if Path(folder) / name not in wanted:
                        (Path(folder) / name).unlink()
                if Path(folder) not in folders and Path(folder) != self.files:
                    remove(Path(folder))

    def fetch(self, entry: Entry, count: Callable[[int], None]) -> tuple[str, int]:
        """Completes one file; returns its sha256 and size. `count` is told the size as it grows."""
        target = self.files / entry.path
        partial = self._partial(entry, target)
        if partial.done and entry.tag:
            return partial.digest, partial.size
        stream = entry.open(partial.size, partial.tag)
        if stream.offset != partial.size or not stream.tag:
            partial = _Partial()
        # What was decoded cannot be continued: the store counts the bytes before.
        partial.tag = "" if stream.coding else stream.tag
        self._partials[entry.path] = partial
        with disk(target):
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            file = target.open("r+b" if partial.size else "wb")
        try:
            self._copy(entry, partial, file, stream, count)
            try:
                with disk(target):
                    file.close()
            except FetchError:
                # A file system of a network tells only now that it could not write, and not what.
                self._partials[entry.path] = _Partial()
                raise
        finally:
            with contextlib.suppress(OSError):
                file.close()
        partial.done = True
        self._note(entry.path, partial)
        return partial.digest, partial.size

    def _copy(
        self, entry: Entry, partial: _Partial, file: IO[bytes], stream: Stream, count: Callable[[int], None]
    ) -> None:
        target = self.files / entry.path
        written = partial.content
        with disk(target):
            file.seek(partial.size)
            file.truncate()
        try:
            for chunk in _decoded(stream, f"{self._uri}: {entry.path!r}"):
                count(partial.size + len(chunk))
                with disk(target):
                    file.write(chunk)
                partial.add(chunk)
                if partial.size - written[1] >= _CHUNK:
                    written = self._flush(entry, partial, file, written)
        finally:
            self._flush(entry, partial, file, written)
        if entry.size is not None and not stream.coding and partial.size != entry.size:
            # Whatever came is not what was listed, and cannot be continued.
            size, partial.tag = partial.size, ""
            raise FetchError(
                Reason.Incomplete, f"{self._uri}: {entry.path!r} has {size} bytes, {entry.size} were announced"
            )

    def _flush(self, entry: Entry, partial: _Partial, file: IO[bytes], written: tuple[Any, int]) -> tuple[Any, int]:
        """Writes out and notes what the partial counts; returns it. Where that fails, no more than `written` counts."""
        try:
            with disk(self.files / entry.path):
                file.flush()
        except FetchError:
            partial.content = written
            raise
        self._note(entry.path, partial)
        return partial.content

    def _partial(self, entry: Entry, target: Path) -> _Partial:
        """What is there of this file, if it is of the generation that is listed now."""
        if entry.path not in self._partials:
            told = (self._told or {}).get(entry.path)
            self._partials[entry.path] = _verified(told, target) if told else _Partial()
        partial = self._partials[entry.path]
        stale = entry.tag and partial.tag != entry.tag
        if stale or not partial.tag or (entry.size is not None and partial.size > entry.size):
            partial = self._partials[entry.path] = _Partial()
        if partial.tag and partial.size == entry.size:
            partial.done = True
        return partial

    def _note(self, path: str, partial: _Partial) -> None:
        if not partial.tag:
            return
        sha256, size = partial.content
        line = {"path": path, "tag": partial.tag, "size": size, "sha256": sha256.hexdigest()}
        with disk(self._journal), self._journal.open("a") as file:
            if not file.tell():
                file.write(json.dumps({"key": self._key}) + "\n")
            file.write(json.dumps(line) + "\n")

    def remove(self) -> None:
        """Clears away files and journal; what cannot be removed is left."""
        self._partials, self._told = {}, {}
        for path in (self._journal, self.files):
            with contextlib.suppress(OSError):
                remove(path)


def _read_journal(journal: Path, key: str) -> dict[str, dict[str, Any]] | None:
    """The last line about each file; None if there is no journal, or one of another URI."""
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = journal.read_text().splitlines()
    except (OSError, ValueError):
        return None
    for text in lines:
        try:
            line = json.loads(text)
            if "key" in line:
                if line["key"] != key:
                    return None
            else:
                found[line["path"]] = line
        except (ValueError, TypeError, KeyError):
            continue  # torn when the process was killed
    return found


def _verified(told: dict[str, Any], target: Path) -> _Partial:
    """The partial file that the journal tells of, if its bytes are there; else an empty one."""
    partial = _Partial(str(told.get("tag", "")))
    try:
        size = int(told["size"])
        with target.open("rb") as file:
            while partial.size < size and (chunk := file.read(min(_CHUNK, size - partial.size))):
                partial.add(chunk)
    except (OSError, KeyError, ValueError):
        return _Partial()
    whole = partial.size == size and partial.digest == told.get("sha256")
    return partial if whole else _Partial()


def _decoded(stream: Stream, what: str) -> Iterator[bytes]:
    """The file's own bytes, at most 8 MiB at a time however well they were compressed."""
    if not stream.coding:
        yield from stream.chunks
        return
    decoder = zlib.decompressobj(_GZIP)
    try:
        for chunk in stream.chunks:
            while chunk:
                if decoder.eof:
                    decoder = zlib.decompressobj(_GZIP)
                yield decoder.decompress(chunk, _CHUNK)
                chunk = decoder.unconsumed_tail or decoder.unused_data
        while not decoder.eof and (rest := decoder.decompress(b"", _CHUNK)):
            yield rest
    except zlib.error as problem:
        raise FetchError(
            Reason.Incomplete, f"{what} was announced as compressed with gzip, and is not ({problem})"
        ) from None
    if not decoder.eof:
        raise FetchError(Reason.Incomplete, f"{what} ends in the middle of its gzip compression")


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns errors of the disk into FetchErrors that name the path."""
    try:
        yield
    except OSError as problem:
        raise of_disk(problem, os.fspath(path)) from None
