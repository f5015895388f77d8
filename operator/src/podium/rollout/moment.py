"""The time of one pass, asked in one way only, so that the next look follows from what was asked."""

from datetime import datetime


class Moment:
    """Whoever decides by time asks `reached`, and never compares with `now`: what is not reached yet is a wake-up.

    So no list has to be kept beside the decisions of when they may come out differently. One for each pass.
    """

    __slots__ = ("_wake_at", "now")

    def __init__(self, now: datetime) -> None:
        self.now = now
        """For stamps, and for what people read."""
        self._wake_at: datetime | None = None

    def reached(self, at: datetime | None) -> bool:
        """Whether that time has come; if not, it is noted as a wake-up. None never comes."""
        if at is None:
            return False
        if at <= self.now:
            return True
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
        return False

    @property
    def wake_at(self) -> datetime | None:
        """The earliest time that was asked for and has not come: before it every answer stays the same."""
        return self._wake_at
