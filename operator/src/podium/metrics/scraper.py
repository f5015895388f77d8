"""Reads pods by their addresses: all that count for a rollout in one round.

No Prometheus takes part. Connections stay open between rounds. What is asked of a pod is bounded in time and size, and
so is how many are asked at once, over all rollouts together.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from podium.metrics.reading import Unreadable
from podium.metrics.rounds import Answer, length

AT_ONCE: Final = 64
LARGEST: Final = 2**20
"""Bytes of an answer: a router's has some 6 KB of two revisions."""
KEPT: Final = 60.0
"""Seconds that a connection stays open unused: longer than the longest interval of an analysis."""
HEADERS: Final = {"Accept": "text/plain", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Ask:
    """What one pod is asked, and what is made of its answer."""

    pod: str
    address: str
    port: int
    path: str
    """With its query."""
    read: Callable[[float, str], Answer]
    """Of the time (seconds since 1970) and the text; raises Unreadable."""
    what: str = "pod"
    """What people call it."""


@dataclass(frozen=True)
class Round:
    """What those said that count for one rollout."""

    began: float
    """Seconds since 1970."""
    samples: tuple[Answer, ...]
    failed: Mapping[str, str]
    """By pod that could not be read: why."""


class Scraper:
    """Reads pods. `clock`: seconds since 1970."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=KEPT)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        """Ask each pod once; over after min(1 s, interval/2), whoever has not answered by then."""
        began = self._clock()
        within = aiohttp.ClientTimeout(total=length(interval))
        found = await asyncio.gather(*(self._sample(ask, within) for ask in asks))
        return Round(
            began,
            tuple(each for each in found if not isinstance(each, str)),
            {ask.pod: each for ask, each in zip(asks, found, strict=True) if isinstance(each, str)},
        )

    async def _sample(self, ask: Ask, within: aiohttp.ClientTimeout) -> Answer | str:
        who = f"{ask.what} {ask.pod}"
        try:
            host = f"[{ask.address}]" if ipaddress.ip_address(ask.address).version == 6 else ask.address
            url = URL(f"http://{host}:{ask.port}{ask.path}", encoded=True)
            async with self._session.get(url, timeout=within, allow_redirects=False, headers=HEADERS) as answer:
                at = self._clock()
                if answer.status != 200:
                    return f"{who}: {ask.address}:{ask.port} answered {answer.status}"
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > LARGEST:
                        return f"{who}: its statistics are longer than {LARGEST} bytes"
            return ask.read(at, body.decode())
        except TimeoutError:
            return f"{who}: {ask.address}:{ask.port} did not answer within {within.total:g} s"
        except Unreadable as error:
            return str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{who}: {ask.address}:{ask.port}: {error!r}"
