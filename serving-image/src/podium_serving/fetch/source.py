"""What a URI turned out to name: files, each with a way to read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podium_serving.fetch.errors import FetchError, Reason


@dataclass(frozen=True)
class Entry:
    """One file: its path relative to what the URI names, its size in bytes if known, and its bytes."""

    path: str
    size: int | None
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Listing:
    """The files behind a URI; `folder` tells a folder of one file from that file."""

    folder: bool
    entries: tuple[Entry, ...]


def check_path(path: str, uri: str) -> str:
    """Returns a relative path that stays inside its folder; raises FetchError for any other."""
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path or "\n" in path:
        raise FetchError(
            Reason.UnsafePath, f"{uri}: {path!r} is no name for a file inside the model's folder; rename it"
        )
    return path
