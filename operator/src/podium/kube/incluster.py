"""The pod's own way to the API server: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/.

It has those attributes of `kubernetes.aio.client.Configuration` that `connect.py` reads: either can be used there.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

TOKEN_SECONDS: Final = 60.0
"""How long a token is used before its file is read again: the kubelet replaces it at four fifths of its life."""


@dataclass
class ServiceAccount:
    """Address, authority and token, as the kubelet gives them to every container."""

    host: str
    ssl_ca_cert: str
    """Path of the authority's certificate, PEM."""
    mount: Path
    api_key: dict[str, str] = field(default_factory=dict)
    """The token, under the name that kubernetes.aio gives it."""
    ca_cert_data: None = None
    cert_file: None = None
    key_file: None = None
    verify_ssl: bool = True
    proxy: None = None
    _read_at: float = float("-inf")

    @staticmethod
    def of_this_pod(mount: Path | None = None) -> "ServiceAccount":
        """From the environment and the files mounted at `mount`; ValueError or OSError names what is missing."""
        mount = mount or MOUNT
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port:
            raise ValueError("KUBERNETES_SERVICE_HOST or KUBERNETES_SERVICE_PORT is empty")
        authority = mount / "ca.crt"
        if not authority.read_bytes().strip():
            raise ValueError(f"{authority} is empty")
        address = f"[{host}]" if ":" in host else host
        return ServiceAccount(f"https://{address}:{port}", str(authority), mount)

    async def read(self) -> None:
        """Read the token's file; ValueError if it is empty."""
        token = (self.mount / "token").read_text().strip()
        if not token:
            raise ValueError(f"{self.mount / 'token'} is empty")
        self.api_key["BearerToken"] = f"Bearer {token}"
        self._read_at = time.monotonic()

    async def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str:
        """The token as it stands in the header Authorization, read at most a minute ago."""
        if time.monotonic() - self._read_at >= TOKEN_SECONDS:
            # Should it be unreadable just now, the old one serves as long as the API server takes it.
            with contextlib.suppress(OSError, ValueError):
                await self.read()
        return self.api_key[identifier]
