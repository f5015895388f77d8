"""JSON values kept as their text, where thousands are kept and few are looked into.

A pod template is 24 KB as dicts and 4 KB as text, and every revision has one in its record and one in its Deployment.
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import orjson

# Without the second orjson would write a Packed as an object with a field `text`.
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Packed:
    """A JSON value as text with sorted keys: equal values are equal. `to_json` writes it as the value that it is."""

    text: str

    def unpack(self) -> Any:
        """The value, anew each time."""
        return orjson.loads(self.text)


_kept: WeakValueDictionary[str, Packed] = WeakValueDictionary()


def pack(value: Any) -> Packed:
    """The value packed, unless it is already. Equal ones are one, as long as anybody keeps it."""
    if isinstance(value, Packed):
        return value
    text = to_json(value).decode()
    return _kept.setdefault(text, Packed(text))


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
