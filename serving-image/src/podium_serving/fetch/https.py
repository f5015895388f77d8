"""https://host/path: one file, from a public address unless others are allowed.

A ModelDeployment's author could otherwise make the fetcher read what only the cluster can reach. The address is checked
that the connection is then made to, not the name: a name may resolve to another address the next time it is asked.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urljoin, urlsplit

from podium_serving import __version__
from podium_serving.fetch.config import Config, Location, shown
from podium_serving.fetch.errors import FetchError, Reason, of_status
from podium_serving.fetch.source import Entry, Listing, check_path

_CHUNK = 2**20
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
# Of a URL's path and query what stands for itself or is escaped already: a signature covers every character.
_KEPT = "%/:?[]@!$&'()*+,;=~|"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def listing(config: Config, location: Location) -> Listing:
    """The file behind the URI. Raises FetchError."""
    if not location.path or location.path.endswith("/"):
        raise FetchError(
            Reason.BadURI,
            f"{config.shown_uri}: names no file; https fetches single files, expected https://host/path/file",
        )
    name = check_path(location.path.rsplit("/", 1)[-1], config.shown_uri)
    return Listing(False, (Entry(name, None, lambda: _read(config)),))


def _read(config: Config) -> Iterator[bytes]:
    """The file's bytes, redirects followed; a body shorter than announced raises FetchError."""
    with _Download(config) as download:
        yield from download.chunks()


class _Download:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> "_Download":
        url = self._config.uri
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._request(url)
            if response.status not in _REDIRECTS:
                break
            # http.client reads headers as Latin-1, and servers write what is not ASCII as UTF-8.
            target = quote(response.headers.get("location", "").encode("latin-1"), safe=_KEPT + "#")
            self.close()
            url = self._joined(url, target)
        if response.status in _REDIRECTS:
            self.close()
            raise FetchError(Reason.Rejected, f"{self._config.shown_uri}: more than {_MAX_REDIRECTS} redirects")
        if response.status != 200:
            self.close()
            raise of_status(response.status, shown(url), "the URL must be readable as it is, such as a presigned one")
        self._response = response
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def chunks(self) -> Iterator[bytes]:
        response = self._response
        assert response is not None
        announced = response.length
        received = 0
        try:
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as problem:
            raise _classify(self._config, self._config.shown_uri, problem) from None
        if announced is not None and received < announced:
            raise FetchError(
                Reason.Incomplete,
                f"{self._config.shown_uri}: the connection broke off after {received} of {announced} bytes",
            )

    def _joined(self, url: str, target: str) -> str:
        try:
            return urljoin(url, target)
        except ValueError as problem:
            raise _classify(self._config, shown(target), problem) from None

    def _request(self, url: str) -> http.client.HTTPResponse:
        where = shown(url)
        try:
            connection = self._connection = self._open(url, where)
            parts = urlsplit(url)
            target = quote(parts.path or "/", safe=_KEPT)
            if parts.query:
                target += f"?{quote(parts.query, safe=_KEPT)}"
            connection.request(
                "GET", target, headers={"User-Agent": f"podium-fetch/{__version__}", "Accept-Encoding": "identity"}
            )
            return connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self.close()
            raise _classify(self._config, where, problem) from None

    def _open(self, url: str, where: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise FetchError(Reason.Rejected, f"{self._config.shown_uri}: is redirected to {where}, which is not https")
        if parts.scheme == "http" and not self._config.allow_http:
            raise FetchError(Reason.Rejected, f"{self._config.shown_uri}: is redirected to plain http ({where})")
        return _connect(self._config, parts.scheme, parts.hostname, parts.port, where)


def _connect(config: Config, scheme: str, host: str, port: int | None, where: str) -> http.client.HTTPConnection:
    """A connection to an address of the host that may be used."""
    number = port or (443 if scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
    except OSError as problem:
        raise FetchError(
            Reason.NameResolution, f"{where}: the name {host} cannot be resolved ({problem.strerror})"
        ) from None
    problem_of_last: OSError | None = None
    context = _context(config) if scheme == "https" else None
    for _family, _type, _protocol, _name, address in found:
        check_address(config, host, str(address[0]), where)
    for _family, _type, _protocol, _name, address in found:
        try:
            plain = socket.create_connection((str(address[0]), number), timeout=min(10.0, config.stall))
            connection = http.client.HTTPConnection(host, number)
            # The Host header must name the port only if it is another: a presigned URL's signature covers that header.
            connection.default_port = 443 if context else 80
            connection.sock = _secure(plain, context, host) if context else plain
            connection.sock.settimeout(config.stall)
            return connection
        except OSError as problem:
            problem_of_last = problem
    assert problem_of_last is not None
    raise _classify(config, where, problem_of_last) from None


def _secure(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def check_address(config: Config, host: str, address: str, where: str) -> None:
    """Raises FetchError unless the address is public, or it or the host is allowed."""
    given = ipaddress.ip_address(address.split("%", 1)[0])
    if all(each.is_global and not each.is_multicast for each in _meanings(given)):
        return
    for allowed in config.allow_addresses:
        if allowed in ("*", host):
            return
        try:
            network = ipaddress.ip_network(allowed, strict=False)
        except ValueError:
            continue
        if any(each in network for each in _meanings(given)):
            return
    raise FetchError(
        Reason.AddressRefused,
        f"{where}: {host} is at {address}, which is not a public address; "
        "who runs the operator can allow it with its argument --fetcher-allow-addresses (PODIUM_ALLOW_ADDRESSES here)",
    )


def _meanings(address: _Address) -> list[_Address]:
    """The address, and the IPv4 address that an IPv6 one may stand for."""
    found: list[_Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return [address.ipv4_mapped]
        if address.sixtofour:
            found.append(address.sixtofour)
        if address in _NAT64:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _context(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if config.ca_certificates:
        try:
            context.load_verify_locations(cadata=config.ca_certificates)
        except ssl.SSLError as problem:
            raise FetchError(
                Reason.InvalidConfiguration,
                f"ca.crt ({config.secret or 'PODIUM_CA_FILE'}) is no PEM certificate: {problem}",
            ) from None
    return context


def _classify(config: Config, where: str, problem: Exception) -> FetchError:
    if isinstance(problem, ssl.SSLError) and not isinstance(problem, TimeoutError):
        return FetchError(Reason.TLSFailed, f"{where}: no trusted TLS connection ({problem.reason or problem})")
    if isinstance(problem, TimeoutError):
        return FetchError(Reason.Timeout, f"{where}: nothing arrived for {config.stall:g} s")
    if isinstance(problem, ValueError | http.client.InvalidURL):
        return FetchError(Reason.BadURI, f"{_via(config, where)}: not a valid URL ({problem}); correct spec.model.uri")
    if isinstance(problem, http.client.HTTPException | ConnectionResetError | BrokenPipeError):
        return FetchError(Reason.Incomplete, f"{where}: the connection broke off ({type(problem).__name__})")
    return FetchError(
        Reason.ConnectFailed, f"{where}: cannot connect ({getattr(problem, 'strerror', None) or problem})"
    )


def _via(config: Config, where: str) -> str:
    """The URL, and the model's URI if that has been redirected to it."""
    return where if where == config.shown_uri else f"{config.shown_uri}: is redirected to {where}"
