"""KubeClient over aiohttp: bytes out, bytes in, one fence before every write."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import aiohttp
from pydantic import Field, TypeAdapter, ValidationError

from podium.api import names
from podium.kube.client import ApiError, Identity, NotLeader, Object
from podium.kube.reading import NotJson, number, read_page, show
from podium.kube.resources import Resource, resource_of
from podium.kube.transport import TooLong, Transport, dump
from podium.packed import to_json

log = logging.getLogger(__name__)

READ_TIMEOUT: Final = 30.0
"""Seconds for a GET or one page of a list."""

PAGE: Final = 500
"""Objects in one page of a list, of which the answer may have so many bytes; else the page is made smaller."""

PAGE_BYTES: Final = 8 * 2**20

_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class _Item:
    metadata: Identity


@dataclass(frozen=True, slots=True)
class _ListMeta:
    version: Annotated[int, Field(alias="resourceVersion")]
    more: Annotated[str, Field(alias="continue")] = ""


@dataclass(frozen=True, slots=True)
class _Page:
    metadata: _ListMeta
    items: list[_Item] | None


# Most of an object's metadata are its managedFields: pydantic reads past them, orjson would make objects of them all.
_PAGE: Final = TypeAdapter(_Page)


class _FencedBody(aiohttp.BytesPayload):
    """A request body that asks the fence in the very step that hands the bytes to the socket.

    aiohttp keeps the headers back until the body is written, and both may wait for a connection. A process that
    was stopped in between must not send what it decided before: if the fence is closed nothing goes out at all.
    """

    def __init__(self, value: bytes, content_type: str, fence: Callable[[], None]) -> None:
        super().__init__(value, content_type=content_type)
        self._fence = fence
        self.closed: NotLeader | None = None

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        try:
            self._fence()
        except NotLeader as closed:
            self.closed = closed
            raise
        await super().write_with_length(writer, content_length)


class AioClient:
    """The implementation of KubeClient.

    `fence` raises NotLeader when nothing may be written. `write_timeout` (seconds, asked before each write) bounds
    how late a write that passed the fence can still take effect: the API server is told to give up on it by then.
    """

    def __init__(
        self, transport: Transport, *, fence: Callable[[], None], write_timeout: Callable[[], float] | float
    ) -> None:
        self._transport = transport
        self._fence = fence
        self._write_timeout = write_timeout if callable(write_timeout) else lambda: write_timeout

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """See KubeClient."""
        try:
            path = resource.path(namespace, name)
            return self._object("GET", path, await self._read("get", resource.plural, path))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def identities(
        self, resource: Resource, namespace: str | None, *, selector: str = ""
    ) -> tuple[list[Identity], int]:
        """What there is of a kind in a namespace (None: everywhere), and the resourceVersion that this shows.

        Which is the newest when the request is made. Starts over once if it expires between two pages.
        """
        try:
            return await self._pages(resource, namespace, selector)
        except ApiError as error:
            if error.status != 410:
                raise
        return await self._pages(resource, namespace, selector)

    async def served(self, group: str, version: str) -> set[str]:
        """The plural names that the API server serves of an API group's version; empty if it knows none."""
        try:
            found = await self._read("get", "", f"/apis/{group}/{version}")
        except ApiError as error:
            if error.status == 404:
                return set()
            raise
        return {str(entry.get("name")) for entry in found.get("resources") or () if isinstance(entry, dict)}

    async def create(self, obj: Object) -> Object:
        """See KubeClient."""
        resource = resource_of(obj)
        path = resource.path(obj["metadata"].get("namespace"))
        return await self._write("POST", "create", resource, path, obj, _JSON, {"fieldManager": names.FIELD_MANAGER})

    async def apply(self, obj: Object, *, manager: str = names.FIELD_MANAGER) -> Object:
        """See KubeClient."""
        resource, meta = resource_of(obj), obj["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"])
        query = {"fieldManager": manager, "force": "true"}
        return await self._write("PATCH", "apply", resource, path, obj, _APPLY, query)

    async def annotate(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        annotations: dict[str, str | None],
        *,
        resource_version: str | None = None,
    ) -> Object:
        """See KubeClient."""
        meta: Object = {"annotations": annotations}
        if resource_version is not None:
            meta["resourceVersion"] = resource_version
        return await self.merge(resource, namespace, name, {"metadata": meta})

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """See KubeClient."""
        path = resource.path(namespace, name)
        return await self._write("PATCH", "patch", resource, path, patch, _MERGE, {"fieldManager": names.FIELD_MANAGER})

    async def write_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """See KubeClient."""
        meta = obj["metadata"]
        guard = {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in meta}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": guard, "status": status}
        if "spec" in obj:
            body["spec"] = obj["spec"]  # not changed through /status, yet validated
        path = resource.path(meta.get("namespace"), meta["name"], "status")
        return await self._write("PUT", "update", resource, path, body, _JSON, {"fieldManager": names.FIELD_MANAGER})

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """See KubeClient."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._write("DELETE", "delete", resource, resource.path(namespace, name), options, _JSON, {})
        except ApiError as error:
            if error.status == 404:
                return
            if error.status != 409 or uid is None:
                raise
            # Another object of the same name, then; but a webhook or a proxy may say 409 for a reason of its own.
            live = await self.get(resource, namespace, name)
            if live is not None and live["metadata"].get("uid") == uid:
                raise

    async def _pages(self, resource: Resource, namespace: str | None, selector: str) -> tuple[list[Identity], int]:
        found: list[Identity] = []
        path, limit = resource.path(namespace), PAGE
        query = {"labelSelector": selector} if selector else {}
        while True:
            await self._transport.pause()
            query["limit"] = str(limit)
            try:
                text = await self._transport.send(
                    "GET",
                    path,
                    within=READ_TIMEOUT,
                    verb="list",
                    kind=resource.plural,
                    query=query,
                    accept=_METADATA_ONLY,
                    at_most=PAGE_BYTES if limit > 1 else 0,
                )
            except TooLong:
                limit = max(1, limit // 8)
                continue
            try:
                items, more, version = _identities(text)
            except NotJson as error:
                raise self._transport.not_kubernetes("GET", path, str(error)) from error
            found += items
            if not more:
                return found, version
            query["continue"] = more

    async def _read(self, verb: str, kind: str, path: str) -> Object:
        await self._transport.pause()
        return await self._transport.request("GET", path, within=READ_TIMEOUT, verb=verb, kind=kind)

    async def _write(
        self,
        method: str,
        verb: str,
        resource: Resource,
        path: str,
        content: Object,
        content_type: str,
        query: dict[str, str],
    ) -> Object:
        await self._transport.pause()
        self._fence()
        body = _FencedBody(dump(content), content_type, self._fence)
        seconds = self._write_timeout()
        query["timeout"] = f"{max(1, int(seconds * 1000))}ms"
        within = seconds + 2  # the API server's own answer about its time-out says more than ours
        try:
            answer = await self._transport.request(
                method, path, within=within, verb=verb, kind=resource.plural, query=query, body=body
            )
        except ApiError:
            if body.closed is not None:
                raise body.closed from None
            raise
        # To a DELETE the API server may answer by a Status.
        return answer if method == "DELETE" else self._object(method, path, answer)

    def _object(self, method: str, path: str, answer: Object) -> Object:
        """The answer, if it is an object of the API at all."""
        if isinstance(answer.get("metadata"), dict):
            return answer
        why = f"is no object, for it has no metadata: {show(to_json(answer))}"
        raise self._transport.not_kubernetes(method, path, why)


def _identities(text: bytes) -> tuple[list[Identity], str, int]:
    """One page of metadata: identities, the token of the next page, and the list's resourceVersion."""
    try:
        page = _PAGE.validate_json(text)
    except ValidationError:
        return _salvaged(text)
    # An empty list may be null.
    return [item.metadata for item in page.items or ()], page.metadata.more, page.metadata.version


def _salvaged(text: bytes) -> tuple[list[Identity], str, int]:
    """The same of a page that holds something else: field managers 200 deep, or a version that is no number."""
    page = read_page(text)
    about, found = page.get("metadata"), []
    if not isinstance(about, dict):
        raise NotJson(f"is no list: it has the keys {', '.join(sorted(page))}")
    for item in page.get("items") or ():
        meta = item.get("metadata")
        if isinstance(meta, dict) and meta.get("name"):
            namespace, uid = str(meta.get("namespace") or ""), str(meta.get("uid") or "")
            found.append(Identity(str(meta["name"]), uid, number(meta.get("resourceVersion")), namespace))
        else:
            log.warning("a list has an item without a name, which is passed over: %.200s", item)
    return found, str(about.get("continue") or ""), number(about.get("resourceVersion"))
