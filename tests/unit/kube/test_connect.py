"""Where the API server is: in a pod from what the kubelet gives it, without the `kubernetes` package."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from podium.kube import incluster
from podium.kube.connect import CONNECTIONS, ConfigurationError, Connection, connect
from podium.kube.incluster import ServiceAccount
from podium.kube.transport import Transport
from podium.watch.handlers import Login


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ServiceAccount's files, as they are mounted into a pod."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "token").write_text("first\n")
    return tmp_path


async def token_of(account: ServiceAccount) -> str:
    return await account.get_api_key_with_prefix("BearerToken", alias="authorization")


async def test_a_pod_finds_the_API_server_and_its_token(mount: Path) -> None:
    account = ServiceAccount.of_this_pod(mount)

    await account.read()

    assert account.host == "https://10.0.0.1:443"
    assert account.ssl_ca_cert == str(mount / "ca.crt")
    assert await token_of(account) == "Bearer first"


async def test_an_IPv6_address_stands_in_brackets(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")

    assert ServiceAccount.of_this_pod(mount).host == "https://[fd00::1]:443"


async def test_a_token_is_read_again_after_a_minute(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(incluster.time, "monotonic", lambda: now)
    account = ServiceAccount.of_this_pod(mount)
    await account.read()
    (mount / "token").write_text("second")

    now += incluster.TOKEN_SECONDS - 1
    assert await token_of(account) == "Bearer first"
    now += 1
    assert await token_of(account) == "Bearer second"


async def test_a_token_that_cannot_be_read_for_a_moment_is_used_on(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(incluster.time, "monotonic", lambda: now)
    account = ServiceAccount.of_this_pod(mount)
    await account.read()
    (mount / "token").unlink()

    now += 2 * incluster.TOKEN_SECONDS
    assert await token_of(account) == "Bearer first"


@pytest.mark.parametrize(("file", "text"), [("ca.crt", ""), ("ca.crt", None), ("token", ""), ("token", None)])
async def test_what_is_missing_in_the_mount_is_named(
    mount: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str | None
) -> None:
    monkeypatch.setattr(incluster, "MOUNT", mount)
    (mount / file).unlink()
    if text is not None:
        (mount / file).write_text(text)

    with pytest.raises(ConfigurationError, match=f"no way to a cluster: .*{file}"):
        await connect("podium/test")


async def test_a_refused_token_is_read_anew_once_and_the_request_repeated(mount: Path) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({}, status=200 if seen[-1] == "Bearer second" else 401)

    application = web.Application()
    application.router.add_get("/version", answer)
    async with TestServer(application) as server:
        account = ServiceAccount.of_this_pod(mount)
        await account.read()
        (mount / "token").write_text("second")
        transport = Transport(Connection(f"http://127.0.0.1:{server.port}", "podium/test", None, account, account.read))
        try:
            assert await transport.request("GET", "/version", within=5) == {}
        finally:
            await transport.close()
    assert seen == ["Bearer first", "Bearer second"]


async def test_watches_of_many_namespaces_are_open_at_once(mount: Path) -> None:
    """An operator of 20 namespaces holds some 220: one more than a pool takes would wait for ever, and say nothing."""
    many, arrived = CONNECTIONS + 20, asyncio.Event()
    watches: list[web.Request] = []

    async def watched(request: web.Request) -> web.Response:
        watches.append(request)
        if len(watches) == many:
            arrived.set()
        await arrived.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{name}", watched)
    async with TestServer(app) as server:
        account = ServiceAccount.of_this_pod(mount)
        await account.read()
        address = f"http://127.0.0.1:{server.port}"
        login = Login(Connection(address, "podium/test", None, account, account.read))
        session = (await login()).aiohttp_session
        assert session is not None
        try:
            async with asyncio.timeout(20):
                await asyncio.gather(*(session.get(f"{address}/{number}") for number in range(many)))
        finally:
            await login.close()


def test_the_operator_starts_without_the_API_clients_package_and_can_load_it_for_a_kubeconfig() -> None:
    """It takes 10 MB in every pod, and nothing there uses it."""
    code = (
        "import sys, podium.app; assert not [m for m in sys.modules if m.split('.')[0] == 'kubernetes']; "
        "import kubernetes.aio.config; print('both')"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "both\n"
