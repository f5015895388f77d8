"""Writing a model to its place: staged beside it, hashed on the way, moved there when it is whole and right."""

import contextlib
import ctypes
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from podium_serving import kinds
from podium_serving.fetch.config import Config
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.source import Listing, changed
from podium_serving.fetch.staging import Staging, disk, remove
from podium_serving.folders import is_leftover
from podium_serving.logs import log

_PROGRESS_SECONDS = 10.0
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


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


def staging(config: Config) -> Staging:
    """Where the model is put together: it survives an attempt, and a container, that could not complete it."""
    _heal(config)
    return Staging(_beside(config, "fetching"), _beside(config, "journal"), _key(config), config.shown_uri)


def place(config: Config, listing: Listing, stage: Staging) -> Placed:
    """Fetches every entry and puts the model at config.path, which is replaced whole or left as it was."""
    listing = _for_layout(config, listing)
    _check_listing(config, listing)
    stage.prepare(entry.path for entry in listing.entries)
    fetched = _fetch(config, listing, stage)
    if not config.sha256 or config.sha256 != fetched.digest:
        _check_generation(config, listing)
        _check_kind(config, listing, stage)
        _check_digest(config, fetched)
    source = stage.files / listing.entries[0].path if config.layout == "File" else stage.files
    content = _Record(_key(config), config.layout, listing.folder, asdict(fetched))
    with disk(config.path):
        # Before the model itself: a record of what is not there is told from the hash, a model without one is fetched
        # again.
        written = _beside(config, "fetched.new")
        written.write_text(json.dumps(asdict(content)))
        written.replace(_beside(config, "fetched"))
        _move(source, config.path, _beside(config, "replaced"))
    stage.remove()
    with contextlib.suppress(OSError):
        remove(_beside(config, "replaced"))
    return fetched


def reusable(config: Config) -> Placed | None:
    """What an earlier run placed, if it is still whole, of the same URI and layout, and has the asked-for digest."""
    try:
        record = _Record(**json.loads(_beside(config, "fetched").read_text()))
        if (record.uri, record.layout) != (_key(config), config.layout):
            return None
        placed = Placed(**record.placed)  # type: ignore[arg-type]
        if config.sha256 and config.sha256 != placed.digest:
            return None
        found = _measure(config.path, record.folder)
    except (OSError, ValueError, TypeError):
        return None
    return placed if found == placed else None


def _beside(config: Config, what: str) -> Path:
    return config.path.with_name(f".{config.path.name}.{what}")


def _key(config: Config) -> str:
    """Names the URI without telling its query: that may be a signature, and may be all that two URIs differ in."""
    return f"{config.shown_uri} {hashlib.sha256(config.uri.encode()).hexdigest()[:16]}"


def _move(source: Path, target: Path, aside: Path) -> None:
    """Renames source to target, whatever is there: a kill leaves the one or the other. Raises OSError."""
    if not os.path.lexists(target):
        source.rename(target)
        return
    if source.is_file() and not target.is_dir():
        source.replace(target)
        return
    if not _exchange(source, target):
        # A file system without exchange (NFS). What a kill leaves between the two is healed by the next run.
        remove(aside)
        target.rename(aside)
        source.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two paths change places at once, as no rename of a folder onto another does; False where it cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return hasattr(libc, "renameat2") and libc.renameat2(*arguments) == 0


def _heal(config: Config) -> None:
    """Puts back what a run has set aside that was killed before the new model was in its place."""
    aside = _beside(config, "replaced")
    with contextlib.suppress(OSError):
        if os.path.lexists(aside) and not os.path.lexists(config.path):
            aside.rename(config.path)


def _for_layout(config: Config, listing: Listing) -> Listing:
    """Where a single file is wanted, what tools have left beside it is not counted."""
    if config.layout == "Folder" or len(listing.entries) < 2:
        return listing
    kept = tuple(entry for entry in listing.entries if not any(map(is_leftover, entry.path.split("/"))))
    again = listing.again
    return replace(listing, entries=kept, again=again and (lambda: _for_layout(config, again())))


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


def _check_kind(config: Config, listing: Listing, stage: Staging) -> None:
    """Refuses what is no model for any runtime. In a folder such a file may lie beside the model."""
    if len(listing.entries) != 1:
        return
    path = stage.files / listing.entries[0].path
    with disk(path), path.open("rb") as file:
        kind = kinds.of(file.read(kinds.HEAD_BYTES))
    if kind and kind.never_a_model:
        raise FetchError(Reason.NotAModel, f"{config.shown_uri}: no model: it is {kind.name}; {kind.way_out}")


def _check_digest(config: Config, fetched: Placed) -> None:
    if config.sha256 and fetched.digest != config.sha256:
        raise FetchError(
            Reason.ChecksumMismatch,
            f"{config.shown_uri}: expected sha256 {config.sha256}, got {fetched.digest}; "
            "either the bytes are not the ones that were meant, or spec.model.sha256 has to be corrected",
            expected=config.sha256,
            got=fetched.digest,
        )


def _check_generation(config: Config, listing: Listing) -> None:
    """Raises FetchError if files were overwritten, added or removed since the listing."""
    if listing.again is None:
        return
    before, after = listing.generation, listing.again().generation
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            raise changed(config.shown_uri, repr(path))


def _fetch(config: Config, listing: Listing, stage: Staging) -> Placed:
    digests: list[tuple[str, str]] = []
    total = 0
    progress = _progress(config)
    for entry in listing.entries:
        before = total

        def count(size: int, before: int = before) -> None:
            _check_size(config, before + size)
            progress(before + size)

        sha256, size = stage.fetch(entry, count)
        total += size
        digests.append((entry.path, sha256))
    digest = digest_of_folder(digests) if listing.folder else digests[0][1]
    return Placed(digest, total, len(digests))


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
