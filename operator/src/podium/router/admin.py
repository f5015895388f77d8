"""Envoy's admin interface, over the Unix socket that no other container sees."""

import http.client
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

VERSION = re.compile(r'^(\S+)\.version_text: "([^"]*)"$', re.MULTILINE)
ROUTES = re.compile(r"http\.to\.[^.]+\.rds\.(.+)")
TRAFFIC: Final = "^http[.]to[.].*[.]downstream_(cx_active|rq_active|rq_total)$"
COUNT = re.compile(r"^http\.to\.[^.]+\.(\w+): (\d+)$", re.MULTILINE)
SECONDS: Final = 5.0


class Unreachable(Exception):
    """Envoy does not answer: it is starting, busy, or gone."""


class Gone(Unreachable):
    """There is no Envoy: it has not started yet, or has ended."""


@dataclass(frozen=True)
class Traffic:
    """Connections that are open, requests that wait for their answer, and all requests so far."""

    connections: int
    active: int
    total: int


class Admin:
    """Asks one Envoy. Each call is a connection of its own, and takes at most some seconds. Raises Unreachable."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def loaded(self) -> Mapping[str, str]:
        """What Envoy has loaded: the version by `listeners`, `clusters`, `routes.MODEL` or `endpoints.CLUSTER`."""
        said = self._ask("GET", "/stats?type=TextReadouts&filter=version_text")
        return {_named(scope): version for scope, version in VERSION.findall(said)}

    def traffic(self) -> Traffic:
        """What passes now, through all listeners of ModelDeployments."""
        sums = {"downstream_cx_active": 0, "downstream_rq_active": 0, "downstream_rq_total": 0}
        for name, value in COUNT.findall(self._ask("GET", f"/stats?filter={quote(TRAFFIC)}")):
            if name in sums:
                sums[name] += int(value)
        return Traffic(*sums.values())

    def drain(self) -> None:
        """Take no new connection, ask the callers of the old ones to leave; what is under way goes on."""
        self._ask("POST", "/healthcheck/fail")
        self._ask("POST", "/drain_listeners?graceful&skip_exit")

    def _ask(self, method: str, path: str) -> str:
        connection = http.client.HTTPConnection("envoy", timeout=SECONDS)
        try:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(SECONDS)
            connection.sock.connect(str(self._path))
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Gone(f"Envoy's admin socket {self._path}: {error!r}") from error
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise Unreachable(f"Envoy's admin socket {self._path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise Unreachable(f"Envoy answered {answer.status} to {method} {path}: {text[:200]}")
        return text


def _named(scope: str) -> str:
    match scope:
        case "listener_manager.lds":
            return "listeners"
        case "cluster_manager.cds":
            return "clusters"
    if routes := ROUTES.fullmatch(scope):
        return f"routes.{routes[1]}"
    return f"endpoints.{scope.removeprefix('cluster.')}"
