"""Where the API server is and who we are to it: configuration and credentials become aiohttp sessions.

In a pod these are two files and two variables (`incluster.py`). A kubeconfig is read by `kubernetes.aio`, which knows
its plugins and refreshes tokens; it is imported for that alone, since it takes some 15 MB. The requests themselves
go over plain aiohttp sessions, which costs a third of the CPU of its typed client.
"""

import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType

from podium.kube.incluster import ServiceAccount

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 5.0
"""Seconds for TCP and TLS; a black-holed API server is noticed well inside the Lease's deadline."""

CONNECTIONS: Final = 100
KEEPALIVE: Final = 30.0
RELOAD_INTERVAL: Final = 5.0
"""Seconds between two readings of the configuration when the API server answers 401."""


class ConfigurationError(Exception):
    """There is no usable kubeconfig and no service account to talk to a cluster with."""


class CredentialsError(aiohttp.ClientConnectionError):
    """The credentials cannot be read, for now: their file is being written anew, or their plugin fails."""


@dataclass
class Connection:
    """A cluster and the credentials for it."""

    server: str
    user_agent: str
    ssl_context: ssl.SSLContext | None
    configuration: Any  # a ServiceAccount, or kubernetes.aio's, untyped; holds the token and its refresh
    read: Callable[[], Awaitable[None]]
    """Read the credentials anew into `configuration`, once the API server has refused them."""
    _reloaded: float = field(default=float("-inf"))

    def session(self, connections: int = CONNECTIONS) -> aiohttp.ClientSession:
        """A new HTTP session that authenticates itself; whoever asks for it closes it. `connections`: 0 for any number.

        A watch holds a connection for as long as it lives, so those of watches are bounded by their number alone.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                ssl=self.ssl_context if self.ssl_context is not None else True,
                keepalive_timeout=KEEPALIVE,
            ),
            headers={"User-Agent": self.user_agent},
            middlewares=(self._authenticate,) if self.configuration.api_key else (),
            proxy=self.configuration.proxy or None,
            trust_env=False,
            read_bufsize=2**21,  # a watch sends an object as one line
        )

    async def _authenticate(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        await self._set_token(request)
        response = await handler(request)
        if response.status != 401 or time.monotonic() - self._reloaded < RELOAD_INTERVAL:
            return response
        # An exec plugin's token has expired, or the kubeconfig was written anew.
        self._reloaded = time.monotonic()
        try:
            await self.read()
        except Exception as error:  # a plugin's, a file's that is half written
            log.warning("the API server refuses our credentials, and they cannot be read anew: %s", error)
            return response
        response.release()
        await self._set_token(request)
        return await handler(request)

    async def _set_token(self, request: aiohttp.ClientRequest) -> None:
        try:
            token = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except Exception as error:
            raise CredentialsError(f"the token cannot be read: {error}") from error
        if token:
            request.headers["Authorization"] = token


async def connect(user_agent: str) -> Connection:
    """Find the cluster: KUBECONFIG, else the pod's service account, else ~/.kube/config.

    Raises ConfigurationError when none of them is usable.
    """
    try:
        configuration, read = _find()
        await read()
        context = _ssl_context(configuration)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no way to a cluster: {error}") from error
    return Connection(
        server=str(configuration.host).rstrip("/"),
        user_agent=user_agent,
        ssl_context=context,
        configuration=configuration,
        read=read,
    )


def _find() -> tuple[Any, Callable[[], Awaitable[None]]]:
    if path := os.environ.get("KUBECONFIG"):
        return _kubeconfig(path)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        account = ServiceAccount.of_this_pod()
        return account, account.read
    if (default := Path.home() / ".kube" / "config").exists():
        return _kubeconfig(str(default))
    raise ConfigurationError(
        "no way to a cluster: KUBECONFIG is not set, there is no ~/.kube/config, and this is not a pod "
        "(KUBERNETES_SERVICE_HOST is not set); set KUBECONFIG to a kubeconfig file"
    )


def _kubeconfig(path: str) -> tuple[Any, Callable[[], Awaitable[None]]]:
    from kubernetes.aio import config
    from kubernetes.aio.client import Configuration

    configuration = Configuration()
    loader: Any = config

    async def read() -> None:
        try:
            await loader.load_kube_config(config_file=path, client_configuration=configuration)
        except config.ConfigException as error:
            raise ConfigurationError(f"no way to a cluster: {error}") from error

    return configuration, read


def _ssl_context(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    # Clusters' own authorities often lack the extensions that strict verification asks for since Python 3.13.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
