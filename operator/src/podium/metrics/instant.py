"""One instant query of a Prometheus over HTTP. The only module that loads `requests`."""

import re
import time
from collections.abc import Iterable
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from podium.metrics.access import Access
from podium.metrics.answers import Unanswered, count_in, short

CONNECT_SECONDS: Final = 3.0
QUERY_SECONDS: Final = 8.0
"""For which Prometheus may work at one query; a little more is waited for its answer."""
LARGEST: Final = 2**16
"""Bytes of an answer: of one number there are some 150."""
_TOKEN = re.compile(r"[!-~]+")


class Instant:
    """A session to one Prometheus, for that many threads."""

    def __init__(self, access: Access, threads: int) -> None:
        self._access = access
        self._session = requests.Session()
        # Neither proxies nor credentials of the environment: what is asked, and as whom, the settings say alone.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=threads, max_retries=0))

    def close(self) -> None:
        """Ends its connections."""
        self._session.close()

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
            way = "set prometheus.caConfigMap of Podium's chart to the authority that signed its certificate"
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
            unread = f"the token of prometheus.tokenSecret cannot be read ({_cause(error)})"
            raise Unanswered(f"was not asked, since {unread}") from error
        if not _TOKEN.fullmatch(token):
            raise Unanswered("was not asked, since prometheus.tokenSecret holds no token: put one line of text there")
        return {"Authorization": f"Bearer {token}"}


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
    return short(str(error).rpartition("object at 0x")[0] or str(error) or type(error).__name__)


def _inner(error: BaseException) -> BaseException | None:
    inside: Iterable[object] = (getattr(error, "reason", None), *error.args)
    return next((each for each in inside if isinstance(each, BaseException) and each is not error), None)
