"""https://: which addresses may be asked, and which failures are permanent."""

import hashlib
import http.server
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from podium_serving.fetch.__main__ import EXIT_PASSING, main
from podium_serving.fetch.config import Config
from podium_serving.fetch.connect import check_address, connect
from podium_serving.fetch.errors import FetchError
from tests.unit.serving.harness import environment, fetch, start_fetch
from tests.unit.serving.web import OWN_ADDRESS, Certificates, Script, certificates, reply, web

BODY = b"model" * 1000


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: Certificates) -> dict[str, object]:
    """Settings that allow the test's server: its address and its authority."""
    return {"PODIUM_ALLOW_ADDRESSES": "127.0.0.0/8", "PODIUM_CA_FILE": tls.authority}


def test_a_file_is_fetched_hashed_and_placed(tmp_path: Path, tls: Certificates, trusted: dict[str, object]) -> None:
    with web(reply(200, BODY), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/models/fraud.onnx?signature=hidden", **trusted)
    assert result.code == 0
    assert (tmp_path / "models" / "model" / "fraud.onnx").read_bytes() == BODY
    assert result.message["digest"] == f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    assert result.message["uri"] == f"{server.url}/models/fraud.onnx"
    assert server.seen == ["GET /models/fraud.onnx?signature=hidden"]
    assert "hidden" not in result.output


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/artifact", "artifact"), ("/download/?id=7", "model"), ("/?id=7", "model"), ("?id=7", "model"),
        ("/models/7/content?x=a/b", "content"),
    ],
)  # fmt: skip
def test_a_download_link_may_have_any_name_or_none(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], target: str, name: str
) -> None:
    with web(reply(200, BODY), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}{target}", **trusted)
    assert result.code == 0, result.output
    assert (tmp_path / "models" / "model" / name).read_bytes() == BODY


def test_two_links_that_differ_in_their_query_are_two_models(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object]
) -> None:
    with web(lambda handler: reply(200, handler.path.encode())(handler), tls.server) as server:
        for number in ("1", "2"):
            assert fetch(tmp_path, f"{server.url}/get?id={number}", **trusted).message["reused"] is False
    assert (tmp_path / "models" / "model" / "get").read_bytes() == b"/get?id=2"


def test_a_private_authority_can_come_as_a_variable_of_the_secret(tmp_path: Path, tls: Certificates) -> None:
    variables = {"PODIUM_ALLOW_ADDRESSES": "127.0.0.1", "ca.crt": tls.authority.read_text()}
    with web(reply(200, BODY), tls.server) as server:
        assert fetch(tmp_path, f"{server.url}/a.onnx", **variables).code == 0


def test_a_private_address_is_refused_unless_it_is_allowed(tmp_path: Path, tls: Certificates) -> None:
    with web(reply(200, BODY), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a.onnx", PODIUM_CA_FILE=tls.authority)
        assert (result.code, result.message["reason"]) == (65, "AddressRefused")
        assert "127.0.0.1 is at 127.0.0.1, which is not a public address" in result.message["message"]
        assert server.seen == []


def test_a_name_that_leads_to_a_private_address_is_refused(tmp_path: Path, tls: Certificates) -> None:
    with web(reply(200, BODY), tls.server) as server:
        port = server.url.rsplit(":", 1)[1]
        assert (
            fetch(tmp_path, f"https://localhost:{port}/a", PODIUM_CA_FILE=tls.authority).message["reason"]
            == "AddressRefused"
        )
        allowed = {"PODIUM_ALLOW_ADDRESSES": "localhost", "PODIUM_CA_FILE": tls.authority}
        assert fetch(tmp_path, f"https://localhost:{port}/a", **allowed).code == 0


def test_addresses_are_checked_again_at_a_redirect(tmp_path: Path, tls: Certificates) -> None:
    redirect = reply(302, Location="https://127.0.0.2/latest/meta-data")
    variables = {"PODIUM_ALLOW_ADDRESSES": "127.0.0.1/32", "PODIUM_CA_FILE": tls.authority}
    with web(redirect, tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", **variables)
    assert (result.code, result.message["reason"]) == (65, "AddressRefused")
    assert "127.0.0.2" in result.message["message"]


def test_a_redirect_is_followed(tmp_path: Path, tls: Certificates, trusted: dict[str, object]) -> None:
    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        (reply(302, Location="/b?token=1") if handler.path == "/a" else reply(200, BODY))(handler)

    with web(script, tls.server) as server:
        assert fetch(tmp_path, f"{server.url}/a", **trusted).code == 0
        assert server.seen == ["GET /a", "GET /b?token=1"]
    assert (tmp_path / "models" / "model" / "a").read_bytes() == BODY


def test_the_host_header_names_a_port_only_if_it_is_not_https_own(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object]
) -> None:
    # The signature of a presigned URL covers that header.
    with web(reply(200, BODY), tls.server) as server:
        assert fetch(tmp_path, f"{server.url}/a", **trusted).code == 0
        assert server.hosts == [server.url.removeprefix("https://")]
    with web(reply(200, BODY), tls.server, (OWN_ADDRESS, 443)) as server:
        assert fetch(tmp_path, f"https://{OWN_ADDRESS}/b", **trusted).code == 0
        assert fetch(tmp_path, f"https://{OWN_ADDRESS}:443/c", **trusted).code == 0
        assert server.hosts == [OWN_ADDRESS, OWN_ADDRESS]


@pytest.mark.parametrize(
    ("written", "asked", "name"),
    [
        ("/modèle v1.onnx", "/mod%C3%A8le%20v1.onnx", "modèle v1.onnx"),
        ("/mod%C3%A8le.onnx", "/mod%C3%A8le.onnx", "modèle.onnx"),
        (
            "/a%2Bb+c.onnx?sig=%2B/a+b==&x='(~)'&é=\u00a0",
            "/a%2Bb+c.onnx?sig=%2B/a+b==&x='(~)'&%C3%A9=%C2%A0",
            "a+b+c.onnx",
        ),
    ],
)
def test_a_url_is_asked_for_as_it_is_written_and_what_is_not_ascii_is_escaped(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], written: str, asked: str, name: str
) -> None:
    with web(reply(200, BODY), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}{written}", **trusted)
        assert result.code == 0, result.output
        assert server.seen == [f"GET {asked}"]
    assert (tmp_path / "models" / "model" / name).read_bytes() == BODY


def test_a_redirect_may_be_written_in_utf_8(tmp_path: Path, tls: Certificates, trusted: dict[str, object]) -> None:
    location = "/modèle v1?x=%20".encode().decode("latin-1")

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        (reply(302, Location=location) if handler.path == "/a" else reply(200, BODY))(handler)

    with web(script, tls.server) as server:
        assert fetch(tmp_path, f"{server.url}/a", **trusted).code == 0
        assert server.seen == ["GET /a", "GET /mod%C3%A8le%20v1?x=%20"]


@pytest.mark.parametrize("uri", ["https://a..b/x", f"https://{'a' * 70}.com/x", "https://.x/y"])
def test_a_host_that_is_no_name_is_permanent(tmp_path: Path, uri: str) -> None:
    result = fetch(tmp_path, uri)
    assert (result.code, result.message["reason"]) == (65, "BadURI")
    assert result.message["message"].startswith(f"{uri}: not a valid URL (")


@pytest.mark.parametrize("target", ["https://[::1", "https://127.0.0.1:99999/x", "https://a..b/x"])
def test_a_redirect_to_what_is_no_url_is_permanent(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], target: str
) -> None:
    with web(reply(302, Location=target), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", **trusted)
    assert (result.code, result.message["reason"]) == (65, "BadURI")
    assert result.message["message"].startswith(f"{server.url}/a: is redirected to {target}: not a valid URL (")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("http://127.0.0.1/a", "is redirected to plain http"),
        ("file:///etc/passwd", "is not https"),
        ("/a", "more than 5"),
    ],
)
def test_redirects_that_lead_astray_are_refused(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], target: str, sentence: str
) -> None:
    with web(reply(302, Location=target), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", **trusted)
    assert (result.code, result.message["reason"]) == (65, "Rejected")
    assert sentence in result.message["message"]


def test_plain_http_is_for_those_who_allow_it(tmp_path: Path) -> None:
    variables = {"PODIUM_ALLOW_HTTP": "true", "PODIUM_ALLOW_ADDRESSES": "*"}
    with web(reply(200, BODY)) as server:
        assert fetch(tmp_path, f"{server.url}/a", **variables).code == 0


FAILURES: list[tuple[Script, int, str]] = [
    (reply(401), 65, "Unauthorized"),
    (reply(403), 65, "Forbidden"),
    (reply(404), 65, "NotFound"),
    (reply(400), 65, "Rejected"),
    (reply(408), 75, "ServerError"),
    (reply(429), 75, "TooManyRequests"),
    (reply(500), 75, "ServerError"),
    (reply(503), 75, "ServerError"),
    (reply(200, BODY, announced=len(BODY) + 1), 75, "Incomplete"),
]


@pytest.mark.parametrize(("script", "code", "reason"), FAILURES)
def test_failures_are_permanent_or_passing(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], script: Script, code: int, reason: str
) -> None:
    with web(script, tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a?signature=hidden", **trusted)
    assert (result.code, result.message["reason"]) == (code, reason)
    assert result.message["permanent"] is (code == 65)
    assert f"{server.url}/a" in result.message["message"]
    assert "hidden" not in result.output
    assert not (tmp_path / "models" / "model").exists()


def test_a_passing_failure_is_met_again_in_the_same_process(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object]
) -> None:
    answers = iter([reply(503), reply(200, BODY, announced=len(BODY) + 1), reply(200, BODY)])
    with web(lambda handler: next(answers)(handler), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", PODIUM_FETCH_ATTEMPTS=3, **trusted)
    assert (result.code, result.message["attempts"]) == (0, 3)


def test_nobody_there_is_a_passing_failure(tmp_path: Path, trusted: dict[str, object]) -> None:
    assert fetch(tmp_path, "https://127.0.0.1:1/a", **trusted).message["reason"] == "ConnectFailed"
    assert fetch(tmp_path, "https://models.invalid/a", **trusted).message["reason"] == "NameResolution"


def test_an_unknown_authority_is_told(tmp_path: Path, tls: Certificates) -> None:
    with web(reply(200, BODY), tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", PODIUM_ALLOW_ADDRESSES="*")
    assert (result.code, result.message["reason"]) == (75, "TLSFailed")


def test_all_addresses_of_a_name_share_the_time_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"203.0.113.{number}", 443)) for number in range(4)]
    given: list[float] = []

    def nobody(address: tuple[str, int], timeout: float) -> socket.socket:
        given.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", nobody)
    config = Config.from_environment(environment(PODIUM_MODEL_URI="https://models.example/1"))
    with pytest.raises(FetchError, match="no connection in 10 s"):
        connect(config, "https", "models.example", None, config.shown_uri, checked=False)
    assert given == [2.5] * 4


def test_a_fetch_that_nobody_answers_is_over_within_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []

    def nobody(address: tuple[str, int], timeout: float) -> socket.socket:
        spent.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", nobody)
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    monkeypatch.setattr(time, "sleep", spent.append)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    for name, value in {"URI": "https://203.0.113.1/model", "PATH": tmp_path / "model"}.items():
        monkeypatch.setenv(f"PODIUM_MODEL_{name}", str(value))
    monkeypatch.setenv("PODIUM_ALLOW_ADDRESSES", "203.0.113.0/24")
    monkeypatch.setenv("PODIUM_TERMINATION_LOG", str(tmp_path / "termination"))

    assert main() == EXIT_PASSING
    told = json.loads((tmp_path / "termination").read_text())
    assert (told["reason"], told["attempts"]) == ("Timeout", 4)
    assert len(spent) == 7, "four attempts, three pauses"
    assert sum(spent) < 60


@pytest.fixture
def stalling() -> Script:
    """Sends half of the body and then nothing until the test is over."""

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[: len(BODY) // 2])
        handler.wfile.flush()
        handler.connection.recv(1)

    return script


def test_a_connection_that_stalls_is_given_up(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], stalling: Script
) -> None:
    with web(stalling, tls.server) as server:
        result = fetch(tmp_path, f"{server.url}/a", PODIUM_STALL_SECONDS=0.3, **trusted)
    assert (result.code, result.message["reason"]) == (75, "Timeout")


def test_a_run_that_is_told_to_stop_leaves_nothing_behind(
    tmp_path: Path, tls: Certificates, trusted: dict[str, object], stalling: Script
) -> None:
    with web(stalling, tls.server) as server:
        process = start_fetch(tmp_path, f"{server.url}/a", **trusted)
        staged = tmp_path / "models" / ".model.fetching" / "a"
        while not staged.exists():
            assert process.poll() is None
        # A signal that comes between Python's last look and the blocking read waits for that read's time-out; the next
        # one interrupts it.
        for _ in range(60):
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == 75
    assert '"reason": "Interrupted"' in (tmp_path / "termination").read_text()
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
    ],
)  # fmt: skip
def test_only_public_addresses_are_asked(address: str) -> None:
    config = Config.from_environment(environment(PODIUM_MODEL_URI="https://host/a"))
    with pytest.raises(FetchError, match="not a public address"):
        check_address(config, "host", address, "https://host/a")
    check_address(config, "host", "93.184.215.14", "https://host/a")
    check_address(config, "host", "2606:2800:21f:cb07::1", "https://host/a")
