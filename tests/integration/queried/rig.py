"""A real Prometheus with TLS and a password, an Envoy before it that wants a bearer token, and pods that it scrapes.

Prometheus itself knows no bearer tokens; clusters put a proxy before it. Ours asks for one, and shows Prometheus the
password instead.
"""

import base64
import http.client
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from podium.metrics.access import Access
from tests.cluster import binaries
from tests.cluster.pki import Authority
from tests.cluster.ports import reserve
from tests.cluster.progress import tail

NAMESPACE = "ml"
SCRAPED = 2.0
"""Seconds between two scrapes, and that one may take."""
SECONDS, POLL = 60.0, 0.02
TOKEN = "a-real-token"
PASSWORD = "a-real-secret"
_BCRYPT = "$2b$04$abcdefghijklmnopqrstuuRml8OQwcMNmmL0v320m8qXkPPWeaJFa"
"""Of PASSWORD."""


@dataclass
class Pod:
    """What a pod has counted since it started; `up` False: its metrics cannot be read."""

    failed: int | None = 0
    """None: it exports nothing that has not happened."""
    total: int = 0
    up: bool = True

    def text(self) -> str:
        """Its page of metrics."""
        failed = "" if self.failed is None else f"# TYPE failed_total counter\nfailed_total {self.failed}\n"
        return f"{failed}# TYPE all_total counter\nall_total {self.total}\n# TYPE odd gauge\nodd NaN\n"


@dataclass
class Stack:
    """All of it."""

    folder: Path
    pods: dict[str, Pod] = field(default_factory=dict)
    """By name, such as new-1."""

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder / "pki")
        self.port, self.proxy = reserve(2)
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self._prometheus: subprocess.Popen[bytes] | None = None

    @property
    def access(self) -> Access:
        """Through the proxy."""
        return Access(
            url=f"https://127.0.0.1:{self.proxy}",
            ca_file=str(self.authority.certificate),
            token_file=str(self.token),
            every=2 * SCRAPED,
        )

    @contextmanager
    def running(self, *pods: str) -> Iterator[None]:
        """With these pods, from when all answers until its end."""
        self.pods |= {name: Pod() for name in pods}
        with self._serving() as scraped, self._proxying():
            self._configure(scraped)
            try:
                self.start()
                yield
            finally:
                self.kill()

    def start(self) -> None:
        """Prometheus, with what it has stored."""
        command = [
            str(binaries.prometheus()), f"--config.file={self.folder / 'prometheus.yml'}",
            f"--web.config.file={self.folder / 'web.yml'}", f"--web.listen-address=127.0.0.1:{self.port}",
            f"--storage.tsdb.path={self.folder / 'data'}",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._prometheus = subprocess.Popen(command, stdout=log, stderr=log)
        self._until(self._ready)

    def kill(self) -> None:
        """Prometheus is gone from one moment to the next."""
        if self._prometheus is not None:
            self._prometheus.kill()
            self._prometheus.wait(SECONDS)

    def until_scraped(self, query: str, text: str) -> None:
        """Until Prometheus has it."""
        self._until(lambda: self._get(f"/api/v1/query?query={query}").find(f'"{text}"]'.encode()) >= 0)

    @property
    def _log(self) -> Path:
        return self.folder / "prometheus.log"

    def _until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if what():
                    return
            time.sleep(POLL)
        raise AssertionError(f"{tail(self._log)} {tail(self.folder / 'envoy.log')}")

    def _ready(self) -> bool:
        return b"is Ready" in self._get("/-/ready", self.port) and b"success" in self._get("/api/v1/query?query=1")

    def _get(self, path: str, port: int | None = None) -> bytes:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", int(port or self.proxy), timeout=SECONDS, context=context)
        basic = base64.b64encode(f"podium:{PASSWORD}".encode()).decode()
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Basic {basic}" if port else f"Bearer {TOKEN}"})
            return connection.getresponse().read()

    def _configure(self, scraped: int) -> None:
        pair = self.authority.issue("prometheus", "prometheus", hosts=["127.0.0.1"])
        web = {
            "tls_server_config": {"cert_file": str(pair.certificate), "key_file": str(pair.key)},
            "basic_auth_users": {"podium": _BCRYPT},
        }
        targets = [
            {
                "targets": [f"127.0.0.1:{scraped}"],
                "labels": {"namespace": NAMESPACE, "pod": name, "__metrics_path__": f"/{name}"},
            }
            for name in self.pods
        ]
        config = {
            "global": {"scrape_interval": f"{1000 * SCRAPED:.0f}ms", "scrape_timeout": f"{1000 * SCRAPED:.0f}ms"},
            "scrape_configs": [{"job_name": "pods", "static_configs": targets}],
        }
        (self.folder / "web.yml").write_text(yaml.safe_dump(web))
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    @contextmanager
    def _serving(self) -> Iterator[int]:
        pods = self.pods

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod = pods[self.path.split("?")[0].strip("/")]
                body = pod.text().encode()
                self.send_response(200 if pod.up else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    @contextmanager
    def _proxying(self) -> Iterator[None]:
        path = self.folder / "envoy.json"
        path.write_text(json.dumps(self._envoy()))
        command = [str(binaries.envoy()), "-c", str(path), "--disable-hot-restart", "--concurrency", "1"]
        with (self.folder / "envoy.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait(SECONDS)

    def _envoy(self) -> dict[str, object]:
        pair = self.authority.issue("proxy", "proxy", hosts=["127.0.0.1"])
        basic = base64.b64encode(f"podium:{PASSWORD}".encode()).decode()
        bearer = {"header": {"name": "authorization", "string_match": {"exact": f"Bearer {TOKEN}"}}}
        rules = {"policies": {"token": {"permissions": [{"any": True}], "principals": [bearer]}}}
        route = {
            "match": {"prefix": "/"},
            "route": {"cluster": "prometheus"},
            "request_headers_to_add": [
                {
                    "header": {"key": "authorization", "value": f"Basic {basic}"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
        }
        manager = {
            "@type": _extension("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "proxy",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {"name": "rbac", "typed_config": {"@type": _extension("filters.http.rbac.v3.RBAC"), "rules": rules}},
                {"name": "router", "typed_config": {"@type": _extension("filters.http.router.v3.Router")}},
            ],
        }
        certificate = {
            "certificate_chain": {"filename": str(pair.certificate)},
            "private_key": {"filename": str(pair.key)},
        }
        downstream = {
            "@type": _extension("transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {"tls_certificates": [certificate]},
        }
        upstream = {
            "@type": _extension("transport_sockets.tls.v3.UpstreamTlsContext"),
            "common_tls_context": {"validation_context": {"trusted_ca": {"filename": str(self.authority.certificate)}}},
        }
        listener = {
            "name": "tls",
            "address": _address(self.proxy),
            "filter_chains": [
                {
                    "filters": [{"name": "http", "typed_config": manager}],
                    "transport_socket": {"name": "tls", "typed_config": downstream},
                }
            ],
        }
        cluster = {
            "name": "prometheus",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "prometheus",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(self.port)}}]}],
            },
            "transport_socket": {"name": "tls", "typed_config": upstream},
        }
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _extension(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}
