"""What Envoy polls for comes as soon as there is another version of it than Envoy has."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from podium.router import discovery as discovery_module
from podium.router.discovery import Discovery

SECONDS = 30.0
Poll = Callable[..., Future[tuple[int, str]]]


class Socket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agent")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(path))


@pytest.fixture
def served(tmp_path: Path) -> Discovery:
    found = Discovery(tmp_path)
    found.serve(tmp_path / "agent.sock")
    return found


@pytest.fixture
def poll(served: Discovery, tmp_path: Path) -> Iterator[Poll]:
    """Polls in a thread of its own: the status, and the version that came."""

    def asked(resource: str, has: str, kind: str) -> tuple[int, str]:
        with closing(Socket(tmp_path / "agent.sock")) as connection:
            body = {"resource_names": [resource], **({"version_info": has} if has else {})}
            connection.request("POST", f"/v3/discovery:{kind}", json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text)["version_info"] if text else ""

    with ThreadPoolExecutor() as pool:
        yield lambda resource, has="", kind="routes": pool.submit(asked, resource, has, kind)


def write(folder: Path, name: str, version: str) -> None:
    (folder / name).write_text(json.dumps({"version_info": version, "resources": []}))


def test_a_file_of_an_agent_before_this_one_is_answered_at_once(tmp_path: Path, poll: Poll) -> None:
    write(tmp_path, "routes.fraud.json", "1")
    write(tmp_path, "endpoints.fraud-b.http.json", "2")
    assert poll("fraud").result(SECONDS) == (200, "1")
    assert poll("fraud-b.http", kind="endpoints").result(SECONDS) == (200, "2")


@pytest.mark.parametrize("first", ["1", None], ids=["the version that Envoy has", "a file that is not there yet"])
def test_a_poll_waits_for_a_change_and_no_other_files_ends_it(
    tmp_path: Path, served: Discovery, poll: Poll, first: str | None
) -> None:
    if first:
        write(tmp_path, "routes.fraud.json", first)
    waiting = poll("fraud", first or "")
    write(tmp_path, "routes.spam.json", "7")
    served.changed("routes.spam.json")
    assert poll("spam").result(SECONDS) == (200, "7")
    assert not waiting.done()

    write(tmp_path, "routes.fraud.json", "2")
    served.changed("routes.fraud.json")
    assert waiting.result(SECONDS) == (200, "2")


def test_without_news_a_poll_is_told_so_in_the_end(tmp_path: Path, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "HOLD_SECONDS", 0.05)
    write(tmp_path, "routes.fraud.json", "1")
    assert poll("fraud", "1").result(SECONDS) == (304, "")


def test_a_file_outside_of_the_folder_is_not_read(tmp_path: Path, poll: Poll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "HOLD_SECONDS", 0.05)
    (tmp_path.parent / "known.json").write_text('{"version_info": "secret"}')
    assert poll("/../../known").result(SECONDS) == (304, "")


HEAD = b"POST / HTTP/1.1\r\ncontent-length: "


@pytest.mark.parametrize("said", [b"\r\n\r\n", HEAD + b"1\r\n\r\n{", HEAD + b"2\r\n\r\n{}", HEAD + b"2\r\n\r\n[]"])
def test_who_is_not_envoy_is_left_and_the_next_one_is_answered(tmp_path: Path, poll: Poll, said: bytes) -> None:
    with closing(Socket(tmp_path / "agent.sock")) as connection:
        connection.sock.sendall(said)
        assert connection.sock.recv(1) == b""
    write(tmp_path, "routes.fraud.json", "1")
    assert poll("fraud").result(SECONDS) == (200, "1")


def test_a_socket_of_an_agent_before_this_one_is_taken_over(tmp_path: Path, served: Discovery) -> None:
    done = threading.Event()
    again = Discovery(tmp_path)
    threading.Thread(target=lambda: (again.serve(tmp_path / "agent.sock"), done.set()), daemon=True).start()
    assert done.wait(SECONDS)


def test_an_agent_whose_socket_cannot_be_made_hears_of_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Discovery(tmp_path).serve(tmp_path / "nowhere" / "agent.sock")
