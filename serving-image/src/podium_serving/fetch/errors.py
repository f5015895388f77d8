"""What can go wrong when a model is fetched, and whether trying again can help."""

import errno
from enum import Enum


class Reason(Enum):
    """A cause, as the operator reads it from the termination message; the value says whether it is permanent."""

    # (permanent, a number that keeps members of equal permanence apart)
    ChecksumMismatch = (True, 1)
    Unauthorized = (True, 2)
    Forbidden = (True, 3)
    NotFound = (True, 4)
    NoSuchBucket = (True, 5)
    BadURI = (True, 6)
    UnsupportedScheme = (True, 7)
    AddressRefused = (True, 8)
    TooLarge = (True, 9)
    NotAFile = (True, 10)
    UnsafePath = (True, 11)
    InvalidConfiguration = (True, 12)
    Rejected = (True, 13)
    NotAModel = (True, 14)
    NameResolution = (False, 1)
    ConnectFailed = (False, 2)
    TLSFailed = (False, 3)
    Timeout = (False, 4)
    ServerError = (False, 5)
    TooManyRequests = (False, 6)
    Incomplete = (False, 7)
    # Passing, since a node may free space; a model over its own limit is TooLarge.
    DiskFull = (False, 8)
    Interrupted = (False, 9)
    Unexpected = (False, 10)
    Changed = (False, 11)

    @property
    def permanent(self) -> bool:
        """Trying again cannot help: a person has to change something."""
        return self.value[0]


class FetchError(Exception):
    """A failure with its reason and a sentence for a person; `fields` go into the termination message."""

    def __init__(self, reason: Reason, message: str, **fields: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.fields = fields


def of_status(status: int, uri: str, hint: str, said: str = "") -> FetchError:
    """The failure that an HTTP status stands for. `hint`: where credentials come from; `said`: the answer."""
    said = said or str(status)
    if status == 401:
        return FetchError(Reason.Unauthorized, f"{uri}: the server does not accept the credentials ({said}); {hint}")
    if status == 403:
        return FetchError(Reason.Forbidden, f"{uri}: access denied ({said}); {hint}")
    if status in (404, 410):
        return FetchError(
            Reason.NotFound, f"{uri}: nothing there ({said}); put the model there or correct spec.model.uri"
        )
    if status == 429:
        return FetchError(Reason.TooManyRequests, f"{uri}: the server asks to slow down ({said})")
    if status == 408 or status >= 500:
        return FetchError(Reason.ServerError, f"{uri}: the server failed ({said})")
    return FetchError(Reason.Rejected, f"{uri}: the server refuses the request ({said}); correct spec.model.uri")


def of_disk(problem: OSError, path: object) -> FetchError:
    """The failure of writing the model's files."""
    said = problem.strerror or str(problem)
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return FetchError(Reason.DiskFull, f"{path}: {said}; the node's disk or the volume is full")
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FetchError(
            Reason.InvalidConfiguration,
            f"{path}: {said}; the fetcher needs a writable volume there (emptyDir, and the pod's fsGroup)",
        )
    if problem.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return FetchError(Reason.UnsafePath, f"{path}: {said}; the model's names cannot be laid out as files")
    return FetchError(Reason.Unexpected, f"{path}: {said}")
