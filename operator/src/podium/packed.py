"""JSON values kept as compressed text, where thousands are kept and few are looked into.

A pod template takes 24 KB as dicts, 4 KB as text, and a few hundred bytes as text that is compressed against another
template; every revision has one in its record and one in its Deployment. What that saves and costs is measured in
docs/decisions/templates-are-compressed.md.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import orjson

# Without the second orjson would write a Packed as an object with two fields.
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Packed:
    """A JSON value; equal values are equal. `to_json` writes it as the value that it is."""

    key: bytes
    """SHA-256 of its text with sorted keys."""
    compressed: bytes

    @property
    def text(self) -> bytes:
        """The value as JSON with sorted keys and no spaces."""
        return zlib.decompressobj(zdict=_like).decompress(self.compressed)

    def unpack(self) -> Any:
        """The value, anew each time."""
        return orjson.loads(self.text)


_kept: WeakValueDictionary[bytes, Packed] = WeakValueDictionary()
_like = b""
"""The first text of all, which most others are much like: what they share with it costs them nothing (RFC 1950)."""


def pack(value: Any) -> Packed:
    """The value packed, unless it is already. Equal ones are one, as long as anybody keeps it."""
    global _like
    if isinstance(value, Packed):
        return value
    text = to_json(value)
    key = hashlib.sha256(text).digest()
    found = _kept.get(key)
    if found is None:
        _like = _like or text
        compressor = zlib.compressobj(level=1, zdict=_like)
        found = _kept[key] = Packed(key, compressor.compress(text) + compressor.flush())
    return found


def unpacked(value: Any) -> Any:
    """The value, whether packed or not."""
    return value.unpack() if isinstance(value, Packed) else value


def to_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, packed parts included; TypeError for what is none."""
    return orjson.dumps(value, option=_OPTIONS, default=_fragment)


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Packed):
        return orjson.Fragment(value.text)
    raise TypeError
