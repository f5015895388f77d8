"""The container's termination message: how a pod tells the operator why it ended, without the operator reading logs.

A single line of JSON, at most 4096 bytes, for that is what the kubelet keeps of it.
"""

import contextlib
import json
import logging
import os
from pathlib import Path

from podium_serving.logs import log

DEFAULT_PATH = "/dev/termination-log"
_LIMIT = 4000


def path() -> Path | None:
    """The file for the message; None outside a pod."""
    found = Path(os.environ.get("PODIUM_TERMINATION_LOG") or DEFAULT_PATH)
    # The kubelet makes the file; a process outside a pod must not leave one in /dev.
    return found if found.parent != Path("/dev") or found.exists() else None


def write(message: dict[str, object]) -> None:
    """Writes the message; a place that cannot be written (as outside a pod) is passed over, the logs say the same."""
    text = json.dumps(message, ensure_ascii=False)
    overlong = len(text.encode()) - _LIMIT
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
