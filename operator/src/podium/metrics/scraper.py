"""Reads router pods by their addresses: all of a rollout in one round, at the interval of its analysis.

No Prometheus takes part. Connections stay open between rounds. What is asked of a pod is bounded in time and size, and
so is how many are asked at once, over all rollouts together.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from podium.metrics.reading import Unreadable, query, read
from podium.metrics.rounds import Sample, length
from podium.router.places import STATS_PORT

AT_ONCE: Final = 64
LARGEST: Final = 2**20
"""Bytes of an answer: of two revisions it has some 6 KB."""
KEPT: Final = 60.0
"""Seconds that a connection stays open unused: longer than the longest interval of an analysis."""


@dataclass(frozen=True)
class Round:
    """What the routers of one rollout said."""

    began: float
    """Seconds since 1970."""
    samples: tuple[Sample, ...]
    failed: Mapping[str, str]
    """By pod that could not be read: why."""


class Scraper:
    """Reads routers. `clock`: seconds since 1970."""

    def __init__(
        self,
        *,
        port: int = STATS_PORT,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._port = port
        self._clock = clock
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=KEPT)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def round(self, routers: Mapping[str, str], revisions: Collection[str], interval: float) -> Round:
        """Ask each router (address by pod) once; over after min(1 s, interval/2), whoever has not answered by then."""
        began = self._clock()
        within = aiohttp.ClientTimeout(total=length(interval))
        path = query(revisions)
        found = await asyncio.gather(*(self._sample(pod, address, path, within) for pod, address in routers.items()))
        return Round(
            began,
            tuple(each for each in found if isinstance(each, Sample)),
            {pod: each for pod, each in zip(routers, found, strict=True) if isinstance(each, str)},
        )

    async def run(
        self,
        routers: Callable[[], Mapping[str, str]],
        revisions: Collection[str],
        interval: float,
        took: Callable[[Round], None],
    ) -> None:
        """Rounds for as long as it is not cancelled, `interval` seconds from beginning to beginning.

        A round that is missed (a machine that slept) is not made up for.
        """
        due = self._clock()
        while True:
            took(await self.round(routers(), revisions, interval))
            now = self._clock()
            due = max(due + interval, now)
            await self._sleep(due - now)

    async def _sample(self, pod: str, address: str, path: str, within: aiohttp.ClientTimeout) -> Sample | str:
        try:
            host = f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
            url = URL(f"http://{host}:{self._port}{path}", encoded=True)
            async with self._session.get(url, timeout=within, allow_redirects=False) as answer:
                at = self._clock()
                if answer.status != 200:
                    return f"router pod {pod}: {address}:{self._port} answered {answer.status}"
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > LARGEST:
                        return f"router pod {pod}: its statistics are longer than {LARGEST} bytes"
            return Sample(at, read(pod, body.decode()))
        except TimeoutError:
            return f"router pod {pod}: {address}:{self._port} did not answer within {within.total:g} s"
        except Unreadable as error:
            return str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"router pod {pod}: {address}:{self._port}: {error!r}"
