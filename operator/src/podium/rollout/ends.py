"""Containers of the model that ended by themselves while a candidate was analysed. Pure values and arithmetic.

A pod counts its ends itself (restartCount): what is kept is how many of each pod's are accounted for, so that an end is
counted once, whoever looks, and also one that nobody saw because no operator ran. Lost is only an end of a pod that
came and went while none ran, or that was deleted before it was started again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from podium.rollout.wire import format_time, read_pods, read_text, read_time

if TYPE_CHECKING:
    from podium.rollout.revision import Pod

TOO_MANY = 2
"""Ends of a candidate's containers that are evidence of a crash, where none of the champion's ended."""
HOLDS = timedelta(minutes=5)
"""How long nothing is promoted after such an end: the requests under way then are missing in the counts."""


@dataclass(frozen=True)
class Ends:
    """What has ended since the candidate's first weight."""

    candidate: int = 0
    """How often the candidate's containers ended by themselves."""
    champion: int = 0
    """The same of the champion's; counting stops at one, which is enough."""
    at: datetime | None = None
    """When the operator saw the candidate's last one; None without any."""
    how: str = ""
    """The kubelet's words on that: `exit code 137, OOMKilled`."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """Ends by pod, of either revision, that are accounted for; no entry: none."""

    @staticmethod
    def begun(candidate: Collection[Pod], champion: Collection[Pod]) -> Ends:
        """The candidate gets its first weight now: what ended before is of no account."""
        return Ends(seen={pod.name: pod.ends for pod in (*candidate, *champion) if pod.ends})

    def after(self, candidate: Collection[Pod], champion: Collection[Pod], now: datetime) -> Ends:
        """With what has ended since; the same object if nothing has."""
        new = [(pod, pod.ends - self.seen.get(pod.name, 0)) for pod in candidate if self._is_news(pod)]
        others = [pod for pod in champion if self._is_news(pod)] if not self.champion else []
        if not new and not others:
            return self
        present = {pod.name: max(pod.ends, self.seen.get(pod.name, 0)) for pod in (*candidate, *champion)}
        found = replace(self, seen={name: count for name, count in present.items() if count})
        own = [(pod, more) for pod, more in new if pod.ended]
        if own:
            total = self.candidate + sum(more for _, more in own)
            found = replace(found, candidate=total, at=now, how=own[-1][0].ended)
        return replace(found, champion=self.champion + sum(1 for pod in others if pod.ended))

    def _is_news(self, pod: Pod) -> bool:
        return not pod.stray and pod.ends > self.seen.get(pod.name, 0)

    @property
    def are_evidence(self) -> bool:
        """Whether they speak against the candidate: requests that end the champion's servers, too, do not."""
        return self.candidate >= TOO_MANY and not self.champion

    @property
    def hold_until(self) -> datetime | None:
        """Until when nothing is promoted."""
        return self.at + HOLDS if self.at is not None else None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the rollout's record."""
        last = {"at": format_time(self.at), "how": self.how} if self.at is not None else {}
        return {"candidate": self.candidate, "champion": self.champion, "seen": dict(self.seen), **last}

    @staticmethod
    def from_json(data: object) -> Ends:
        """The inverse; ValueError or KeyError for what is none."""
        if not isinstance(data, dict) or not isinstance(data["seen"], dict):
            raise ValueError(f"{data!r} does not tell which containers ended")
        return Ends(
            candidate=read_pods(data["candidate"]),
            champion=read_pods(data["champion"]),
            at=read_time(data["at"]) if "at" in data else None,
            how=read_text(data.get("how", "")),
            seen={read_text(name): read_pods(count) for name, count in data["seen"].items()},
        )
