"""A web server whose answers the test scripts: over TLS with an authority of its own, or plain."""

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# For a server that needs a port of its choice: nobody else listens there.
OWN_ADDRESS = "127.4.4.3"

Script = Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class Web:
    """A running server: its URL without a path, and the request lines and Host headers it has seen."""

    url: str
    seen: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)


def reply(status: int, body: bytes = b"", announced: int | None = None, **headers: str) -> Script:
    """Answers with that status and body; `announced` is the content-length if it is to differ from the truth."""

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.send_header("Connection", "close")  # else a client may send its next request just as it is closed
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
        handler.close_connection = True

    return script


@contextmanager
def web(script: Script, certificate: Path | None = None, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Web]:
    state = Web("")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.seen.append(f"{self.command} {self.path}")
            state.hosts.append(self.headers["Host"])
            script(self)

        do_HEAD = do_CONNECT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Threaded(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that goes away is part of the tests

    server = Threaded(address, Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    state.url = f"{'https' if certificate else 'http'}://{address[0]}:{server.server_port}"
    try:
        yield state
    finally:
        state.stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority's certificate, and a server's key and certificate signed by it."""

    authority: Path
    server: Path


def certificates(folder: Path) -> Certificates:
    """An authority, and a server of localhost, 127.0.0.1 and OWN_ADDRESS that it vouches for."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _sign(
        _unsigned("podium test authority", "podium test authority", authority_key), authority_key, ca=True
    )
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", OWN_ADDRESS)]
    names = [x509.DNSName("localhost"), *addresses]
    unsigned = _unsigned("podium test server", "podium test authority", server_key)
    server = _sign(unsigned.add_extension(x509.SubjectAlternativeName(names), critical=False), authority_key, ca=False)
    found = Certificates(folder / "authority.pem", folder / "server.pem")
    found.authority.write_bytes(authority)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    found.server.write_bytes(server_key.private_bytes(encoding, form, serialization.NoEncryption()) + server)
    return found


def _unsigned(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
    constraints = x509.BasicConstraints(ca=ca, path_length=None)
    signed = builder.add_extension(constraints, critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
