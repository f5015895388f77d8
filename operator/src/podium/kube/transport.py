"""One HTTP request to the API server: bytes, time-outs, its errors, and its wish that we slow down."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

import aiohttp
import orjson

from podium.kube.client import ApiError, Object
from podium.kube.connect import CONNECT_TIMEOUT, Connection
from podium.kube.reading import NotJson, read_object
from podium.packed import to_json
from podium.texts import sendable

DEFAULT_PAUSE: Final = 1.0
"""Seconds to pause after a 429 without Retry-After."""

LONGEST_PAUSE: Final = 60.0

_ESCAPES: Final = tuple((character.encode(), b"\\u%04x" % ord(character)) for character in "<>&\u2028\u2029")


class RequestObserver(Protocol):
    """Told about every request: verb, resource, HTTP status (0: no answer), seconds."""

    def request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """One request has ended."""


class _Nobody:
    def request(self, verb: str, resource: str, status: int, seconds: float) -> None: ...


class Transport:
    """Requests to one API server over one pool of connections."""

    def __init__(self, connection: Connection, *, observer: RequestObserver | None = None) -> None:
        self._server = connection.server
        self._session = connection.session()
        self._observer: RequestObserver = observer or _Nobody()
        self._paused_until = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        within: float,
        verb: str = "get",
        kind: str = "",
        query: dict[str, str] | None = None,
        body: aiohttp.Payload | None = None,
    ) -> Object:
        """`send`, with the answer's JSON object read; ApiError, too, where it is none, as a proxy's page."""
        answer = await self.send(method, path, within=within, verb=verb, kind=kind, query=query, body=body)
        try:
            return read_object(answer)
        except NotJson as error:
            raise self.not_kubernetes(method, path, str(error)) from error

    async def send(
        self,
        method: str,
        path: str,
        *,
        within: float,
        verb: str = "get",
        kind: str = "",
        query: dict[str, str] | None = None,
        body: aiohttp.Payload | None = None,
        accept: str | None = None,
        at_most: int = 0,
    ) -> bytes:
        """Send one request and answer the response's body; ApiError for any failure, status 0 if no answer came.

        `within` is in seconds, `verb` and `kind` (a plural) are what the observer is told. TooLong if the answer has
        more than `at_most` bytes (0: however long).
        """
        loop = asyncio.get_running_loop()
        start, status = loop.time(), 0
        try:
            async with self._session.request(
                method,
                self._server + path,
                params=query,
                data=body,
                headers={"Accept": accept} if accept else None,
                timeout=aiohttp.ClientTimeout(total=within, sock_connect=CONNECT_TIMEOUT),
            ) as response:
                status, content = response.status, await read_body(response, at_most)
                if status < 400:
                    return content
                error = error_of(status, response.headers.get("Retry-After"), content)
        except TimeoutError:
            status, error = 0, ApiError(0, "Timeout", f"{method} {path}: no answer within {within:g} s")
        except (aiohttp.ClientError, OSError) as cause:
            status, error = 0, ApiError(0, "Unreachable", f"{method} {path}: {cause or type(cause).__name__}")
        finally:
            self._observer.request(verb, kind, status, loop.time() - start)
        if status == 429:
            pause = DEFAULT_PAUSE if error.retry_after is None else min(error.retry_after, LONGEST_PAUSE)
            self._paused_until = max(self._paused_until, loop.time() + pause)
        raise error

    def not_kubernetes(self, method: str, path: str, why: str) -> ApiError:
        """The ApiError for an answer of 200 that no API server gives; a write may have been carried out or not."""
        where = f"{method} {self._server}{path}"
        way_out = "it is not the API server's: look for a proxy or a login page on the way to it"
        return ApiError(0, "NotKubernetes", f"{where}: the answer {why}; {way_out}")

    async def pause(self) -> None:
        """Wait while the API server has asked us to slow down: a 429 to one request holds all of them back."""
        left = self._paused_until - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


class TooLong(Exception):
    """The answer has more bytes than were asked for."""


async def read_body(response: aiohttp.ClientResponse, at_most: int = 0) -> bytes:
    """The body of a response; TooLong as soon as it is known to have more than `at_most` bytes (0: however long)."""
    if not at_most:
        return await response.read()
    pieces, length = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > at_most:
            response.close()
            raise TooLong(f"more than {at_most} bytes")
    return b"".join(pieces)


def json_body(content: Object, content_type: str = "application/json") -> aiohttp.BytesPayload:
    """An object as a request's body."""
    return aiohttp.BytesPayload(dump(content), content_type=content_type)


def dump(content: Object) -> bytes:
    """An object as JSON without spaces, byte by byte as the API server itself would write it.

    It keeps a ControllerRevision's data as the bytes that it was sent, and compares bytes when it says that data is
    immutable; but a patch of the annotations makes it write the data anew, with these five characters escaped, and a
    strategic one (kubectl label, the garbage collector's when it orphans children) with all keys in order.
    """
    try:
        text = to_json(content)
    except TypeError:
        text = to_json(_sendable(content))
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _sendable(value: Any) -> Any:
    """The same, whatever some library's message or a file's name has brought into it: a write is not lost for that."""
    if isinstance(value, str):
        return sendable(value)
    if isinstance(value, Mapping):
        return {sendable(key): _sendable(inner) for key, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, list) else value


def error_of(status: int, retry_after: str | None, content: bytes) -> ApiError:
    """The ApiError of a response: the API server's Status object, or whatever stood in between said."""
    try:
        said = orjson.loads(content)
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.get("kind") != "Status":
        text = content[:200].decode(errors="replace").strip()
        return ApiError(status, "Unknown", text or "no message", retry_after=_seconds(retry_after))
    # Whoever stands in between, an admission webhook for instance, may have put anything into it.
    details = said.get("details")
    details = details if isinstance(details, dict) else {}
    causes = details.get("causes")
    seconds = _seconds(retry_after)
    return ApiError(
        status,
        str(said.get("reason") or "Unknown"),
        str(said.get("message") or "no message"),
        causes=[cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else [],
        retry_after=_seconds(details.get("retryAfterSeconds")) if seconds is None else seconds,
    )


def _seconds(retry_after: Any) -> float | None:
    """A wish that we wait, within reason: whoever asks for a day does not mean us."""
    try:
        seconds = float(retry_after)
    except (TypeError, ValueError):  # a date: not what an API server sends
        return None
    return min(max(0.0, seconds), LONGEST_PAUSE) if math.isfinite(seconds) else None
