"""pvc://claim/path: a file or folder of a claim that is mounted into the pod."""

import os
from collections.abc import Iterator
from pathlib import Path

from podium_serving.fetch.config import Config, Location
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.source import Entry, Listing, check_path

_CHUNK = 8 * 2**20


def listing(config: Config, location: Location) -> Listing:
    """The file, or the folder's files, symbolic links followed inside the claim. Raises FetchError."""
    root = config.pvc_path
    if not root.is_dir():
        raise FetchError(
            Reason.InvalidConfiguration, f"{config.shown_uri}: no claim is mounted at {root} (PODIUM_PVC_PATH)"
        )
    path = root / location.path
    try:
        if path.is_file():
            return Listing(False, (_entry(config, path, check_path(path.name, config.shown_uri)),))
        files = list(_walk(config, path))
    except (FileNotFoundError, NotADirectoryError):
        raise _nothing(config, f"the claim {location.host} has no {location.path!r}") from None
    except OSError as problem:
        raise _unreadable(config, problem) from None
    if not files:
        raise _nothing(config, f"{location.path or '/'} of the claim {location.host} holds no file")
    entries = (_entry(config, file, check_path(str(file.relative_to(path)), config.shown_uri)) for file in files)
    return Listing(True, tuple(entries))


def _walk(config: Config, top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top, onerror=_raise):
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise FetchError(
                    Reason.UnsafePath,
                    f"{config.shown_uri}: {name!r} is a link to a folder, which is not followed; "
                    "name that folder itself in spec.model.uri, or copy it",
                )
        yield from (Path(folder) / name for name in names)


def _entry(config: Config, file: Path, relative: str) -> Entry:
    real = file.resolve()
    if not real.is_relative_to(config.pvc_path.resolve()):
        raise FetchError(Reason.UnsafePath, f"{config.shown_uri}: {relative!r} is a link that leads out of the claim")
    if not real.is_file():
        raise FetchError(Reason.UnsafePath, f"{config.shown_uri}: {relative!r} is neither a file nor a link to one")

    def read() -> Iterator[bytes]:
        try:
            with real.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    yield chunk
        except OSError as problem:
            raise _unreadable(config, problem) from None

    return Entry(relative, real.stat().st_size, read)


def _nothing(config: Config, what: str) -> FetchError:
    return FetchError(Reason.NotFound, f"{config.shown_uri}: {what}; put the model there or correct spec.model.uri")


def _unreadable(config: Config, problem: OSError) -> FetchError:
    said = f"{config.shown_uri}: {problem.strerror or problem}"
    if isinstance(problem, PermissionError):
        return FetchError(
            Reason.Forbidden,
            f"{said}; the file must be readable for the pod's user (podTemplate.securityContext.fsGroup)",
        )
    return FetchError(Reason.Unexpected, said)


def _raise(problem: OSError) -> None:
    raise problem
