"""What the API server sends, as objects, whatever anybody has written into them.

Most of it is read by orjson. A ControllerRevision's data is passed on by the API server byte by byte, so it may hold
what orjson refuses (lone surrogates, bytes that are no UTF-8, 5,000 nested lists) or what takes a second and 100 MB to
read. Of such an object the metadata alone is read, and `unreadable` says why. What is no JSON at all raises NotJson:
it does not come from an API server.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from podium.kube.client import Object

UNREADABLE: Final = "podium.dev/unreadable"
"""Key at the top of an object of which the metadata alone is known; its value is a sentence. The API server itself
lets no such key through."""

LEFT_OUT: Final = "podium.dev/left-out"
"""Key at the top of an object of which all but the metadata was read and is not kept, since nobody needs it now."""

NODES: Final = 100_000
"""Values in one object beyond which it is not read: 100 times what a large one has, and 16 ms to read. 1.5 MB of
brackets, 480,000 values, would take 160 ms, during which nothing else happens in the process, and 40 MB to keep."""

PAGE_NODES: Final = 4 * NODES
"""Values in one page of a list beyond which its items are read one by one."""

SALVAGED: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
"""Fields of the metadata that are kept of an object whose rest cannot be read."""

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,\]}\s\"{\[:]++")
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_OPENING: Final = frozenset(b"{[")
_QUOTE: Final = ord('"')
_SHOWN: Final = 120


class NotJson(ValueError):
    """What was read is not one whole JSON object; the message shows its beginning."""


def unreadable(obj: Object) -> str:
    """Why nothing but the object's metadata could be read, as a sentence; empty for an object that is known in full."""
    return str(obj.get(UNREADABLE, ""))


def read_object(text: bytes) -> Object:
    """One object, or what can be read of it. Raises NotJson for anything but one whole JSON object."""
    if why := _excess(text):
        return _salvage(text, _start(text), why)
    try:
        return _mapping(text, orjson.loads(text))
    except orjson.JSONDecodeError as error:
        return _salvage(text, _whole(text), _sentence(error))


def read_event(text: bytes) -> Object:
    """One line of a watch: {type, object}, the object as by `read_object`. Raises NotJson."""
    if why := _excess(text):
        start = _start(text)
    else:
        try:
            return _mapping(text, orjson.loads(text))
        except orjson.JSONDecodeError as error:
            why, start = _sentence(error), _whole(text)
    found: Object = {}
    for key, first in _members(text, start):
        if key == "object":
            found[key] = _salvage(text, first, why)
            break  # the type comes before it
        found[key] = _loads(text[first : _end(text, first)])
    return found


def read_page(text: bytes) -> Object:
    """One page of a list, each item as by `read_object`. Raises NotJson for anything but one whole JSON object."""
    if _nodes(text, PAGE_NODES) <= PAGE_NODES:
        try:
            return _mapping(text, orjson.loads(text))
        except orjson.JSONDecodeError:
            pass
    found: Object = {}
    for key, start in _members(text, _whole(text)):
        if key == "items" and text[start : start + 1] == b"[":
            found[key] = [read_object(text[first:last]) for first, last in _items(text, start)]
        else:
            found[key] = _loads(text[start : _end(text, start)])
    return found


def number(version: Any) -> int:
    """A resourceVersion as a number; 0 for one that is none, of which nothing can be said but whether it is another."""
    try:
        return int(version or 0)
    except (TypeError, ValueError):
        return 0


def show(text: bytes) -> str:
    """The beginning of what was sent, for a message."""
    return " ".join(text[: 2 * _SHOWN].decode(errors="replace").split())[:_SHOWN]


def _mapping(text: bytes, value: Any) -> Object:
    if not isinstance(value, dict):
        raise NotJson(f"is no JSON object: {show(text)!r}")
    return value


def _excess(text: bytes) -> str:
    """Why a text is not read although it may be JSON; empty if it is short enough."""
    nodes = _nodes(text, NODES)
    return f"it holds {nodes} values, and Podium reads no more than {NODES}" if nodes > NODES else ""


def _nodes(text: bytes, limit: int) -> int:
    """How many values a text holds, and no fewer; told exactly only where that is above the limit."""
    if len(text) <= limit:
        return len(text)
    found = _count(text)
    return found if found <= limit else _count(_STRING.sub(b'"', text))  # a comma in a string is no value


def _count(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[") + text.count(b",")


def _sentence(error: ValueError) -> str:
    # orjson's message ends with the place in the text: it is that of a watch's line, which nobody can look up.
    return f"it cannot be read as JSON: {str(error).partition(': line ')[0]}"


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"is no JSON ({error}): {show(text)!r}") from error


def _start(text: bytes) -> int:
    """Where the object begins that the text seems to be; NotJson if it cannot be one."""
    start = _skip_space(text, 0)
    if text[start : start + 1] == b"{" and text.rstrip().endswith(b"}"):
        return start
    raise NotJson(f"is not one whole JSON object: {show(text)!r}")


def _whole(text: bytes) -> int:
    """The same of a text that is read to its end, so that none is taken for an object that was cut off within one."""
    start = _start(text)
    if _skip_space(text, _end(text, start)) == len(text):
        return start
    raise NotJson(f"is not one whole JSON object: {show(text)!r}")


def _salvage(text: bytes, start: int, why: str) -> Object:
    """The metadata of the object that begins at `start`, with the reason."""
    if text[start : start + 1] != b"{":
        raise NotJson(f"is no JSON object: {show(text[start:])!r}")
    found: Object = {UNREADABLE: why}
    for key, first in _members(text, start):
        if key in ("kind", "apiVersion"):
            found[key] = _readable(text, first)
        elif key == "metadata" and text[first : first + 1] == b"{":
            members = ((name, _readable(text, at)) for name, at in _members(text, first) if name in SALVAGED)
            found["metadata"] = {name: value for name, value in members if value is not None}
            break  # what nobody can read comes after it
    return found


def _readable(text: bytes, start: int) -> Any:
    """The value that begins at `start`; None if that, too, cannot be read."""
    value = text[start : _end(text, start)]
    if _excess(value):
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _members(text: bytes, start: int) -> Iterator[tuple[str, int]]:
    """(key, start) of each value of the object that begins at `start`; NotJson where it is none.

    A value is read to its end only when the next one is asked for.
    """
    position = _skip_space(text, start + 1)
    while text[position : position + 1] != b"}":
        key = _STRING.match(text, position)
        if key is None:
            raise NotJson(f"is no JSON object: {show(text[start:])!r}")
        position = _skip_space(text, key.end())
        if text[position : position + 1] != b":":
            raise NotJson(f"is no JSON object: {show(text[start:])!r}")
        first = _skip_space(text, position + 1)
        yield key.group()[1:-1].decode(errors="replace"), first
        position = _next(text, _end(text, first), b"}")


def _items(text: bytes, start: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each value of the list that begins at `start`."""
    position = _skip_space(text, start + 1)
    while text[position : position + 1] != b"]":
        last = _end(text, position)
        yield position, last
        position = _next(text, last, b"]")


def _next(text: bytes, position: int, closing: bytes) -> int:
    position = _skip_space(text, position)
    if text[position : position + 1] == b",":
        return _skip_space(text, position + 1)
    if text[position : position + 1] != closing:
        raise NotJson(f"is no JSON: {show(text[position:])!r}")
    return position


def _end(text: bytes, start: int) -> int:
    """Where the value ends that begins at `start`: however deep it is, and whatever its strings hold."""
    if text[start : start + 1] not in (b"{", b"["):
        scalar = _STRING.match(text, start) or _SCALAR.match(text, start)
        if scalar is None:
            raise NotJson(f"is no JSON: {show(text[start:])!r}")
        return scalar.end()
    depth = 0
    for token in _TOKEN.finditer(text, start):
        first = text[token.start()]
        if first == _QUOTE:
            continue
        depth += 1 if first in _OPENING else -1
        if depth == 0:
            return token.end()
    raise NotJson(f"is cut off: {show(text[start:])!r}")


def _skip_space(text: bytes, position: int) -> int:
    space = _SPACE.match(text, position)
    assert space is not None  # it may be empty
    return space.end()
