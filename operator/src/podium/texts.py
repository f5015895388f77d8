"""JSON and texts that anybody may have written. No packages but the standard library's."""

import json
from typing import Any


def read_json(text: str | bytes) -> Any:
    """A JSON value. ValueError for what is none, nests too deep, or holds half a surrogate pair.

    That is well-formed JSON (`"\\ud800"`), but no text that can be sent on: the API server takes UTF-8 alone.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    if b"\\u" in text if isinstance(text, bytes) else "\\u" in text:
        json.dumps(found, ensure_ascii=False).encode()
    return found


def sendable(text: str) -> str:
    """The text with `?` for each half of a surrogate pair."""
    return text.encode(errors="replace").decode()
