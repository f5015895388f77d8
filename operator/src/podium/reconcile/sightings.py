"""Since when something has been so, by the operator's own clock.

The clocks of nodes, of the API server and of the operator may be minutes apart, so a time that another one wrote says
little about how long ago that was. What this process has seen to begin counts from when it saw it. What was so already
at its first look at a ModelDeployment (it has just started, or taken over) counts from then, or from what is written
where that is so long ago that no clock can make up for it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podium.rollout.moment import Moment

CLOCKS_APART = timedelta(minutes=5)
"""Largest difference, either way, between the operator's clock and that of a node or of the API server."""
FORGOTTEN = 2 * CLOCKS_APART
"""What began so long ago by another clock was seen by this process, if it was there, and need not be remembered."""
Sighting = tuple[str, str]
"""Of what, and what."""


@dataclass(slots=True)
class Sightings:
    """What is so about one ModelDeployment, and since when without a break. Each pass makes its own from the last."""

    moment: Moment
    first_look: datetime
    """When this process looked at the ModelDeployment for the first time."""
    before: dict[Sighting, datetime] = field(default_factory=dict)
    """What was so at the last pass."""
    since: dict[Sighting, datetime] = field(default_factory=dict)
    """What is so at this one."""

    @staticmethod
    def after(last: "Sightings | None", moment: Moment) -> "Sightings":
        """Those of a pass that follows another one; None: of the first look."""
        return Sightings(moment, last.first_look, last.since) if last else Sightings(moment, moment.now)

    def known(self, of: str, what: str) -> bool:
        """Whether it was so at the last pass."""
        return (of, what) in self.before

    def first(self, of: str, what: str, *, said: datetime | None = None) -> datetime:
        """Since when it has been so at every pass; `said` is what somebody else wrote about when it began."""
        known, now = (of, what), self.moment.now
        seen = self.before.get(known, now)
        if said is not None and known not in self.before:
            if now == self.first_look:
                seen = min(now, said + CLOCKS_APART)
            elif said + FORGOTTEN <= now:
                seen = said
        return self.since.setdefault(known, seen)

    def at_first_look(self, of: str, what: str) -> bool:
        """Whether it was so at the first look of this process: then it may have begun earlier."""
        return self.since[(of, what)] <= self.first_look
