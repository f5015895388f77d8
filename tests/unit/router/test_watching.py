"""Lists and watches, against a server that answers what the test says, over TLS as the API server does."""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podium.router import watching as watching_module
from podium.router.watching import Refused, Server, Watching
from tests.cluster.pki import Authority

Make = Callable[..., tuple[Watching, list[str]]]
Run = Callable[[Watching], None]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes what watches, of a server with these answers, one after the other: lists of names, or a status.

    A watch says one change and then nothing more; with `watch` these lines, and ends.
    """
    servers: list[ThreadingHTTPServer] = []
    authority = Authority(tmp_path / "pki")
    pair = authority.issue("server", "server", hosts=["127.0.0.1"])
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "token").write_text("secret\n")

    quiet = threading.Event()

    def made(*answers: list[str] | int, silent: float = 90.0, watch: str | None = None) -> tuple[Watching, list[str]]:
        left, asked = list(answers), list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"{self.path} {self.headers['authorization']}")
                if "watch=1" in self.path:
                    self._watched()
                    return
                answer = left.pop(0) if left else 503
                status, items = (answer, []) if isinstance(answer, int) else (200, answer)
                body = json.dumps({"metadata": {"resourceVersion": str(len(asked))}, "items": list(map(_item, items))})
                if items == ["junk"]:
                    body = json.dumps({"metadata": None, "items": [7]})
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def _watched(self) -> None:
                self.send_response(200)
                self.end_headers()
                if watch is not None:
                    self.wfile.write(watch.encode())
                    return
                event = {"type": "MODIFIED", "object": {"metadata": {"name": "one", "resourceVersion": "7"}}}
                self.wfile.write(json.dumps(event).encode() + b"\n")
                quiet.wait(30)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
        return Watching(Server.in_pod(tmp_path), "/things", "a=b", lambda: None, silent=silent), asked

    yield made
    quiet.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    """Seconds of each that was asked for."""
    return []


@pytest.fixture
def run(make: Make, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs what watches in a thread, with hardly a pause, until the test ends."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if ended.wait(0.01):
            raise SystemExit

    monkeypatch.setattr(watching_module, "time", SimpleNamespace(sleep=sleep))

    def until_ended(watching: Watching) -> None:
        with contextlib.suppress(SystemExit):
            watching.run()

    def running(watching: Watching) -> None:
        threads.append(threading.Thread(target=until_ended, args=(watching,), daemon=True))
        threads[-1].start()

    yield running
    ended.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def _item(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def names(watching: Watching) -> list[str]:
    return [each["metadata"]["name"] for each in watching.objects()]


def test_it_asks_with_its_token_for_what_it_selects(make: Make) -> None:
    watching, asked = make(["one", "two"])
    watching.list()

    assert names(watching) == ["one", "two"]
    assert asked == ["/things?labelSelector=a%3Db Bearer secret"]
    assert watching.listed.is_set()


def test_a_list_that_lacks_something_counts_once_a_second_one_says_so(make: Make) -> None:
    watching, asked = make(["one", "two"], ["two"], ["one", "two"], ["two"], ["two"])
    watching.list()

    watching.list()
    assert names(watching) == ["one", "two"]
    assert len(asked) == 3

    watching.list()
    assert names(watching) == ["two"]
    assert len(asked) == 5


def test_what_was_seen_stays_when_the_second_list_does_not_come(make: Make) -> None:
    watching, _ = make(["one"], [], 503)
    watching.list()

    with pytest.raises(Refused):
        watching.list()
    assert names(watching) == ["one"]


def test_a_watch_that_has_gone_silent_is_begun_anew_with_a_list(make: Make, run: Run) -> None:
    watching, asked = make(["one"], ["one", "two"], silent=2)
    run(watching)

    until(lambda: len(asked) >= 3)
    until(lambda: names(watching) == ["one", "two"])
    assert ["watch=1" in each for each in asked[:3]] == [False, True, False]


def test_junk_is_said_and_tried_again(make: Make, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    watching, _ = make(["junk"], ["one"], silent=2)
    run(watching)

    until(lambda: names(watching) == ["one"])
    assert "/things cannot be watched, trying again in 0.5 s: TypeError(" in caplog.text


def test_a_watch_that_ends_at_once_is_begun_again_after_a_pause(make: Make, run: Run, pauses: list[float]) -> None:
    watching, asked = make(["one"], watch="")
    run(watching)

    until(lambda: len(asked) >= 6)
    watches = len(asked) - 1
    assert len(pauses) >= watches - 1
    assert set(pauses) == {0.5}


def test_a_version_that_is_too_old_is_listed_anew_after_a_pause_which_grows(
    make: Make, run: Run, pauses: list[float]
) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    watching, asked = make(*[["one"]] * 5, watch=f"{json.dumps(gone)}\n")
    run(watching)

    until(lambda: len(asked) >= 8)
    lists = sum("watch=1" not in each for each in asked)
    assert len(pauses) >= lists - 1
    assert pauses[:3] == [0.5, 1.0, 2.0]


def test_after_a_watch_that_said_something_the_pause_is_short_however_it_ended(
    make: Make, run: Run, pauses: list[float]
) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    watching, _ = make(*[["one"]] * 5, watch=f"{json.dumps(bookmark)}\nbroken off\n")
    run(watching)

    until(lambda: len(pauses) >= 4)
    assert pauses[:4] == [0.5] * 4


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
