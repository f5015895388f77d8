"""What was counted in one interval for one metric."""

from typing import NamedTuple


class Counts(NamedTuple):
    """Units and events of both arms. An event is something bad, and happens at most once to a unit."""

    candidate_units: float
    """n1."""
    candidate_events: float
    """S1."""
    champion_units: float
    """n0."""
    champion_events: float
    """S0."""

    @property
    def units(self) -> float:
        """n1 + n0."""
        return self.candidate_units + self.champion_units

    @property
    def events(self) -> float:
        """D = S1 + S0."""
        return self.candidate_events + self.champion_events

    def __add__(self, other: object) -> "Counts":
        """The sum, arm by arm."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(mine + others for mine, others in zip(self, other, strict=True)))


NO_COUNTS = Counts(0, 0, 0, 0)


class Moments(NamedTuple):
    """Number, sum and sum of squares of the values of both arms in one interval."""

    candidate_number: float
    candidate_sum: float
    candidate_squares: float
    champion_number: float
    champion_sum: float
    champion_squares: float


NO_MOMENTS = Moments(0, 0, 0, 0, 0, 0)
