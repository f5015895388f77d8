"""Connections for https:// and http://: to a public address unless others are allowed, or through a proxy.

A ModelDeployment's author could otherwise make the fetcher read what only the cluster can reach. The address is checked
that the connection is then made to, not the name: a name may resolve to another address the next time it is asked. With
a proxy that is the proxy's address; what the proxy then reaches is for the proxy to decide.
"""

import http.client
import ipaddress
import socket
import ssl

from podium_serving.fetch.config import Config
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.proxy import Proxy

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
CONNECT_SECONDS = 10.0
"""For all addresses of a name together: four attempts that nobody answers, and the pauses between them, end within a
minute, so that whoever waits for the model learns the cause by then."""


def connect(
    config: Config, scheme: str, host: str, port: int | None, where: str, *, checked: bool = True
) -> tuple[http.client.HTTPConnection, Proxy | None]:
    """A connection that answers for the host, and the proxy that it must be asked through in absolute form, if any.

    `where` is the URL in messages; `checked` whether only public and allowed addresses will do. Raises FetchError, and
    OSError for a connection that fails.
    """
    number = port or (443 if scheme == "https" else 80)
    proxy = config.proxies.of(scheme, host, number)
    context = _context(config) if scheme == "https" else None
    if proxy:
        plain = _reach(config, proxy.host.strip("[]"), proxy.port, f"{where}: the proxy {proxy}", checked)
    else:
        plain = _reach(config, host, number, where, checked)
    try:
        if proxy and context:
            _tunnel(plain, proxy, host, number, where)
        connection = http.client.HTTPConnection(host, number)
        # The Host header must name the port only if it is another: a presigned URL's signature covers that header.
        connection.default_port = 443 if context else 80
        connection.sock = context.wrap_socket(plain, server_hostname=host) if context else plain
        connection.sock.settimeout(config.stall)
    except BaseException:
        plain.close()
        raise
    return connection, None if context else proxy


def _reach(config: Config, host: str, port: int, where: str, checked: bool) -> socket.socket:
    """A socket to one of the host's addresses, of which all must be allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as problem:
        raise FetchError(
            Reason.NameResolution, f"{where}: the name {host} cannot be resolved ({problem.strerror})"
        ) from None
    limit = min(CONNECT_SECONDS, config.stall)
    problem_of_last: OSError | None = None
    for _family, _type, _protocol, _name, address in found:
        if checked:
            check_address(config, host, str(address[0]), where)
    for _family, _type, _protocol, _name, address in found:
        try:
            connected = socket.create_connection((str(address[0]), port), timeout=limit / len(found))
            connected.settimeout(config.stall)
            return connected
        except OSError as problem:
            problem_of_last = problem
    assert problem_of_last is not None
    said = problem_of_last.strerror or problem_of_last
    if isinstance(problem_of_last, TimeoutError):
        raise FetchError(Reason.Timeout, f"{where}: no connection in {limit:g} s")
    raise FetchError(Reason.ConnectFailed, f"{where}: cannot connect ({said})")


def _tunnel(plain: socket.socket, proxy: Proxy, host: str, port: int, where: str) -> None:
    """Asks the proxy to connect the socket through to the host."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
    plain.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    # Byte by byte: what follows the empty line is the host's, which speaks TLS.
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and len(answer) < 65536:
        byte = plain.recv(1)
        if not byte:
            raise FetchError(Reason.ConnectFailed, f"{where}: the proxy {proxy} closed the connection")
        answer += byte
    words = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if not 200 <= status < 300:
        raise refused_by_proxy(proxy, status, where)


def refused_by_proxy(proxy: Proxy, status: int, where: str) -> FetchError:
    """The failure that a proxy's own answer stands for."""
    said = f"{where}: the proxy {proxy} "
    if status == 407:
        return FetchError(
            Reason.Unauthorized,
            f"{said}does not accept the credentials (407); who runs the operator sets them in --fetcher-proxy",
        )
    if 400 <= status < 500 and status not in (408, 429):
        return FetchError(Reason.Forbidden, f"{said}refuses to connect to it ({status}); ask who runs the proxy")
    return FetchError(Reason.ServerError, f"{said}cannot connect to it ({status or 'it tells no reason'})")


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
