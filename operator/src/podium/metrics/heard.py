"""Which pods were read when: what is told of those that do not answer. Pure; time is an argument.

A pod that misses a round now and then has been read all the same; on a busy cluster some pod always does.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

PATIENCE: Final = 60.0
"""Seconds without figures after which a condition says so."""
LATE: Final = 10.0
"""Seconds without figures after which the candidate is not promoted."""


@dataclass(frozen=True)
class Heard:
    """What rounds have heard of pods so far. Times are seconds since 1970."""

    since: float
    """The time until which all pods that requests go to have been read."""
    at: Mapping[str, float] = field(default_factory=dict)
    """By such a pod that was read at least once: when last."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """By such a pod that could not be read in the last round: why."""
    fresh: bool = False
    """Whether all of them have been read since this operator began."""
    champion: float = 0.0
    """Where pods count: when one of the champion's was last read ..."""
    candidate: float = 0.0
    """... and when one of the candidate's was last asked."""
    unread: float | None = None
    """Since when none of the candidate's pods could be read although the champion's could; of routers never."""

    def before(self, now: float) -> Self:
        """The same with no time after now: a clock was put back."""
        return replace(
            self,
            since=min(self.since, now),
            at={pod: min(at, now) for pod, at in self.at.items()},
            champion=min(self.champion, now),
            candidate=min(self.candidate, now),
            unread=None if self.unread is None else min(self.unread, now),
        )

    def why(self, now: float) -> str:
        """Why pods could not be read: of those that miss more than a round, or else of all in the last round."""
        late = [why for pod, why in self.failed.items() if now - self.at.get(pod, self.since) > LATE]
        return "; ".join(late or self.failed.values())


def after(
    heard: Heard,
    failed: Mapping[str, str],
    needed: Mapping[str, str],
    arms: tuple[str, str],
    now: float,
    *,
    may_be_none: bool,
) -> Heard:
    """After a round in which the `needed` pods (by name, with their revision) were asked.

    `arms`: champion and candidate. `may_be_none`: whether a round without pods to read is a good one.
    """
    failed = {pod: why for pod, why in failed.items() if pod in needed}
    at = {pod: now if pod not in failed else heard.at[pod] for pod in needed if pod not in failed or pod in heard.at}
    if needed or may_be_none:
        since = min((at.get(pod, heard.since) for pod in needed), default=now)
        fresh = heard.fresh or at.keys() == needed.keys()
    else:
        since, fresh = heard.since, heard.fresh
    return _of_arms(replace(heard, since=since, at=at, failed=failed, fresh=fresh), needed, arms, now)


def _of_arms(heard: Heard, needed: Mapping[str, str], arms: tuple[str, str], now: float) -> Heard:
    champions, candidates = ({pod for pod, revision in needed.items() if revision == arm} for arm in arms)
    champion = now if champions - heard.failed.keys() else heard.champion
    candidate = now if candidates else heard.candidate
    return replace(
        heard, champion=champion, candidate=candidate,
        unread=_unread(replace(heard, champion=champion, candidate=candidate), candidates, now),
    )  # fmt: skip


def _unread(heard: Heard, candidates: Collection[str], now: float) -> float | None:
    """The next `Heard.unread`; None also after PATIENCE without a reading of the champion or pods of the candidate.

    One round says little: a pod of the champion may miss it, and one of the candidate's be unready for a moment.
    """
    was_read = any(pod not in heard.failed for pod in candidates)
    if was_read or now - min(heard.champion, heard.candidate) >= PATIENCE:
        return None
    return heard.unread if heard.unread is not None or not candidates else now
