"""The table of resources: which path and method belongs to which answer, and what is said where none does."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote

from podium_serving.http.message import Request, Response

Endpoint = Callable[[Request], Response | asyncio.Future[Response]]


@dataclass(frozen=True)
class Resource:
    """A path whose {names} stand for one segment each, the methods it knows, and what answers them; None: the model."""

    path: str
    methods: tuple[str, ...]
    endpoint: Endpoint | None

    @property
    def segments(self) -> list[str]:
        """The path's, without the empty one before the first slash."""
        return self.path.split("/")[1:]


class Found(NamedTuple):
    """The resource a target means, if any, and why it cannot be had: a 404's sentence, or "" ."""

    resource: Resource | None
    missing: str = ""


class Routes:
    """Finds the resource of a request's target, in origin or absolute form, with or without a slash at the end."""

    def __init__(self, resources: Iterable[Resource], names: Mapping[str, str]) -> None:
        """`names` are the values that the {names} of the paths have on this server."""
        self._resources = tuple(resources)
        self._names = names
        # The targets as most clients spell them; others are taken apart.
        self._exact: dict[bytes, Found] = {
            "/".join(["", *(spell(self._value(segment)) for segment in resource.segments)]).encode(): Found(resource)
            for resource in self._resources
            for spell in (str, lambda value: quote(value, safe=""))
        }

    def find(self, target: bytes) -> Found:
        """What this target means."""
        return self._exact.get(target) or self._taken_apart(target)

    def _value(self, segment: str) -> str:
        return self._names[segment[1:-1]] if segment.startswith("{") else segment

    def _taken_apart(self, target: bytes) -> Found:
        path = _path(target)
        # Segments are decoded after splitting: a version may hold an encoded slash.
        segments = [unquote(segment) for segment in path.rstrip("/").split("/")[1:]]
        for resource in self._resources:
            if len(resource.segments) == len(segments):
                pairs = list(zip(resource.segments, segments, strict=True))
                if all(given == expected for expected, given in pairs if not expected.startswith("{")):
                    return Found(resource, self._mismatch(pairs))
        return Found(None, f"{path[:200]} is not a path of this server; it has {', '.join(self._paths())}")

    def _mismatch(self, pairs: list[tuple[str, str]]) -> str:
        """The sentence for the first name that is another's, or ""."""
        within = ""
        for expected, given in pairs:
            if not expected.startswith("{"):
                continue
            what, value = expected[1:-1], self._value(expected)
            if given != value:
                return f"{what} {given[:100]!r}{within} is not served here; this server has {value!r}"
            within = f" of {what} {value!r}"
        return ""

    def _paths(self) -> list[str]:
        return ["/".join(["", *(quote(self._value(segment)) for segment in each.segments)]) for each in self._resources]


def _path(target: bytes) -> str:
    """The target's path, of the absolute form (RFC 9112, 3.2.2) too."""
    path = target.split(b"?", 1)[0].split(b"#", 1)[0].decode("latin-1")
    scheme, separator, rest = path.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        path = "/" + rest.partition("/")[2]
    return path
