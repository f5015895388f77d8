"""What goes over the wire: credentials, paths, patches, watches; and answers that break off."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from podium.cli.cluster import Cluster
from podium.cli.errors import CliError, Unreachable
from tests.unit.cli.given import deployment
from tests.unit.cli.test_refusals import kubeconfig

FRAUD = deployment()
BASE = "/apis/podium.dev/v1alpha1"


class Server(ThreadingHTTPServer):
    """Answers every request with `answer`, and keeps what was asked: method, path, headers, body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: tuple[int, bytes] = (200, json.dumps(FRAUD).encode())
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, text = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PATCH = answer

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def cluster(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.url)))
    return Cluster.connect("prod")


def test_the_namespace_is_the_contexts(cluster: Cluster) -> None:
    assert cluster.namespace == "ml"


def test_the_token_of_the_kubeconfig_is_sent(cluster: Cluster, server: Server) -> None:
    assert cluster.deployment("ml", "fraud") == FRAUD
    ((method, path, headers, _),) = server.asked
    assert (method, path) == ("GET", f"{BASE}/namespaces/ml/modeldeployments/fraud")
    assert (headers["Authorization"], headers["User-Agent"]) == ("Bearer t", "kubectl-podium")


def test_a_command_is_a_merge_patch_of_metadata_alone(cluster: Cluster, server: Server) -> None:
    cluster.annotate("ml", "fraud", {"podium.dev/command": "pause a 1"})
    ((method, path, headers, body),) = server.asked
    assert (method, path) == ("PATCH", f"{BASE}/namespaces/ml/modeldeployments/fraud")
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(body) == {"metadata": {"annotations": {"podium.dev/command": "pause a 1"}}}


@pytest.mark.parametrize(
    ("namespace", "name", "path"),
    [
        (None, None, f"{BASE}/modeldeployments"),
        ("ml", None, f"{BASE}/namespaces/ml/modeldeployments"),
        ("ml", "fraud", f"{BASE}/namespaces/ml/modeldeployments?fieldSelector=metadata.name%3Dfraud"),
    ],
)
def test_one_namespace_all_of_them_or_one_object_is_listed(
    namespace: str | None, name: str | None, path: str, cluster: Cluster, server: Server
) -> None:
    server.answer = 200, json.dumps({"metadata": {"resourceVersion": "7"}, "items": [FRAUD]}).encode()
    listed = cluster.deployments(namespace, name)
    assert (listed.version, listed.items) == ("7", (FRAUD,))
    assert server.asked[0][1] == path


def test_a_watch_goes_on_from_a_version_and_ends_at_its_time(cluster: Cluster, server: Server) -> None:
    events = [{"type": "MODIFIED", "object": FRAUD}, {"type": "DELETED", "object": FRAUD}]
    server.answer = 200, b"".join(json.dumps(event).encode() + b"\n" for event in events)
    assert list(cluster.watch("ml", "fraud", "7", 60)) == events
    query = server.asked[0][1].partition("?")[2].split("&")
    assert {"watch=1", "resourceVersion=7", "timeoutSeconds=60", "fieldSelector=metadata.name%3Dfraud"} <= {*query}


def test_a_watch_that_breaks_off_in_an_event_may_be_begun_anew(cluster: Cluster, server: Server) -> None:
    server.answer = 200, b'{"type": "MODIF'
    with pytest.raises(Unreachable, match="modeldeployment fraud: the watch broke off"):
        list(cluster.watch("ml", "fraud", "7", 60))


@pytest.mark.parametrize("text", [b"<html>hello</html>", b"", b"[1"])
def test_what_is_no_api_server_is_said_to_be_none(text: bytes, cluster: Cluster, server: Server) -> None:
    server.answer = 200, text
    with pytest.raises(CliError, match="is no Kubernetes API server: it does not answer in JSON"):
        cluster.deployment("ml", "fraud")


def test_a_token_that_is_not_accepted_is_told_of_with_the_ways_out(cluster: Cluster, server: Server) -> None:
    server.answer = 401, b'{"kind": "Status", "message": "Unauthorized"}'
    with pytest.raises(CliError, match=r"does not know you \(401\): log in again, or choose another"):
        cluster.deployment("ml", "fraud")
