"""https://host/path: one file, from a public address unless others are allowed (connect.py)."""

import http.client
import re
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urljoin, urlsplit

from podium_serving import __version__
from podium_serving.fetch.config import Config, Location, shown
from podium_serving.fetch.connect import connect, refused_by_proxy
from podium_serving.fetch.errors import FetchError, Reason, of_status
from podium_serving.fetch.source import Entry, Listing, Stream, check_path

_CHUNK = 2**18
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
# Of a URL's path and query what stands for itself or is escaped already: a signature covers every character.
_KEPT = "%/:?[]@!$&'()*+,;=~|"
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/(?:([0-9]{1,18})|\*)")
# The name of a file whose URL has none, such as https://host/?id=7.
_NAMELESS = "model"


def listing(config: Config, location: Location) -> Listing:
    """The file behind the URI. Raises FetchError."""
    name = location.path.rsplit("/", 1)[-1]
    if not name and urlsplit(config.uri).query:
        name = _NAMELESS
    if not name:
        raise FetchError(
            Reason.BadURI,
            f"{config.shown_uri}: names no file; https fetches single files, expected https://host/path/file",
        )
    entry = Entry(check_path(name, config.shown_uri), None, lambda offset, tag: _open(config, offset, tag))
    return Listing(False, (entry,))


def _open(config: Config, offset: int, tag: str) -> Stream:
    """The file from that byte on, or from its first if it has changed; redirects are followed."""
    download = _Download(config)
    try:
        return download.start(offset, tag)
    except BaseException:
        download.close()
        raise


class _Download:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._uri = config.shown_uri
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def start(self, offset: int, tag: str) -> Stream:
        url = self._config.uri
        wanted = {"Range": f"bytes={offset}-", "If-Range": tag} if offset and tag else {}
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._request(url, wanted)
            if response.status not in _REDIRECTS:
                break
            # http.client reads headers as Latin-1, and servers write what is not ASCII as UTF-8.
            target = quote(response.headers.get("location", "").encode("latin-1"), safe=_KEPT + "#")
            self.close()
            url = self._joined(url, target)
        if response.status in _REDIRECTS:
            raise FetchError(Reason.Rejected, f"{self._uri}: more than {_MAX_REDIRECTS} redirects")
        if wanted and response.status in (206, 416):
            return self._continued(response, offset, tag)
        if response.status != 200:
            raise of_status(response.status, shown(url), "the URL must be readable as it is, such as a presigned one")
        return Stream(0, _tag(response), self._chunks(response), self._coding(response))

    def _continued(self, response: http.client.HTTPResponse, offset: int, tag: str) -> Stream:
        """The file from that byte on where the answer is of the same generation, else all of it in another answer."""
        match = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        first, total = (int(each) if each else None for each in match.groups()) if match else (None, None)
        if _tag(response) in ("", tag):
            if response.status == 416 and total == offset:
                self.close()
                return Stream(offset, tag, iter(()))
            # Without the total, nobody could tell an answer that is shorter than what was asked for.
            whole = first == offset and total is not None and not _coded(response)
            if response.status == 206 and whole:
                return Stream(offset, tag, self._chunks(response, offset, total))
        # Of no use, or of another generation: to insist on the old one would fail for ever.
        self.close()
        return self.start(0, "")

    def _coding(self, response: http.client.HTTPResponse) -> str:
        """ "" or "gzip"; raises FetchError for a coding that is neither, since it was not asked for."""
        coding = _coded(response)
        if not coding:
            return ""
        if coding in ("gzip", "x-gzip"):
            return "gzip"
        raise FetchError(
            Reason.Rejected,
            f"{self._uri}: the server sends the file with Content-Encoding {coding!r}, of which only gzip is decoded; "
            "store the file without it",
        )

    def _chunks(self, response: http.client.HTTPResponse, offset: int = 0, total: int | None = None) -> Iterator[bytes]:
        """The answer's bytes; raises FetchError if they are not all that the file has from `offset` on."""
        announced = response.length
        received = 0
        try:
            # read1 hands over what has arrived before the connection breaks; read would lose a part of it.
            while chunk := response.read1(_CHUNK):
                received += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as problem:
            raise _classify(self._config, self._uri, problem) from None
        finally:
            self.close()
        if announced is not None and received < announced:
            raise FetchError(
                Reason.Incomplete, f"{self._uri}: the connection broke off after {received} of {announced} bytes"
            )
        # A server may send less of a range than it was asked for: the next attempt goes on behind that.
        if total is not None and offset + received != total:
            raise FetchError(
                Reason.Incomplete,
                f"{self._uri}: the server ended its answer after {offset + received} of {total} bytes",
            )

    def _joined(self, url: str, target: str) -> str:
        try:
            return urljoin(url, target)
        except ValueError as problem:
            raise _classify(self._config, shown(target), problem) from None

    def _request(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        where = shown(url)
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("https", "http") or not parts.hostname:
                raise FetchError(Reason.Rejected, f"{self._uri}: is redirected to {where}, which is not https")
            if parts.scheme == "http" and not self._config.allow_http:
                raise FetchError(Reason.Rejected, f"{self._uri}: is redirected to plain http ({where})")
            connection, proxy = connect(self._config, parts.scheme, parts.hostname, parts.port, where)
            self._connection = connection
            target = quote(parts.path or "/", safe=_KEPT)
            if parts.query:
                target += f"?{quote(parts.query, safe=_KEPT)}"
            own = {"User-Agent": f"podium-fetch/{__version__}", "Accept-Encoding": "identity"}
            if proxy:
                target = f"http://{parts.netloc}{target}"
                own |= proxy.headers
            connection.request("GET", target, headers=own | headers)
            response = connection.getresponse()
            if proxy and response.status == 407:
                raise refused_by_proxy(proxy, response.status, where)
            return response
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise _classify(self._config, where, problem) from None


def _coded(response: http.client.HTTPResponse) -> str:
    """The coding that the answer's bytes are in, "" for none."""
    coding = str(response.headers.get("content-encoding", "")).strip().lower()
    return "" if coding == "identity" else coding


def _tag(response: http.client.HTTPResponse) -> str:
    """What If-Range may name this generation by: a strong ETag, else the date; "" without either."""
    etag = str(response.headers.get("etag", "")).strip()
    if etag and not etag.startswith("W/"):
        return etag
    return str(response.headers.get("last-modified", "")).strip()


def _classify(config: Config, where: str, problem: Exception) -> FetchError:
    if isinstance(problem, ssl.SSLError) and not isinstance(problem, TimeoutError | ssl.SSLEOFError):
        return FetchError(Reason.TLSFailed, f"{where}: no trusted TLS connection ({problem.reason or problem})")
    if isinstance(problem, TimeoutError):
        return FetchError(Reason.Timeout, f"{where}: nothing arrived for {config.stall:g} s")
    if isinstance(problem, ValueError | http.client.InvalidURL):
        return FetchError(Reason.BadURI, f"{_via(config, where)}: not a valid URL ({problem}); correct spec.model.uri")
    if isinstance(problem, http.client.HTTPException | ConnectionResetError | BrokenPipeError | ssl.SSLEOFError):
        return FetchError(Reason.Incomplete, f"{where}: the connection broke off ({type(problem).__name__})")
    return FetchError(
        Reason.ConnectFailed, f"{where}: cannot connect ({getattr(problem, 'strerror', None) or problem})"
    )


def _via(config: Config, where: str) -> str:
    """The URL, and the model's URI if that has been redirected to it."""
    return where if where == config.shown_uri else f"{config.shown_uri}: is redirected to {where}"
