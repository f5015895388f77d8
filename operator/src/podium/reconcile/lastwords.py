"""What a container says as it ends (its termination message), read into plain words. Pure.

The fetcher and the server write one JSON object (podium_serving/termination.py); another server may write text, or
leave the end of its log there (terminationMessagePolicy FallbackToLogsOnError), a JSON object a line.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from podium.manifests.layout import MODELS
from podium.texts import sendable

_MODELS = re.compile(rf"(?<![\w/:.-]){re.escape(MODELS)}/")
"""Where the fetcher puts models in a pod: people know theirs by its file. Not a folder of that name in a URI."""
REQUESTS_NAMED = 3
"""Requests that a server names which ended while it ran them; the sentence says how many more there were."""


def said_by(ended: Mapping[str, Any]) -> dict[str, Any]:
    """The last words of a `terminated` state, where they are a JSON object; else nothing."""
    return _object(ended.get("message") or "")


def plain_words(text: str) -> str:
    """One line without JSON: `message` of the object that it is, or of the last one where every line is an object."""
    said = _object(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not said and lines:
        said = _object(lines[-1])
    words = _told(said) if said else text
    return " ".join(_MODELS.sub("", words).split())


def _told(said: Mapping[str, Any]) -> str:
    message = next((said[key] for key in ("message", "msg", "error") if isinstance(said.get(key), str)), "")
    if not message:
        return ", ".join(f"{key} {value}" for key, value in said.items() if isinstance(value, str | int | float))
    running = said.get("running")
    requests = [_request(each) for each in running if isinstance(each, dict)] if isinstance(running, list) else []
    if not requests:
        return message
    more = f" and {len(requests) - REQUESTS_NAMED} more" if len(requests) > REQUESTS_NAMED else ""
    return f"{message.removesuffix(' under `running`')} {', '.join(requests[:REQUESTS_NAMED])}{more}"


def _request(said: Mapping[str, Any]) -> str:
    """`"a" (x of shape 1 x 0 x 3)`."""
    inputs = said.get("inputs")
    shapes = [f"{name} of shape {_shape(shape)}" for name, shape in inputs.items()] if isinstance(inputs, dict) else []
    told = f" ({', '.join(shapes)})" if shapes else ""
    return f'"{said.get("id", "")}"{told}' if said.get("id") else f"one without an id{told}"


def _shape(shape: object) -> str:
    return " x ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
        if "\\u" in text:
            said = json.loads(sendable(json.dumps(said, ensure_ascii=False)))
    except (ValueError, TypeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
