"""pvc://claim/path: a file or folder of a claim that is mounted into the pod."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from podium_serving.fetch.config import Config, Location
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.source import Entry, Listing, Stream, changed, check_path
from podium_serving.folders import is_leftover

_CHUNK = 8 * 2**20
# mkfs makes it in every ext file system, readable for root alone.
_LOST_AND_FOUND = "lost+found"


def listing(config: Config, location: Location) -> Listing:
    """The file, or the folder's files, symbolic links followed inside the claim. Raises FetchError."""
    root = config.pvc_path
    if not root.is_dir():
        raise FetchError(
            Reason.InvalidConfiguration, f"{config.shown_uri}: no claim is mounted at {root} (PODIUM_PVC_PATH)"
        )
    path = root / location.path
    try:
        # Not is_file(), which takes what it may not look at for nothing (until Python 3.14).
        if stat.S_ISREG(path.stat().st_mode):
            return Listing(False, (_entry(config, path, check_path(path.name, config.shown_uri)),))
        return _folder(config, location, path)
    except (FileNotFoundError, NotADirectoryError):
        raise _nothing(config, f"the claim {location.host} has no {location.path!r}") from None
    except OSError as problem:
        raise _unreadable(config, problem) from None


def _folder(config: Config, location: Location, path: Path) -> Listing:
    entries: list[Entry] = []
    passed_over: list[Exception] = []
    for file in _walk(config, path, path, passed_over):
        leftover = _leftover(path, file)
        try:
            entry = _entry(config, file, check_path(str(file.relative_to(path)), config.shown_uri))
            if leftover:
                file.open("rb").close()
            entries.append(entry)
        except (OSError, FetchError) as problem:
            if not leftover:
                raise
            passed_over.append(problem)
    if not entries:
        # The model itself may have such a name.
        raise next(iter(passed_over), None) or _nothing(
            config, f"{location.path or '/'} of the claim {location.host} holds no file"
        )
    return Listing(True, tuple(entries), lambda: listing(config, location))


def _leftover(top: Path, path: Path) -> bool:
    """Whether the path below `top` is, or lies in, what tools leave: then it may be a dangling link, or unreadable."""
    return any(map(is_leftover, path.relative_to(top).parts))


def _walk(config: Config, top: Path, start: Path, passed_over: list[Exception]) -> Iterator[Path]:
    def unreadable(problem: OSError) -> None:
        if not _leftover(top, Path(os.fsdecode(problem.filename))):
            raise problem
        passed_over.append(problem)

    for folder, folders, names in os.walk(start, onerror=unreadable):
        # Kubernetes' own layout of ConfigMaps and projected volumes: the files link into it.
        folders[:] = [name for name in folders if not name.startswith("..")]
        if Path(folder) == config.pvc_path and _LOST_AND_FOUND in folders:
            folders.remove(_LOST_AND_FOUND)
        for name in folders:
            path = os.path.join(folder, name)
            if os.path.islink(path) and os.readlink(path).startswith("..data/"):
                yield from _walk(config, top, Path(path), passed_over)
            elif os.path.islink(path) and not _leftover(top, Path(path)):
                raise FetchError(
                    Reason.UnsafePath,
                    f"{config.shown_uri}: {name!r} is a link to a folder, which is not followed; "
                    "name that folder itself in spec.model.uri, or copy it",
                )
        yield from (Path(folder) / name for name in names if not name.startswith(".."))


def _entry(config: Config, file: Path, relative: str) -> Entry:
    real = file.resolve()
    if not real.is_relative_to(config.pvc_path.resolve()):
        raise FetchError(Reason.UnsafePath, f"{config.shown_uri}: {relative!r} is a link that leads out of the claim")
    if not real.is_file():
        raise FetchError(Reason.UnsafePath, f"{config.shown_uri}: {relative!r} is neither a file nor a link to one")
    size, tag = _generation(real)

    def open_(offset: int, asked: str) -> Stream:
        return Stream(offset if asked == tag else 0, tag, read(offset if asked == tag else 0))

    def read(offset: int) -> Iterator[bytes]:
        try:
            with real.open("rb") as opened:
                opened.seek(offset)
                while chunk := opened.read(_CHUNK):
                    yield chunk
            if _generation(real) != (size, tag):
                raise changed(config.shown_uri, repr(relative))
        except FileNotFoundError:
            raise changed(config.shown_uri, repr(relative)) from None
        except OSError as problem:
            raise _unreadable(config, problem) from None

    return Entry(relative, size, open_, tag)


def _generation(real: Path) -> tuple[int, str]:
    found = real.stat()
    return found.st_size, f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _nothing(config: Config, what: str) -> FetchError:
    return FetchError(Reason.NotFound, f"{config.shown_uri}: {what}; put the model there or correct spec.model.uri")


def _unreadable(config: Config, problem: OSError) -> FetchError:
    path = os.fsdecode(problem.filename) if problem.filename else ""
    inside = os.path.relpath(path, config.pvc_path) if path else "the claim"
    said = f"{config.shown_uri}: {inside!r}: {problem.strerror or problem}"
    if isinstance(problem, PermissionError):
        return FetchError(
            Reason.Forbidden,
            f"{said}; it must be readable for the pod's user (podTemplate.securityContext.fsGroup)",
        )
    return FetchError(Reason.Unexpected, said)
