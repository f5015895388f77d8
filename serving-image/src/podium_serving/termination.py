"""The container's termination message: how a pod tells the operator why it ended, without the operator reading logs.

A single line of JSON of at most LIMIT bytes: of JSON that the kubelet cuts nothing can be read.
"""

import contextlib
import json
import logging
import os
from pathlib import Path

from podium_serving.logs import log

DEFAULT_PATH = "/dev/termination-log"
LIMIT = 1500
"""Bytes. The kubelet keeps 4096 of a container, and 12 KiB of a pod: each of its containers has an equal part of them,
finished init containers and sidecars as well. This fits eight containers.
"""


def path() -> Path | None:
    """The file for the message; None outside a pod."""
    found = Path(os.environ.get("PODIUM_TERMINATION_LOG") or DEFAULT_PATH)
    # The kubelet makes the file; a process outside a pod must not leave one in /dev.
    return found if found.parent != Path("/dev") or found.exists() else None


def write(message: dict[str, object]) -> None:
    """Writes the message; a place that cannot be written (as outside a pod) is passed over, the logs say the same."""
    text = json.dumps(message, ensure_ascii=False)
    if len(text.encode()) > LIMIT:
        # It may have 1024 characters, and the sentence begins with it.
        message = {key: value for key, value in message.items() if key != "uri"}
        text = json.dumps(message, ensure_ascii=False)
    overlong = len(text.encode()) - LIMIT
    if overlong > 0:
        sentence = str(message.get("message", "")).encode()
        kept = sentence[: max(0, len(sentence) - overlong - 10)].decode(errors="ignore")
        text = json.dumps({**message, "message": kept + "..."}, ensure_ascii=False)
    target = path()
    if target is not None:
        with contextlib.suppress(OSError):
            target.write_text(text)


def failed(reason: str, message: str, *, permanent: bool, **fields: object) -> dict[str, object]:
    """The message of a container that could not do its work; `permanent` says that trying again cannot help."""
    return {"result": "failed", "reason": reason, "permanent": permanent, "message": message, **fields}


def fail(code: int, reason: str, message: str, *, permanent: bool, **fields: object) -> int:
    """Says in the log and in the termination message why this container fails; returns the exit code."""
    log(logging.ERROR, message, reason=reason, permanent=permanent, **fields)
    write(failed(reason, message, permanent=permanent, **fields))
    return code
