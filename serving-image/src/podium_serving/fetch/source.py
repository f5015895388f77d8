"""What a URI turned out to name: files, each with a way to read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podium_serving.fetch.errors import FetchError, Reason


@dataclass(frozen=True)
class Stream:
    """An answer of the store.

    `offset` is where in the file its first byte belongs: where it was asked to begin, or 0 if it begins anew. `tag`
    names the generation of the file, "" when the store tells none: then nothing can be continued later. `coding` is
    "gzip" for bytes that have to be decoded.
    """

    offset: int
    tag: str
    chunks: Iterator[bytes]
    coding: str = ""


@dataclass(frozen=True)
class Entry:
    """One file: its path relative to what the URI names, its size in bytes and its tag ("") as far as known before.

    `open(offset, tag)` reads on from a byte of that generation, or from 0 with "".
    """

    path: str
    size: int | None
    open: Callable[[int, str], Stream]
    tag: str = ""


@dataclass(frozen=True)
class Listing:
    """The files behind a URI; `folder` tells a folder of one file from that file.

    `again` lists anew what may have been overwritten file by file meanwhile; None where it cannot.
    """

    folder: bool
    entries: tuple[Entry, ...]
    again: "Callable[[], Listing] | None" = None

    @property
    def generation(self) -> dict[str, tuple[int | None, str]]:
        """What differs when a file is overwritten, added or removed."""
        return {entry.path: (entry.size, entry.tag) for entry in self.entries}


def check_path(path: str, uri: str) -> str:
    """Returns a relative path that stays inside its folder; raises FetchError for any other."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path or "\n" in path:
        raise FetchError(
            Reason.UnsafePath, f"{uri}: {path!r} is no name for a file inside the model's folder; rename it"
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        # The folder's digest is of names as UTF-8.
        raise FetchError(Reason.UnsafePath, f"{uri}: the name {path!r} is not UTF-8; rename it") from None
    return path


def changed(uri: str, what: str) -> FetchError:
    """The failure of a model that is overwritten while it is read; half of each generation is never placed."""
    return FetchError(Reason.Changed, f"{uri}: {what} was changed while the model was being fetched")
