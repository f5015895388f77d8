"""Asks a Prometheus for the counts of metrics of type Prometheus: two instant queries for each revision.

POST /api/v1/query, as in https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries. All queries of a
look ask for one instant, a few seconds ago, so that scrapes under way then are over and no count is ahead of another.
What is no single finite number is no answer, with a sentence that says why and what to do: never a 0.

`requests` runs in threads, of which there are few: whoever asks waits for one, and never the event loop. It takes some
5 MB, and is loaded with the first query: most operators are given no Prometheus.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from podium.api import queries
from podium.metrics.access import Access
from podium.metrics.answers import Unanswered, short
from podium.metrics.queried import Level, Look
from podium.rollout.wish import Wish

if TYPE_CHECKING:
    from podium.metrics.instant import Instant

THREADS: Final = 8
SETTLED: Final = 5.0
"""Seconds that an instant is in the past: a scrape that began before it has mostly been stored by then."""
LOOK_SECONDS: Final = 30.0
"""For all queries of a rollout together."""


class Prometheus:
    """Asks; a session to one Prometheus. `clock`: seconds since 1970."""

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.time, settled: float = SETTLED) -> None:
        self.every = access.every
        self._access = access
        self._clock = clock
        self._settled = settled
        self._threads: ThreadPoolExecutor | None = None
        self._instant: Instant | None = None
        self._first = threading.Lock()

    def close(self) -> None:
        """Nothing is asked any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._instant is not None:
            self._instant.close()

    async def look(self, wishes: Sequence[Wish], namespace: str, champion: str, candidate: str) -> Look:
        """What Prometheus says of all these metrics, for both revisions, at one instant."""
        at = round(self._clock() - self._settled, 3)
        end = asyncio.get_running_loop().time() + LOOK_SECONDS
        found = await asyncio.gather(
            *(
                self._level(wish, {"namespace": namespace, "revision": revision}, at, end)
                for revision in (champion, candidate)
                for wish in wishes
            )
        )
        answers = [dict(zip((wish.name for wish in wishes), part, strict=True))
                   for part in (found[: len(wishes)], found[len(wishes) :])]  # fmt: skip
        return Look(at, *answers)

    async def _level(self, wish: Wish, values: Mapping[str, str], at: float, end: float) -> Level | str:
        asked = (("events", wish.events), ("total", wish.total))
        found = await asyncio.gather(*(self._count(text, values, at, end) for _, text in asked))
        for (name, text), count in zip(asked, found, strict=True):
            if isinstance(count, str):
                return f"metric {wish.name}: {name} ({short(queries.filled(text, **values))}) {count}"
        events, total = (count for count in found if not isinstance(count, str))
        if events > total:
            query = short(queries.filled(wish.events, **values))
            return (
                f"metric {wish.name}: events ({query}) are {events:.15g}, more than total, {total:.15g}: query as "
                "events a part of what total counts"
            )
        return Level(events, total)

    async def _count(self, text: str, values: Mapping[str, str], at: float, end: float) -> float | str:
        loop = asyncio.get_running_loop()
        try:
            self._may_ask(text)
            self._threads = self._threads or ThreadPoolExecutor(THREADS, "prometheus")
            async with asyncio.timeout_at(end):
                return await loop.run_in_executor(self._threads, self._ask, queries.filled(text, **values), at)
        except Unanswered as error:
            return str(error)
        except TimeoutError:
            return f"was not answered within {LOOK_SECONDS:g} s, with others before it: look at Prometheus's load"

    def _may_ask(self, text: str) -> None:
        if not self._access.url:
            raise Unanswered(
                "cannot be asked: the operator knows no Prometheus: set prometheus.url of its chart, or remove the "
                "metric and abort and retry"
            )
        missing = () if self._access.any_query else queries.missing(text)
        if missing:
            names = " and ".join(f"{{{{{name}}}}}" for name in missing)
            raise Unanswered(
                f"is not asked, since it lacks {names}: name them in the query and abort and retry, or set "
                "prometheus.anyQuery of Podium's chart"
            )

    def _ask(self, query: str, at: float) -> float:
        """In a thread."""
        with self._first:
            if self._instant is None:
                from podium.metrics.instant import Instant

                self._instant = Instant(self._access, THREADS)
        return self._instant.ask(query, at)
