"""Why a spec and a runtime make no pod."""

from typing import Final

INVALID_SPEC: Final = "InvalidSpec"
INVALID_RUNTIME: Final = "InvalidRuntime"
UNSUPPORTED_FORMAT: Final = "UnsupportedFormat"


class Unresolvable(Exception):
    """A ModelDeployment's spec and its ModelRuntime do not fit together.

    `reason` is a condition's reason, one of the constants of this module; `message` is for a person and names the
    field, its value and the way out.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class MalformedRevision(ValueError):
    """A ControllerRevision does not hold what Podium writes into one."""
