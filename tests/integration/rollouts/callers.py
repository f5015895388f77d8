"""Callers of a played router, and what an Envoy counts of them: so many requests a second, shared by its weights."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.unit.metrics.given import cluster, ended, text


@dataclass
class Callers:
    """Requests of one ModelDeployment, all of HTTP and answered at once."""

    failing: Mapping[str, float] = field(default_factory=dict)
    """By version: the share of its answers that are 500; none where it is not named."""
    rate: float = 20_000.0
    """Requests a second: of both versions together, so many that evidence is enough within some seconds."""

    def __post_init__(self) -> None:
        self._asked: dict[str, float] = defaultdict(float)
        self._failed: dict[str, float] = defaultdict(float)
        self._since: float | None = None
        self._until = 0.0

    def call(self, split: Mapping[str, int], versions: Mapping[str, str], now: float) -> None:
        """Ask since the last call, by weights of 10,000 that were loaded all the time; `now` in seconds."""
        self._since = now if self._since is None else self._since
        seconds, self._until = now - (self._until or now), now
        for revision, weight in split.items():
            requests = self.rate * seconds * weight / 10_000
            self._asked[revision] += requests
            self._failed[revision] += requests * self.failing.get(versions.get(revision, ""), 0.0)

    def counted(self) -> str:
        """The router's statistics, as its Envoy writes them."""
        parts = []
        for revision, requests in self._asked.items():
            asked, failed = int(requests), int(self._failed[revision])
            name = f"{revision}.http"
            parts += [
                cluster(name, times={1: asked}, total=asked, completed=asked, c200=asked - failed, c500=failed),
                ended(200, count=asked - failed, name=name),
                ended(500, count=failed, name=name),
            ]
        return text(*parts, uptime=int(self._until - (self._since or self._until)))
