"""What the caller is told when something cannot be done, and with which exit code."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; the command line itself being wrong is 2 as well (click's)."""

    DONE = 0
    """Healthy and Ready; the command was carried out."""
    FAILED = 1
    """Rolled back, failed or invalid; the command was refused."""
    UNDER_WAY = 2
    """Still under way, or the time is up."""
    UNREADABLE = 3
    """Nothing can be said: no such object, a right is missing, no cluster."""


class CliError(Exception):
    """A sentence for the caller. It names the object and the way out."""

    def __init__(self, message: str, code: Exit = Exit.UNREADABLE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Missing(CliError):
    """There is no such object."""


class Unreachable(CliError):
    """No answer, or none that counts (429, 5xx): a later try may succeed."""
