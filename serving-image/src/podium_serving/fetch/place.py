"""Writing a model to its place: staged beside it, hashed on the way, renamed when it is whole and right."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from podium_serving.fetch.config import Config
from podium_serving.fetch.errors import FetchError, Reason, of_disk
from podium_serving.fetch.source import Entry, Listing
from podium_serving.logs import log

_CHUNK = 8 * 2**20
_PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Placed:
    """What lies at the path: the digest of what the URI names, its bytes and files."""

    digest: str
    bytes: int
    files: int


@dataclass(frozen=True)
class _Record:
    """What an earlier run left beside the path, so that a re-run of the same pod need not fetch again."""

    uri: str
    layout: str
    folder: bool
    placed: dict[str, object]


def digest_of_folder(files: Iterable[tuple[str, str]]) -> str:
    """The digest of a folder from (relative path, sha256) pairs: sha256sum's lines, sorted by path as bytes."""
    lines = sorted((path.encode(), sha256) for path, sha256 in files)
    text = b"".join(sha256.encode() + b"  " + path + b"\n" for path, sha256 in lines)
    return hashlib.sha256(text).hexdigest()


def place(config: Config, listing: Listing) -> Placed:
    """Fetches every entry and puts the model at config.path, which is replaced whole or left as it was."""
    _check_listing(config, listing)
    staging, record = _beside(config)
    try:
        with _disk(staging):
            _remove(staging)
            staging.mkdir(mode=0o755, parents=True)
        fetched = _fetch(config, listing, staging)
        _check_digest(config, fetched)
        with _disk(config.path):
            record.unlink(missing_ok=True)
            _remove(config.path)
            if config.layout == "File":
                (staging / listing.entries[0].path).rename(config.path)
            else:
                staging.rename(config.path)
            content = _Record(config.shown_uri, config.layout, listing.folder, asdict(fetched))
            record.write_text(json.dumps(asdict(content)))
        return fetched
    finally:
        with contextlib.suppress(OSError):
            _remove(staging)


def reusable(config: Config) -> Placed | None:
    """What an earlier run placed, if it is still whole, of the same URI and layout, and has the asked-for digest."""
    _, file = _beside(config)
    try:
        record = _Record(**json.loads(file.read_text()))
        if (record.uri, record.layout) != (config.shown_uri, config.layout):
            return None
        placed = Placed(**record.placed)  # type: ignore[arg-type]
        if config.sha256 and config.sha256 != placed.digest:
            return None
        found = _measure(config.path, record.folder)
    except (OSError, ValueError, TypeError):
        return None
    return placed if found == placed else None


def _beside(config: Config) -> tuple[Path, Path]:
    """The names of the staging folder and the record."""
    path = config.path
    return path.with_name(f".{path.name}.fetching"), path.with_name(f".{path.name}.fetched")


def _check_listing(config: Config, listing: Listing) -> None:
    entries = listing.entries
    if config.layout == "File" and len(entries) != 1:
        names = ", ".join(entry.path for entry in entries[:3])
        raise FetchError(
            Reason.NotAFile,
            f"{config.shown_uri}: holds {len(entries)} files ({names}, ...), but the runtime takes a single file; "
            "name that file in spec.model.uri",
        )
    _check_size(config, sum(entry.size or 0 for entry in entries))


def _check_size(config: Config, size: int) -> None:
    if config.max_bytes and size > config.max_bytes:
        raise FetchError(
            Reason.TooLarge,
            f"{config.shown_uri}: has {size} bytes or more, allowed are {config.max_bytes}; "
            "raise spec.model.storage.sizeLimit",
        )


def _check_digest(config: Config, fetched: Placed) -> None:
    if config.sha256 and fetched.digest != config.sha256:
        raise FetchError(
            Reason.ChecksumMismatch,
            f"{config.shown_uri}: expected sha256 {config.sha256}, got {fetched.digest}; "
            "either the bytes are not the ones that were meant, or spec.model.sha256 has to be corrected",
            expected=config.sha256,
            got=fetched.digest,
        )


def _fetch(config: Config, listing: Listing, staging: Path) -> Placed:
    digests: list[tuple[str, str]] = []
    total = 0
    progress = _progress(config)
    for entry in listing.entries:
        before = total

        def count(size: int, before: int = before) -> None:
            _check_size(config, before + size)
            progress(before + size)

        sha256, size = _write(staging / entry.path, entry, count)
        if entry.size is not None and size != entry.size:
            raise FetchError(
                Reason.Incomplete, f"{config.shown_uri}: {entry.path!r} has {size} bytes, {entry.size} were announced"
            )
        total += size
        digests.append((entry.path, sha256))
    digest = digest_of_folder(digests) if listing.folder else digests[0][1]
    return Placed(digest, total, len(digests))


def _write(target: Path, entry: Entry, count: Callable[[int], None]) -> tuple[str, int]:
    """Streams one file to disk; returns its sha256 and size."""
    sha256 = hashlib.sha256()
    size = 0
    with _disk(target):
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        file = target.open("xb")
    with file:
        for chunk in entry.read():
            sha256.update(chunk)
            size += len(chunk)
            count(size)
            with _disk(target):
                file.write(chunk)
        with _disk(target):
            file.flush()
    return sha256.hexdigest(), size


def _progress(config: Config) -> Callable[[int], None]:
    last = time.monotonic()

    def report(size: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            log(logging.INFO, "fetching", uri=config.shown_uri, bytes=size)

    return report


def _measure(path: Path, folder: bool) -> Placed:
    """The digest of what lies at the path, in the terms of what the URI named."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    digests = []
    for file in files:
        with file.open("rb") as opened:
            name = file.name if path.is_file() else str(file.relative_to(path))
            digests.append((name, hashlib.file_digest(opened, "sha256").hexdigest()))
    digest = digest_of_folder(digests) if folder else digests[0][1] if len(digests) == 1 else ""
    return Placed(digest, sum(file.stat().st_size for file in files), len(files))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turns errors of the disk into FetchErrors that name the path."""
    try:
        yield
    except OSError as problem:
        raise of_disk(problem, os.fspath(path)) from None
