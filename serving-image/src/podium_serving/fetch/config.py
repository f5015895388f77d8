"""The fetcher's configuration: environment variables, read once, validated, frozen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from podium_serving.environment import Environment, InvalidEnvironment
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.proxy import Proxies
from podium_serving.settings import LOG_LEVELS

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
SCHEMES = ("s3", "https", "pvc")


@dataclass(frozen=True)
class Config:
    """What to fetch, whereto, and what is allowed. Durations are seconds, sizes bytes."""

    uri: str
    sha256: str
    path: Path
    layout: Literal["Folder", "File"]
    max_bytes: int
    secret: str
    pvc_path: Path
    allow_http: bool
    allow_addresses: tuple[str, ...]
    ca_certificates: str
    proxies: Proxies
    attempts: int
    stall: float
    log_level: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> "Config":
        """Raises InvalidEnvironment, naming the variable."""
        env = Environment(variables)
        path = Path(env.text("PODIUM_MODEL_PATH", "/models/model"))
        if not path.is_absolute() or path == path.parent or ".." in path.parts:
            raise InvalidEnvironment(
                f"PODIUM_MODEL_PATH is {str(path)!r}: expected an absolute path, such as /models/model"
            )
        layout = env.choice("PODIUM_MODEL_LAYOUT", "Folder", ("Folder", "File"))
        return cls(
            uri=env.text("PODIUM_MODEL_URI"),
            sha256=_digest(env.text("PODIUM_MODEL_SHA256", "")),
            path=path,
            layout="File" if layout == "File" else "Folder",
            max_bytes=env.integer("PODIUM_MODEL_MAX_BYTES", 0, 0, 2**62),
            secret=env.text("PODIUM_CREDENTIALS_SECRET", ""),
            pvc_path=Path(env.text("PODIUM_PVC_PATH", "/pvc")),
            allow_http=env.boolean("PODIUM_ALLOW_HTTP", False),
            allow_addresses=tuple(
                each.strip() for each in env.text("PODIUM_ALLOW_ADDRESSES", "").split(",") if each.strip()
            ),
            ca_certificates=_certificates(env),
            proxies=Proxies.from_environment(env),
            attempts=env.integer("PODIUM_FETCH_ATTEMPTS", 4, 1, 100),
            stall=max(0.1, env.seconds("PODIUM_STALL_SECONDS", 60)),
            log_level=env.choice("PODIUM_LOG_LEVEL", "info", LOG_LEVELS),
        )

    @property
    def shown_uri(self) -> str:
        """The URI without user info and query, which may hold secrets (presigned URLs)."""
        return shown(self.uri)

    @property
    def hint(self) -> str:
        """Where a person has to look when access is denied."""
        if self.secret:
            return f"check the credentials in the Secret {self.secret} and what they may read"
        return "set spec.model.credentialsSecret to a Secret whose credentials may read it"


@dataclass(frozen=True)
class Location:
    """A URI, taken apart: bucket, host or claim, and the decoded path without its leading slash."""

    scheme: str
    host: str
    path: str


def shown(uri: str) -> str:
    """A URI as it may be logged: without user info, query and fragment."""
    head, _, rest = uri.partition("://")
    if not rest:
        return re.split(r"[?#]", uri)[0]
    authority, slash, path = re.split(r"[?#]", rest)[0].partition("/")
    return f"{head}://{authority.rpartition('@')[2]}{slash}{path}"


def locate(config: Config) -> Location:
    """Raises FetchError for a URI that cannot be fetched."""
    uri = config.shown_uri
    try:
        parts = urlsplit(config.uri)
        _ = parts.port
    except ValueError as problem:
        raise FetchError(Reason.BadURI, f"{uri}: not a valid URI ({problem}); correct spec.model.uri") from None
    scheme = parts.scheme.lower()
    if scheme == "http" and not config.allow_http:
        raise FetchError(Reason.BadURI, f"{uri}: plain http is not allowed here; use https (or set PODIUM_ALLOW_HTTP)")
    if scheme not in (*SCHEMES, "http"):
        expected = ", ".join(f"{each}://" for each in SCHEMES)
        raise FetchError(Reason.UnsupportedScheme, f"{uri}: cannot fetch {scheme or 'a path'!r}; expected {expected}")
    if "@" in parts.netloc:
        raise FetchError(Reason.BadURI, f"{uri}: a URI must not carry a user name or password; use credentialsSecret")
    return Location(scheme, _host(parts, uri), _path(parts, uri))


def _host(parts: SplitResult, uri: str) -> str:
    if not parts.netloc:
        what = {"s3": "bucket", "pvc": "claim"}.get(parts.scheme, "host")
        raise FetchError(Reason.BadURI, f"{uri}: no {what} is named; expected {parts.scheme}://{what}/path")
    return parts.netloc


def _path(parts: SplitResult, uri: str) -> str:
    # Object keys may hold ? and #, which would otherwise be lost.
    if parts.scheme in ("s3", "pvc"):
        rest = (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
        path = (parts.path + rest).removeprefix("/")
        if ".." in path.split("/"):
            raise FetchError(Reason.BadURI, f"{uri}: '..' is not allowed in a path; correct spec.model.uri")
        return path if parts.scheme == "s3" else path.lstrip("/")
    return unquote(parts.path).lstrip("/")


def _digest(text: str) -> str:
    if not text:
        return ""
    match = _DIGEST.fullmatch(text)
    if not match:
        raise InvalidEnvironment(f"PODIUM_MODEL_SHA256 is {text!r}: expected 64 hexadecimal digits")
    return match[1].lower()


def _certificates(env: Environment) -> str:
    file = env.text("PODIUM_CA_FILE", "")
    if not file:
        return env.text("ca.crt", "")
    try:
        return Path(file).read_text()
    except OSError as problem:
        raise InvalidEnvironment(f"PODIUM_CA_FILE is {file!r}: {problem.strerror}") from None
