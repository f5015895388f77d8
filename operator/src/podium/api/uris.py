"""The parts of a model's URI, and the version that it shows to people. Nothing here raises, whatever the text is."""

import re
from dataclasses import dataclass
from typing import Final

UNTELLING: Final = frozenset({"model", "models", "saved_model", "savedmodel", "pytorch_model", "weights", "artifacts"})
"""What files and folders are called whatever version they are, in lower case and without extensions."""

# Of `model.onnx`, `model.tar.gz`, `model.h5`, `model.7z`; but 7 of `model.7` and v2 of `model.v2.onnx` are versions.
_EXTENSION: Final = re.compile(r"(?!v\d+$)[a-z][a-z0-9]*|7z", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """`scheme://host/segments`: the host is a bucket, a host or a claim. Query and fragment are left out."""

    scheme: str
    host: str
    segments: tuple[str, ...]

    @property
    def last(self) -> str:
        """The last segment: `7` of `s3://models/fraud/7/`; the host where there is none."""
        return self.segments[-1] if self.segments else self.host


def parts(uri: str) -> Parts:
    """`uri`, taken apart; what is missing is empty."""
    scheme, _, rest = re.split(r"[?#]", uri, maxsplit=1)[0].rpartition("://")
    host, *segments = rest.split("/")
    return Parts(scheme, host, tuple(each for each in segments if each not in ("", ".")))


def shown_version(version: str | None, uri: str | None) -> str:
    """What people see as the version of a model: `version`, or without one the last telling segment of the URI.

    Of `s3://models/fraud/7/model.onnx`, and of `s3://models/fraud/7/fraud.onnx`, that is 7: what is called `model`, and
    a file that repeats a name further up, tells no version from another. Where no segment tells anything it is the
    last one; empty when there is neither version nor URI.
    """
    if version or not uri:
        return version or ""
    found = parts(uri)
    names = (found.host, *found.segments)
    for index in range(len(found.segments), 0, -1):
        if _tells(names[index], names[:index]):
            return names[index]
    return found.last


def _tells(name: str, before: tuple[str, ...]) -> bool:
    """Whether a segment tells one version from another; `before` are the host and the segments above it."""
    pieces = name.split(".")
    while len(pieces) > 1 and _EXTENSION.fullmatch(pieces[-1]):
        pieces.pop()
    stem = ".".join(pieces)
    # digits.mar below digits-torch/
    repeats = stem != name and any(re.match(rf"{re.escape(stem)}(?![a-z0-9])", each, re.IGNORECASE) for each in before)
    return stem != "" and stem.lower() not in UNTELLING and not repeats
