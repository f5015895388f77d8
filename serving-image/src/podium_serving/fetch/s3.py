"""s3://bucket/key-or-prefix, of AWS or any compatible endpoint."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import obstore
from obstore.store import S3Store

from podium_serving.fetch.aws import origin, prepare
from podium_serving.fetch.config import Config, Location
from podium_serving.fetch.errors import FetchError, Reason, of_status
from podium_serving.fetch.source import Entry, Listing, check_path

_CHUNK = 8 * 2**20
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
# Codes that say more than the status they come with, by the status that would say it.
_MEANT = {
    "InvalidAccessKeyId": 401,
    "SignatureDoesNotMatch": 401,
    "ExpiredToken": 401,
    "InvalidToken": 401,
    "XAdminUserNotFound": 401,  # versitygw's for an unknown access key, with 404
    "SlowDown": 429,
    "RequestTimeTooSkewed": 503,
}
_T = TypeVar("_T")


def listing(config: Config, location: Location) -> Listing:
    """The object of that key; or, where there is none, the objects under it as a prefix. Raises FetchError."""
    key = location.path
    if not key:
        raise FetchError(Reason.BadURI, f"{config.shown_uri}: no key is named; expected s3://bucket/path of the model")
    if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
        raise FetchError(
            Reason.BadURI,
            f"{config.shown_uri}: the key {key!r} has a part that is empty, '.' or '..', which the S3 client refuses; "
            "rename the object and correct spec.model.uri",
        )
    prepare(config, os.environ)
    store = _store(config, location, os.environ)
    refusal: FetchError | None = None
    if not key.endswith("/"):
        try:
            size = _call(config, lambda: obstore.head(store, key)["size"])
            return Listing(False, (_entry(config, store, key, key.rsplit("/", 1)[-1], size),))
        except FetchError as problem:
            if not problem.reason.permanent:
                raise
            refusal = problem
    # There may be a folder, also behind a 403: that is what who may not list gets for a key that does not exist. And an
    # answer to HEAD has no body, so the listing's says more clearly what is wrong.
    try:
        return _folder(config, store, key.rstrip("/") + "/")
    except FetchError as problem:
        if refusal and problem.reason is Reason.NotFound:
            raise (problem if refusal.reason is Reason.NotFound else refusal) from None
        raise


def _folder(config: Config, store: S3Store, prefix: str) -> Listing:
    def collect() -> list[Any]:
        return [meta for batch in obstore.list(store, prefix) for meta in batch]

    found = _call(config, collect)
    # Tools mark a folder by an empty object of its name; the client hands it over without the slash at its end.
    folders = {parent for meta in found for parent in _parents(meta["path"])}
    entries = []
    for meta in found:
        key = meta["path"]
        if meta["size"] == 0 and (key in folders or key == prefix.rstrip("/")):
            continue
        relative = check_path(key.removeprefix(prefix), config.shown_uri)
        entries.append(_entry(config, store, key, relative, meta["size"]))
    if not entries:
        raise FetchError(
            Reason.NotFound,
            f"{config.shown_uri}: no object of that key and none under it as a folder (404); "
            "put the model there or correct spec.model.uri",
        )
    return Listing(True, tuple(entries))


def _parents(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rsplit("/", 1)[0]
        yield key


def _entry(config: Config, store: S3Store, key: str, relative: str, size: int) -> Entry:
    def read() -> Iterator[bytes]:
        stream = iter(_call(config, lambda: obstore.get(store, key).stream(min_chunk_size=_CHUNK)))
        while (chunk := _call(config, lambda: next(stream, None))) is not None:
            yield bytes(chunk)

    return Entry(relative, size, read)


def _store(config: Config, location: Location, env: Mapping[str, str]) -> S3Store:
    endpoint = env.get("AWS_ENDPOINT_URL", "")
    options: Any = {
        "allow_http": endpoint.lower().startswith("http://"),
        "connect_timeout": timedelta(seconds=min(10.0, config.stall)),
        "read_timeout": timedelta(seconds=config.stall),
        # It counts the body in: a large model may take its time as long as it moves.
        "timeout": timedelta(days=1),
    }
    if config.ca_certificates:
        options["root_certificate"] = config.ca_certificates
    settings: dict[str, Any] = {"region": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"}
    if endpoint:
        settings |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if env.get("AWS_ACCESS_KEY_ID"):
        settings |= {
            "access_key_id": env["AWS_ACCESS_KEY_ID"],
            "secret_access_key": env.get("AWS_SECRET_ACCESS_KEY", ""),
        }
        if env.get("AWS_SESSION_TOKEN"):
            settings["session_token"] = env["AWS_SESSION_TOKEN"]
    elif not (
        env.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        or env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        or env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    ):
        # Otherwise the node's metadata service would be asked, and a model would be read with the node's rights.
        settings["skip_signature"] = True
    try:
        # Retrying is ours: attempts are counted, logged and told in the termination message.
        with _panic_told(config):
            return S3Store(location.host, client_options=options, retry_config={"max_retries": 0}, **settings)
    except FetchError:
        raise
    except Exception as problem:
        raise FetchError(
            Reason.InvalidConfiguration, f"{config.shown_uri}: {_first_line(problem)}; {config.hint}"
        ) from None


def _call(config: Config, action: Callable[[], _T]) -> _T:
    """Runs an action of obstore, its exceptions turned into FetchErrors."""
    try:
        with _panic_told(config):
            return action()
    except FetchError:
        raise
    except Exception as problem:
        raise _classify(config, problem) from None


@contextmanager
def _panic_told(config: Config) -> Iterator[None]:
    """Turns a panic of the Rust client, which is no Exception to Python, into a FetchError."""
    try:
        yield
    except BaseException as problem:
        if type(problem).__module__ != "pyo3_runtime":
            raise
        # The client is given the same next time, and will panic again.
        raise FetchError(
            Reason.InvalidConfiguration,
            f"{config.shown_uri}: the S3 client cannot work with this URI and these variables "
            f"({_first_line(problem)}); check spec.model.uri and every AWS_* variable ({origin(config)})",
        ) from None


def _classify(config: Config, problem: Exception) -> FetchError:
    text = str(problem)
    uri = config.shown_uri
    code = _CODE.search(text)
    status = _STATUS.search(text)
    if status:
        name = code[1] if code else ""
        said = f"{status[1]} {name}".strip()
        if name == "NoSuchBucket":
            return FetchError(Reason.NoSuchBucket, f"{uri}: there is no such bucket ({said}); correct spec.model.uri")
        return of_status(_MEANT.get(name, int(status[1])), uri, config.hint, said)
    if "Could not parse path" in text or "invalid path" in text:
        return FetchError(Reason.UnsafePath, f"{uri}: {_first_line(problem)}; rename the object")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "AWS")
    if "redirect" in text:
        return FetchError(
            Reason.Rejected, f"{uri}: the bucket is in another region; set AWS_REGION ({origin(config)}) to it"
        )
    if "dns error" in text:
        return FetchError(Reason.NameResolution, f"{uri}: the name of the endpoint {endpoint} cannot be resolved")
    if "certificate" in text.lower() or "InvalidContentType" in text or "handshake" in text.lower():
        return FetchError(
            Reason.TLSFailed,
            f"{uri}: no trusted TLS connection to {endpoint}; a private authority's certificate goes into ca.crt "
            f"({origin(config)})",
        )
    if "kind: Timeout" in text or "TimedOut" in text:
        return FetchError(Reason.Timeout, f"{uri}: {endpoint} delivered nothing for {config.stall:g} s")
    if "kind: Connect" in text:
        return FetchError(
            Reason.ConnectFailed, f"{uri}: cannot connect to {endpoint} (AWS_ENDPOINT_URL, {origin(config)})"
        )
    if "IncompleteBody" in text or "kind: Interrupted" in text:
        return FetchError(Reason.Incomplete, f"{uri}: the connection to {endpoint} broke off")
    return FetchError(Reason.Unexpected, f"{uri}: {_first_line(problem)}")


def _first_line(problem: BaseException) -> str:
    return str(problem).split("\n", 1)[0]
