"""Which proxy a request goes through: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as who runs the operator has set them."""

import base64
import ipaddress
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from urllib.parse import unquote

from podium_serving.environment import Environment, InvalidEnvironment

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_PROXY = re.compile(
    r"(?:(?i:http)://)?(?:(?P<user>[^@/?#\s]*)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
# Not any word before "://": it may be a user's name, or a password.
_SCHEME = re.compile(r"(?i:https?|socks[45]?[ah]?)://")


@dataclass(frozen=True)
class Proxy:
    """An http proxy; `user` is user:password as in a URL, "" for none."""

    host: str
    port: int
    user: str = ""

    def __str__(self) -> str:
        """As it may be told: without the password."""
        return f"http://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With user and password."""
        return f"http://{self.user}@{self.host}:{self.port}" if self.user else str(self)

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry for the proxy to accept it."""
        if not self.user:
            return {}
        user, _, password = self.user.partition(":")
        token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {token}"}


@dataclass(frozen=True)
class Proxies:
    """The proxy for each scheme, and the hosts that are reached without one."""

    https: Proxy | None = None
    http: Proxy | None = None
    excludes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, env: Environment) -> "Proxies":
        """Raises InvalidEnvironment, naming the variable."""
        excludes = (each.strip().lower() for each in re.split(r"[,\s]", env.text("NO_PROXY", "")))
        return cls(
            https=_parsed("HTTPS_PROXY", env.text("HTTPS_PROXY", "")),
            http=_parsed("HTTP_PROXY", env.text("HTTP_PROXY", "")),
            excludes=tuple(each for each in excludes if each),
        )

    def of(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a request; None if it goes straight to the host."""
        proxy = self.https if scheme == "https" else self.http
        return None if any(_matches(each, host.lower().rstrip("."), port) for each in self.excludes) else proxy


def forget(variables: MutableMapping[str, str]) -> None:
    """Removes every proxy variable, so that a library follows ours and none that came with a Secret."""
    for name in [each for each in variables if each.lower().endswith("_proxy")]:
        del variables[name]


def _parsed(name: str, text: str) -> Proxy | None:
    text = text.strip()
    if not text:
        return None
    match = _PROXY.fullmatch(text)
    if not match or int(match["port"] or 80) not in range(1, 65536):
        raise InvalidEnvironment(
            f"{name} is {_shown(text)!r}: expected http://host:port, such as http://proxy.corp:3128"
        )
    return Proxy(match["host"], int(match["port"] or 80), match["user"] or "")


def _shown(text: str) -> str:
    """Without what stands before the last "@", where a password may hold anything; a scheme that is known is kept."""
    _, at, host = text.rpartition("@")
    scheme = _SCHEME.match(text)
    return f"{scheme[0] if scheme else ''}{host}" if at else text


def _matches(pattern: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means the host: *, a name and all below it, name:port, an address or a CIDR."""
    if pattern == "*":
        return True
    try:
        network = ipaddress.ip_network(pattern.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        try:
            return ipaddress.ip_address(host.strip("[]")) in network
        except ValueError:
            return False
    name, colon, number = pattern.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        pattern = name
    pattern = pattern.removeprefix("*").removeprefix(".").strip("[]")
    host = host.strip("[]")
    return host == pattern or host.endswith(f".{pattern}")
