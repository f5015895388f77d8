"""Asks a Prometheus for the counts of metrics of type Prometheus: two instant queries for each revision.

POST /api/v1/query, as in https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries. All queries of a
look ask for one instant, a few seconds ago, so that scrapes under way then are over and no count is ahead of another.
What is no single finite number is no answer, with a sentence that says why and what to do: never a 0.

`requests` runs in threads, of which there are few: whoever asks waits for one, and never the event loop.
"""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from podium.api import queries
from podium.metrics.queried import Level, Look
from podium.rollout.wish import Wish

THREADS: Final = 8
SETTLED: Final = 5.0
"""Seconds that an instant is in the past: a scrape that began before it has mostly been stored by then."""
CONNECT_SECONDS: Final = 3.0
QUERY_SECONDS: Final = 8.0
"""For which Prometheus may work at one query; a little more is waited for its answer."""
LOOK_SECONDS: Final = 30.0
"""For all queries of a rollout together."""
LARGEST: Final = 2**16
"""Bytes of an answer: of one number there are some 150."""
_SHOWN = 160
"""Characters of a query, or of an error of Prometheus, in a sentence."""
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Access:
    """Where Prometheus is, and how it is asked: the operator's settings, never a ModelDeployment's."""

    url: str = ""
    """To which /api/v1/query is appended; empty: there is none."""
    ca_file: str = ""
    """PEM of those who may sign its certificate; empty: the public ones."""
    token_file: str = ""
    """Holds a bearer token, and is read again for each query: tokens are renewed in place; empty: none."""
    any_query: bool = False
    """Whether queries may leave out {{namespace}} and {{revision}}."""
    every: float = 60.0
    """Seconds from one look to the next: no less than the scrape interval of what is queried."""


class Unanswered(Exception):
    """There is no count: the text says why, and the way out."""


class Prometheus:
    """Asks; a session to one Prometheus. `clock`: seconds since 1970."""

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.time, settled: float = SETTLED) -> None:
        self.every = access.every
        self._access = access
        self._clock = clock
        self._settled = settled
        self._threads: ThreadPoolExecutor | None = None
        self._session = requests.Session()
        # Neither proxies nor credentials of the environment: what is asked, and as whom, the settings say alone.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=THREADS, max_retries=0))

    def close(self) -> None:
        """Nothing is asked any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

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
                return f"metric {wish.name}: {name} ({_short(queries.filled(text, **values))}) {count}"
        events, total = (count for count in found if not isinstance(count, str))
        if events > total:
            query = _short(queries.filled(wish.events, **values))
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
                return await loop.run_in_executor(self._threads, self.ask, queries.filled(text, **values), at)
        except Unanswered as error:
            return str(error)
        except TimeoutError:
            return f"was not answered within {LOOK_SECONDS:g} s, with others before it: look at Prometheus's load"

    def _may_ask(self, text: str) -> None:
        if not self._access.url:
            raise Unanswered(
                "cannot be asked: the operator knows no Prometheus: set prometheus-url in its settings, or remove the "
                "metric and abort and retry"
            )
        missing = () if self._access.any_query else queries.missing(text)
        if missing:
            names = " and ".join(f"{{{{{name}}}}}" for name in missing)
            raise Unanswered(
                f"is not asked, since it lacks {names}: name them in the query and abort and retry, or set "
                "prometheus-any-query in the operator's settings"
            )

    def ask(self, query: str, at: float) -> float:
        """The one number that a query gives for an instant (seconds since 1970). Blocks; raises Unanswered."""
        began = time.monotonic()
        within = QUERY_SECONDS + 1
        try:
            with self._session.post(
                f"{self._access.url.rstrip('/')}/api/v1/query",
                data={"query": query, "time": f"{at:.3f}", "timeout": f"{QUERY_SECONDS:g}s"},
                headers={"Accept-Encoding": "identity", **self._token()},
                timeout=(CONNECT_SECONDS, within),
                verify=self._access.ca_file or True,
                allow_redirects=False,  # a token goes nowhere else
                stream=True,
            ) as answer:
                return count_in(answer.status_code, _body(answer, began + within), at)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise Unanswered(f"was not answered within {within:g} s: look at Prometheus's load") from error
        except requests.exceptions.SSLError as error:
            way = "set prometheus-ca-file in the operator's settings to the authority that signed its certificate"
            raise Unanswered(f"was not asked, since TLS with {self._where} failed ({_cause(error)}): {way}") from error
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            way = "see whether it runs, and whether a NetworkPolicy lets the operator there"
            raise Unanswered(f"got no answer of {self._where} ({_cause(error)}): {way}") from error

    @property
    def _where(self) -> str:
        """Its address, without what may be a password in it."""
        return f"Prometheus at {self._access.url.rpartition('@')[2]}"

    def _token(self) -> dict[str, str]:
        if not self._access.token_file:
            return {}
        try:
            token = Path(self._access.token_file).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise Unanswered(f"was not asked, since prometheus-token-file cannot be read ({_cause(error)})") from error
        if not _TOKEN.fullmatch(token):
            raise Unanswered("was not asked, since prometheus-token-file holds no token: put one line of text there")
        return {"Authorization": f"Bearer {token}"}


def count_in(status: int, body: bytes, at: float) -> float:
    """The number in an answer of Prometheus, which is a count at the instant that was asked for; raises Unanswered."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status != 200 or answer.get("status") != "success":
        raise Unanswered(_refused(status, answer))
    if answer.get("warnings"):
        told = "; ".join(map(str, answer["warnings"])) if isinstance(answer["warnings"], list) else "warnings"
        raise Unanswered(f"was answered in part: {_short(told)}: mend what Prometheus warns of")
    data = answer.get("data")
    result, kind = (data.get("result"), data.get("resultType")) if isinstance(data, dict) else (None, None)
    if kind != "vector" or not isinstance(result, list):
        raise Unanswered(f"gives a {_short(str(kind))}, and no counter: query sum(...) of a counter")
    if not result:
        raise Unanswered(
            "gives nothing: no pod of this revision has been scraped yet, or no series has these labels; a counter "
            "that appears with its first event needs `or vector(0)` behind it"
        )
    if len(result) > 1:
        raise Unanswered(f"gives {len(result)} series and not one: put sum(...) around it")
    sample = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(sample, list) or len(sample) != 2:
        raise Unanswered("gives no number, such as a histogram: query sum(...) of a counter")
    return _number(sample, at)


def _number(sample: Sequence[Any], at: float) -> float:
    told, text = sample
    if isinstance(told, bool) or not isinstance(told, int | float) or not abs(told - at) < 0.01:
        raise Unanswered("was answered for another time: let no cache stand before Prometheus")
    if text in ("NaN", "+Inf", "-Inf"):
        raise Unanswered(f"gives {text}: query counters, and divide by nothing")
    if not isinstance(text, str) or not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise Unanswered(f"gives {_short(repr(text))}, which is no number: query sum(...) of a counter")
    if float(text) < 0:
        raise Unanswered(f"gives {_short(text)}: a count is never below 0: query sum(...) of a counter")
    return float(text)


def _refused(status: int, answer: Mapping[str, Any]) -> str:
    error = _short(str(answer.get("error", ""))) if answer.get("error") else ""
    told = f" ({error})" if error else ""
    if status in (401, 403):
        return f"was refused with {status}{told}: set prometheus-token-file in the operator's settings to a valid token"
    if 300 <= status < 400:
        return f"was sent elsewhere with {status}: set prometheus-url in the operator's settings to where it leads"
    if status in (400, 422):
        return f"was refused with {status}{told}: correct the query and abort and retry"
    if status == 200:
        return f"got no answer of Prometheus's API{told}: set prometheus-url in the operator's settings to one"
    return f"was answered with {status}{told}: see whether Prometheus is well, and whether prometheus-url leads to it"


def _body(answer: requests.Response, end: float) -> bytes:
    """At most LARGEST bytes, before `end` (monotonic seconds): a time-out of `requests` is for each piece alone."""
    body = bytearray()
    while piece := answer.raw.read1(LARGEST):
        body += piece
        if len(body) > LARGEST:
            raise Unanswered(f"gives more than {LARGEST} bytes: put sum(...) around it")
        if time.monotonic() > end:
            raise requests.Timeout
    return bytes(body)


def _cause(error: BaseException) -> str:
    """The innermost reason, in few words: those around it repeat the address and say nothing."""
    while (inner := _inner(error)) is not None:
        error = inner
    return _short(str(error).rpartition("object at 0x")[0] or str(error) or type(error).__name__)


def _inner(error: BaseException) -> BaseException | None:
    inside: Iterable[object] = (getattr(error, "reason", None), *error.args)
    return next((each for each in inside if isinstance(each, BaseException) and each is not error), None)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
