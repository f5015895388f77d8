"""The fetcher behind a proxy, for https and s3 alike: which requests go through it, and whose address is checked."""

import base64
import http.server
import select
import socket
from pathlib import Path

import pytest

from podium_serving.environment import Environment, InvalidEnvironment
from podium_serving.fetch.proxy import Proxies
from tests.unit.serving.harness import fetch
from tests.unit.serving.test_fetch_s3 import fetch_s3
from tests.unit.serving.web import Certificates, Script, Web, certificates, reply, web

DATED = {"Last_Modified": "Sun, 22 Nov 2026 20:59:22 GMT", "ETag": '"x"'}
BODY = b"model" * 1000


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def forwarding(upstream: Web, authorization: str = "") -> Script:
    """A proxy that reaches one server, whatever name it is asked for: by CONNECT, or with a plain request's answer."""

    def script(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        if authorization and handler.headers.get("Proxy-Authorization") != authorization:
            reply(407)(handler)
        elif handler.command == "CONNECT":
            host, port = upstream.url.rsplit("/", 1)[1].split(":")
            handler.send_response(200)
            handler.end_headers()
            with socket.create_connection((host, int(port))) as behind:
                ends = {handler.connection: behind, behind: handler.connection}
                while ready := select.select(list(ends), [], [], 10)[0]:
                    for end in ready:
                        if not (data := end.recv(65536)):
                            handler.close_connection = True
                            return
                        ends[end].sendall(data)
        else:
            reply(200, BODY, **DATED)(handler)

    return script


def test_https_goes_through_the_proxy_and_only_its_address_is_checked(tmp_path: Path, tls: Certificates) -> None:
    variables = {"PODIUM_CA_FILE": tls.authority, "PODIUM_ALLOW_ADDRESSES": "127.0.0.0/8"}
    with web(reply(200, BODY), tls.server) as server, web(forwarding(server)) as proxy:
        # No name server knows the name: the proxy resolves it.
        port = server.url.rsplit(":", 1)[1]
        result = fetch(tmp_path, f"https://localhost:{port}/a", HTTPS_PROXY=proxy.url, **variables)
        assert result.code == 0, result.output
        assert proxy.seen == [f"CONNECT localhost:{port}"]
        assert server.seen == ["GET /a"]


def test_plain_http_goes_through_the_proxy_in_absolute_form(tmp_path: Path) -> None:
    variables = {"PODIUM_ALLOW_HTTP": "true", "PODIUM_ALLOW_ADDRESSES": "127.0.0.1"}
    with web(reply(404)) as server, web(forwarding(server)) as proxy:
        result = fetch(tmp_path, "http://models.invalid/a?b=1", HTTP_PROXY=proxy.url, **variables)
        assert result.code == 0, result.output
        assert proxy.seen == ["GET http://models.invalid/a?b=1"]
        assert proxy.hosts == ["models.invalid"]


def test_the_proxys_address_must_be_allowed_if_it_is_not_public(tmp_path: Path, tls: Certificates) -> None:
    with web(reply(200, BODY)) as proxy:
        result = fetch(tmp_path, "https://example.com/a", HTTPS_PROXY=proxy.url, PODIUM_CA_FILE=tls.authority)
        assert (result.code, result.message["reason"]) == (65, "AddressRefused")
        assert f"https://example.com/a: the proxy {proxy.url}: 127.0.0.1 is at 127.0.0.1" in result.message["message"]
        assert proxy.seen == []


def test_s3_goes_through_the_proxy(tmp_path: Path) -> None:
    with web(reply(404)) as server, web(forwarding(server)) as proxy:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", "http://store.invalid", HTTP_PROXY=proxy.url)
        assert result.code == 0, result.output
        assert {each.split(" ")[1] for each in proxy.seen} == {"http://store.invalid/models/fraud/7"}


def test_s3_over_tls_goes_through_the_proxy(tmp_path: Path, tls: Certificates) -> None:
    with web(reply(200, BODY, **DATED), tls.server) as server, web(forwarding(server)) as proxy:
        port = server.url.rsplit(":", 1)[1]
        variables = {"HTTPS_PROXY": proxy.url, "ca.crt": tls.authority.read_text()}
        result = fetch_s3(tmp_path, "s3://models/fraud/7", f"https://localhost:{port}", **variables)
        assert result.code == 0, result.output
        assert proxy.seen[0] == f"CONNECT localhost:{port}"


@pytest.mark.parametrize("excluded", ["127.0.0.1", "127.0.0.0/8", "*", "example.com, 127.0.0.1"])
def test_no_proxy_names_who_is_reached_without(tmp_path: Path, tls: Certificates, excluded: str) -> None:
    variables = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": excluded}
    allowed = {"PODIUM_CA_FILE": tls.authority, "PODIUM_ALLOW_ADDRESSES": "127.0.0.1"}
    with web(reply(200, BODY), tls.server) as server:
        assert fetch(tmp_path / "a", f"{server.url}/a", **variables, **allowed).code == 0
    with web(reply(200, BODY, **DATED)) as store:
        assert fetch_s3(tmp_path / "b", "s3://models/fraud/7", store.url, **variables).code == 0


@pytest.mark.parametrize("variable", ["https_proxy", "http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_secret_brings_no_proxy(tmp_path: Path, variable: str) -> None:
    with web(reply(200, BODY, **DATED)) as store:
        result = fetch_s3(tmp_path, "s3://models/fraud/7", store.url, **{variable: "http://127.0.0.1:1"})
    assert result.code == 0, result.output


def test_a_password_goes_to_the_proxy_and_nowhere_else(tmp_path: Path, tls: Certificates) -> None:
    token = f"Basic {base64.b64encode(b'me:pa55/word').decode()}"
    allowed = {"PODIUM_CA_FILE": tls.authority, "PODIUM_ALLOW_ADDRESSES": "127.0.0.1"}
    with web(reply(200, BODY, **DATED), tls.server) as server, web(forwarding(server, token)) as proxy:
        with_password = proxy.url.replace("//", "//me:pa55%2Fword@")
        assert fetch(tmp_path / "a", f"{server.url}/a", HTTPS_PROXY=with_password, **allowed).code == 0
        variables = {"HTTPS_PROXY": with_password, "ca.crt": tls.authority.read_text()}
        assert fetch_s3(tmp_path / "b", "s3://models/fraud/7", server.url, **variables).code == 0
        wrong = proxy.url.replace("//", "//me:wr0ng@")
        for result in (
            fetch(tmp_path / "c", f"{server.url}/a", HTTPS_PROXY=wrong, **allowed),
            fetch_s3(tmp_path / "d", "s3://models/fraud/7", server.url, **variables | {"HTTPS_PROXY": wrong}),
            fetch_s3(tmp_path / "e", "s3://models/fraud/7", "http://store.invalid", HTTP_PROXY=wrong),
        ):
            assert (result.code, result.message["reason"]) == (65, "Unauthorized"), result.output
            assert f"the proxy {proxy.url} does not accept the credentials (407)" in result.message["message"]
            assert "wr0ng" not in result.output


@pytest.mark.parametrize(("status", "code", "reason"), [(403, 65, "Forbidden"), (502, 75, "ServerError")])
def test_a_proxy_that_refuses_is_told(tmp_path: Path, status: int, code: int, reason: str) -> None:
    with web(reply(status)) as proxy:
        result = fetch(tmp_path, "https://example.com/a", HTTPS_PROXY=proxy.url, PODIUM_ALLOW_ADDRESSES="*")
        assert (result.code, result.message["reason"]) == (code, reason)
        assert result.message["message"].startswith(f"https://example.com/a: the proxy {proxy.url} ")
        s3 = fetch_s3(tmp_path, "s3://models/fraud/7", "https://store.invalid", HTTPS_PROXY=proxy.url)
        assert (s3.code, s3.message["reason"]) == (75, "ServerError")
        assert f"the proxy {proxy.url} cannot connect to it" in s3.message["message"]


def test_a_proxy_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = {"HTTPS_PROXY": "127.0.0.1:1", "HTTP_PROXY": "127.0.0.1:1", "PODIUM_ALLOW_ADDRESSES": "*"}
    for result in (
        fetch(tmp_path, "https://example.com/a", **gone),
        fetch_s3(tmp_path, "s3://models/fraud/7", "http://store.invalid", **gone),
        fetch_s3(tmp_path, "s3://models/fraud/7", "", **gone),
    ):
        assert (result.code, result.message["reason"]) == (75, "ConnectFailed")
        assert "the proxy http://127.0.0.1:1" in result.message["message"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://proxy:3128", "https://proxy:3128"), ("socks5://me:pa55@proxy", "socks5://proxy"),
        ("proxy:99999", "proxy:99999"), ("http://a b", "http://a b"), ("http://", "http://"),
        ("me:pa55/word@proxy:3128", "proxy:3128"), ("http://me:pa55/word@proxy:3128", "http://proxy:3128"),
        ("me:pa55//word@proxy", "proxy"), ("me:word//pa55@proxy", "proxy"), ("me:/pa55@word@proxy", "proxy"),
        ("http://me:wo@rd//pa55@proxy", "http://proxy"), ("http://me:pa55#@proxy", "http://proxy"),
        ("http://me:pa55://word@proxy", "http://proxy"), ("me:pa55\n@word/@proxy", "proxy"),
        ("http://me:pa55/\n@proxy", "http://proxy"), ("pa55://me:word@proxy", "proxy"),
    ],
)  # fmt: skip
def test_what_is_no_proxy_is_named_without_its_password(tmp_path: Path, value: str, shown: str) -> None:
    result = fetch(tmp_path, "https://example.com/a", HTTPS_PROXY=value)
    assert (result.code, result.message["reason"]) == (65, "InvalidConfiguration")
    assert f"{shown!r}: expected http://host:port, such as http://proxy.corp:3128" in result.message["message"]
    assert "pa55" not in f"{result.output} {result.message}"


@pytest.mark.parametrize(
    ("excludes", "host", "through"),
    [
        ("", "store.corp", True), ("corp", "store.corp", False), (".corp", "store.corp", False),
        ("*.corp", "store.corp", False), (".corp", "corp", False), ("corp", "mycorp", True),
        ("store.corp:443", "store.corp", False), ("store.corp:80", "store.corp", True),
        ("STORE.corp", "store.CORP", False),
        ("10.0.0.0/8", "10.1.2.3", False), ("10.0.0.0/8", "store.corp", True), ("10.1.2.3", "10.1.2.4", True),
        ("fd00::/8", "fd00::1", False), ("[fd00::1]", "fd00::1", False), ("a.b store.corp", "store.corp", False),
    ],
)  # fmt: skip
def test_how_no_proxy_is_read(excludes: str, host: str, through: bool) -> None:
    proxies = Proxies.from_environment(Environment({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": excludes}))
    assert (proxies.of("https", host, 443) is not None) is through
    assert proxies.of("http", host, 80) is None


def test_a_wrong_proxy_is_an_error_of_the_environment() -> None:
    with pytest.raises(InvalidEnvironment, match="HTTP_PROXY is 'ftp://proxy'"):
        Proxies.from_environment(Environment({"HTTP_PROXY": "ftp://proxy"}))
