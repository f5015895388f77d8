"""Events of writes without an answer, which may have been made: emitted once the write is seen. Pure.

A later pass finds the record, or the status, as it should be and writes nothing, so it would emit nothing.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podium.reconcile.writes import Note, Place

TRIES: Final = 8
"""How many unanswered tries of one write are remembered: it soon shows which of them was made."""


@dataclass(frozen=True)
class Try:
    """One write without an answer: what it said, and what was to be told of it."""

    said: Mapping[str, Any]
    notes: tuple[Note, ...]


@dataclass
class Untold:
    """The unanswered writes of one ModelDeployment. What they said holds stamps of its own, so it tells them apart."""

    _tries: dict[Place, deque[Try]] = field(default_factory=dict)

    def keep(self, place: Place, said: Mapping[str, Any], notes: tuple[Note, ...]) -> None:
        """A write was made, or was not."""
        if notes:
            self._tries.setdefault(place, deque(maxlen=TRIES)).append(Try(said, notes))

    def drop(self, place: Place) -> None:
        """A write was answered, so none of the unanswered ones before it can have been made."""
        self._tries.pop(place, None)

    def seen(self, place: Place, live: Mapping[str, Any]) -> Iterator[Note]:
        """What is to be told now that the object says this."""
        for one in self._tries.get(place, ()):
            if one.said.items() <= live.items():
                del self._tries[place]
                yield from one.notes
                return
