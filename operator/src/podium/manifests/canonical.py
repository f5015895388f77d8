"""One text for one value, and digests of it."""

import hashlib
from typing import Any

from podium.api import names
from podium.packed import to_json


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal texts, whatever order their keys were written in."""
    return to_json(value).decode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical text, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def short_hash(value: Any) -> str:
    """Ten characters, for names, of an alphabet without vowels and look-alikes: 27 to the power of 10, or 47 bits."""
    number = int(digest(value), 16)
    characters = []
    for _ in range(names.HASH_LENGTH):
        number, index = divmod(number, len(names.HASH_ALPHABET))
        characters.append(names.HASH_ALPHABET[index])
    return "".join(characters)
