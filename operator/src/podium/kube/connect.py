"""Where the API server is and who we are to it: configuration and credentials become aiohttp sessions.

`kubernetes.aio` reads kubeconfigs and service account mounts and refreshes tokens; the requests themselves go
over plain aiohttp sessions, which costs a third of the CPU of its typed client.
"""

import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import Configuration

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
    configuration: Any  # kubernetes.aio's, untyped; holds the token and its refresh
    _reloaded: float = field(default=float("-inf"))

    def session(self) -> aiohttp.ClientSession:
        """A new HTTP session that authenticates itself; whoever asks for it closes it."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS,
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
        # A service account's token is re-read from its file every minute.
        await self._set_token(request)
        response = await handler(request)
        if response.status != 401 or time.monotonic() - self._reloaded < RELOAD_INTERVAL:
            return response
        # An exec plugin's token has expired, or the kubeconfig was written anew.
        self._reloaded = time.monotonic()
        response.release()
        try:
            await _load(self.configuration)
        except Exception as error:
            raise CredentialsError(f"the credentials cannot be read again after a 401: {error}") from error
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
    configuration = Configuration()
    try:
        await _load(configuration)
    except (kubernetes_config.ConfigException, OSError, ValueError) as error:
        raise ConfigurationError(f"no way to a cluster: {error}") from error
    return Connection(
        server=str(configuration.host).rstrip("/"),
        user_agent=user_agent,
        ssl_context=_ssl_context(configuration),
        configuration=configuration,
    )


async def _load(configuration: Any) -> None:
    loader: Any = kubernetes_config
    if path := os.environ.get("KUBECONFIG"):
        await loader.load_kube_config(config_file=path, client_configuration=configuration)
    elif "KUBERNETES_SERVICE_HOST" in os.environ:
        loader.load_incluster_config(client_configuration=configuration)
    elif (default := Path.home() / ".kube" / "config").exists():
        await loader.load_kube_config(config_file=str(default), client_configuration=configuration)
    else:
        raise ConfigurationError(
            "no way to a cluster: KUBECONFIG is not set, there is no ~/.kube/config, and this is not a pod "
            "(KUBERNETES_SERVICE_HOST is not set); set KUBECONFIG to a kubeconfig file"
        )


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
