"""s3://bucket/key-or-prefix, of AWS or any compatible endpoint."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from podium_serving.fetch import proxy
from podium_serving.fetch.aws import endpoint_of, identified, origin, prepare, region_of
from podium_serving.fetch.config import Config, Location
from podium_serving.fetch.connect import refused_by_proxy
from podium_serving.fetch.errors import FetchError, Reason, of_status
from podium_serving.fetch.region import told_region, wrong_region
from podium_serving.fetch.source import Entry, Listing, Stream, changed, check_path

# What is lost of an answer that breaks off, at most.
_CHUNK = 2**20
# A listing is kept in memory, 1.3 kB for each, and again when it is compared with a second one: in 512 MiB that fits.
_MOST_OBJECTS = 100_000
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
_DEFAULT_REGION = "us-east-1"
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
    proxy.forget(os.environ)
    store = _store(config, location, os.environ)
    refusal: FetchError | None = None
    if not key.endswith("/"):
        try:
            meta = _call(config, location, lambda: obstore.head(store, key))
            return Listing(False, (_entry(config, location, store, key.rsplit("/", 1)[-1], meta),))
        except FetchError as problem:
            if not problem.reason.permanent:
                raise
            refusal = problem
    # There may be a folder, also behind a 403: that is what who may not list gets for a key that does not exist. And an
    # answer to HEAD has no body, so the listing's says more clearly what is wrong.
    try:
        return _folder(config, location, store, key.rstrip("/") + "/")
    except FetchError as problem:
        if refusal and problem.reason is Reason.NotFound:
            raise (problem if refusal.reason is Reason.NotFound else refusal) from None
        raise


def _folder(config: Config, location: Location, store: S3Store, prefix: str) -> Listing:
    def collect() -> list[Any]:
        metas: list[Any] = []
        for batch in obstore.list(store, prefix):
            metas += batch
            if len(metas) > _MOST_OBJECTS:
                raise FetchError(
                    Reason.TooLarge,
                    f"{config.shown_uri}: more than {_MOST_OBJECTS} objects lie under {prefix!r}; "
                    "name the model's own folder in spec.model.uri, or pack the model into fewer files",
                )
        return metas

    found = _call(config, location, collect)
    # Tools mark a folder by an empty object of its name; the client hands it over without the slash at its end.
    folders = {parent for meta in found for parent in _parents(meta["path"])}
    entries = []
    for meta in found:
        key = meta["path"]
        if meta["size"] == 0 and (key in folders or key == prefix.rstrip("/")):
            continue
        entries.append(_entry(config, location, store, check_path(key.removeprefix(prefix), config.shown_uri), meta))
    if not entries:
        raise FetchError(
            Reason.NotFound,
            f"{config.shown_uri}: no object of that key and none under it as a folder (404); "
            "put the model there or correct spec.model.uri",
        )
    return Listing(True, tuple(entries), lambda: _folder(config, location, store, prefix))


def _parents(key: str) -> Iterator[str]:
    while "/" in key:
        key = key.rsplit("/", 1)[0]
        yield key


def _entry(config: Config, location: Location, store: S3Store, relative: str, meta: Any) -> Entry:
    def open_(offset: int, tag: str) -> Stream:
        options: Any = {}
        # The comparison of If-Match is a strong one, which a weak ETag never passes.
        if meta["e_tag"] and not meta["e_tag"].startswith("W/"):
            options["if_match"] = meta["e_tag"]
        if offset and tag:
            options["range"] = {"offset": offset}
        try:
            result = _call(config, location, lambda: obstore.get(store, meta["path"], options=options))
        except FetchError as problem:
            # A store that does not know ranges answers with the whole object or with another part of it, which the
            # client takes for no answer at all, or refuses the request. What else it may be shows without a range too.
            if "range" in options and problem.reason in (Reason.Unexpected, Reason.Rejected):
                return open_(0, "")
            raise
        # Not every store knows If-Match.
        if _tag(result.meta) != _tag(meta):
            raise changed(config.shown_uri, repr(relative))
        coding = _coding(config, relative, result.attributes)
        if coding and "range" in options:
            return open_(0, "")
        return Stream(int(result.range[0]), _tag(meta), _chunks(config, location, result), coding)

    return Entry(relative, meta["size"], open_, _tag(meta))


def _chunks(config: Config, location: Location, result: Any) -> Iterator[bytes]:
    stream = iter(result.stream(min_chunk_size=_CHUNK))
    while (chunk := _call(config, location, lambda: next(stream, None))) is not None:
        yield bytes(chunk)


def _tag(meta: Any) -> str:
    """Names a generation of an object alike in a listing and in an answer; stores spell an ETag in several ways."""
    if meta["e_tag"]:
        return str(meta["e_tag"]).removeprefix("W/").strip('"')
    return f"{meta['last_modified']:%Y-%m-%dT%H:%M:%S} {meta['size']}"


def _coding(config: Config, relative: str, attributes: Mapping[Any, Any]) -> str:
    coding = str(attributes.get("Content-Encoding", "")).strip().lower()
    # Tools of AWS leave their own framing of the upload in it.
    parts = [part for part in re.split(r"[,\s]+", coding) if part not in ("", "identity", "aws-chunked")]
    if not parts:
        return ""
    if parts in (["gzip"], ["x-gzip"]):
        return "gzip"
    raise FetchError(
        Reason.Rejected,
        f"{config.shown_uri}: {relative!r} is stored with Content-Encoding {coding!r}, of which only gzip is decoded; "
        "store it without",
    )


def _store(config: Config, location: Location, env: Mapping[str, str]) -> S3Store:
    _, endpoint = endpoint_of(env)
    _, region = region_of(env)
    options: Any = {
        "allow_http": endpoint.lower().startswith("http://"),
        "connect_timeout": timedelta(seconds=min(10.0, config.stall)),
        "read_timeout": timedelta(seconds=config.stall),
        # It counts the body in: a large model may take its time as long as it moves.
        "timeout": timedelta(days=1),
    }
    if config.ca_certificates:
        options["root_certificate"] = config.ca_certificates
    settings: dict[str, Any] = {"region": region or _DEFAULT_REGION}
    if via := _proxy(config, env):
        options |= {"proxy_url": via.url, "proxy_excludes": ",".join(config.proxies.excludes)}
    if endpoint:
        settings |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if env.get("AWS_ACCESS_KEY_ID"):
        settings |= {
            "access_key_id": env["AWS_ACCESS_KEY_ID"],
            "secret_access_key": env.get("AWS_SECRET_ACCESS_KEY", ""),
        }
        if env.get("AWS_SESSION_TOKEN"):
            settings["session_token"] = env["AWS_SESSION_TOKEN"]
    elif not identified(env):
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


def _proxy(config: Config, env: Mapping[str, str]) -> proxy.Proxy | None:
    """The proxy for requests to the endpoint."""
    parts = urlsplit(endpoint_of(env)[1] or f"https://s3.{region_of(env)[1] or _DEFAULT_REGION}.amazonaws.com")
    default = 443 if parts.scheme == "https" else 80
    return config.proxies.of(parts.scheme, parts.hostname or "", parts.port or default)


def _call(config: Config, location: Location, action: Callable[[], _T]) -> _T:
    """Runs an action of obstore, its exceptions turned into FetchErrors."""
    try:
        with _panic_told(config):
            return action()
    except FetchError:
        raise
    except Exception as problem:
        raise _classify(config, location, problem) from None


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


def _classify(config: Config, location: Location, problem: Exception) -> FetchError:
    text = str(problem)
    uri = config.shown_uri
    code = _CODE.search(text)
    status = _STATUS.search(text)
    if region := told_region(config, location, os.environ, text):
        return wrong_region(config, os.environ, region)
    if status:
        name = code[1] if code else ""
        said = f"{status[1]} {name}".strip()
        if name == "NoSuchBucket":
            return FetchError(Reason.NoSuchBucket, f"{uri}: there is no such bucket ({said}); correct spec.model.uri")
        if status[1] == "412":
            return changed(uri, "an object")
        via = _proxy(config, os.environ)
        if via and status[1] == "407":
            return refused_by_proxy(via, 407, uri)
        return of_status(_MEANT.get(name, int(status[1])), uri, config.hint, said)
    if "Could not parse path" in text or "invalid path" in text:
        return FetchError(Reason.UnsafePath, f"{uri}: {_first_line(problem)}; rename the object")
    return _of_connection(config, text) or FetchError(Reason.Unexpected, f"{uri}: {_first_line(problem)}")


def _of_connection(config: Config, text: str) -> FetchError | None:
    """What obstore's message says of a request that got no answer, or only a part of it."""
    uri = config.shown_uri
    variable, endpoint = endpoint_of(os.environ)
    via = _proxy(config, os.environ)
    peer = f"the proxy {via}" if via else endpoint or "AWS"
    if via and "TunnelUnsuccessful" in text:
        return refused_by_proxy(via, 0, uri)
    if via and "ProxyAuthRequired" in text:
        return refused_by_proxy(via, 407, uri)
    if "dns error" in text:
        what = peer if via else f"the endpoint {peer}"
        return FetchError(Reason.NameResolution, f"{uri}: the name of {what} cannot be resolved")
    if "certificate" in text.lower() or "InvalidContentType" in text or "handshake" in text.lower():
        return FetchError(
            Reason.TLSFailed,
            f"{uri}: no trusted TLS connection to {endpoint or 'AWS'}; a private authority's certificate goes into "
            f"ca.crt ({origin(config)})",
        )
    if "kind: Timeout" in text or "TimedOut" in text:
        return FetchError(Reason.Timeout, f"{uri}: {peer} delivered nothing for {config.stall:g} s")
    if "kind: Connect" in text:
        where = "--fetcher-proxy of the operator" if via else f"{variable}, {origin(config)}"
        return FetchError(Reason.ConnectFailed, f"{uri}: cannot connect to {peer} ({where})")
    if "IncompleteBody" in text or "kind: Interrupted" in text or "kind: Body" in text or "kind: Request" in text:
        return FetchError(Reason.Incomplete, f"{uri}: the connection to {peer} broke off")
    return None


def _first_line(problem: BaseException) -> str:
    return str(problem).split("\n", 1)[0]
