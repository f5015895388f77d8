"""The client's requests as the API server sees them, and its answers as the operator does."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from podium.kube import aio
from podium.kube.aio import AioClient
from podium.kube.client import ApiError, Identity, NotLeader
from podium.kube.connect import Connection
from podium.kube.reading import unreadable
from podium.kube.resources import CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS, MODEL_RUNTIMES, PODS
from podium.kube.transport import Transport
from tests.unit.kube.conftest import Asked, Configuration, Server, refuses, says, sends

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}}


class Fence:
    """Open, until told otherwise."""

    open = True

    def __call__(self) -> None:
        if not self.open:
            raise NotLeader("closed")


@pytest.fixture
def fence() -> Fence:
    return Fence()


@pytest.fixture
def client(transport: Transport, fence: Fence) -> AioClient:
    return AioClient(transport, fence=fence, write_timeout=4.0)


async def test_an_apply_is_forced_bounded_and_signed(client: AioClient, server: Server) -> None:
    await client.apply(POD, manager="podium-handover")

    asked = server.asked[0]
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/ns/pods/p")
    assert asked.query == {"fieldManager": "podium-handover", "force": "true", "timeout": "4000ms"}
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked.headers["User-Agent"] == "podium/test (me)"
    assert asked.body == POD


async def test_a_status_is_written_against_the_version_it_was_computed_from(client: AioClient, server: Server) -> None:
    meta = {"name": "m", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}}

    await client.write_status(MODEL_DEPLOYMENTS, {"metadata": meta, "spec": {"replicas": 1}}, {"phase": "Healthy"})

    asked = server.asked[0]
    assert (asked.method, asked.path) == ("PUT", "/apis/podium.dev/v1alpha1/namespaces/ns/modeldeployments/m/status")
    assert asked.body["metadata"]["resourceVersion"] == "7"
    assert asked.body["status"] == {"phase": "Healthy"}


async def test_annotations_are_merged_and_may_be_guarded(client: AioClient, server: Server) -> None:
    await client.annotate(CONTROLLER_REVISIONS, "ns", "r", {"a": "1", "b": None}, resource_version="9")

    asked = server.asked[0]
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.body == {"metadata": {"annotations": {"a": "1", "b": None}, "resourceVersion": "9"}}


@pytest.mark.parametrize(("status", "uid"), [(404, None), (404, "u")])
async def test_deleting_what_is_not_there_is_fine(
    client: AioClient, server: Server, status: int, uid: str | None
) -> None:
    server.answer = says(refuses(status, "Whatever"), status)

    await client.delete(PODS, "ns", "p", uid=uid)

    expected = {"preconditions": {"uid": uid}} if uid else {}
    assert server.asked[0].body.items() >= {"propagationPolicy": "Background", **expected}.items()


@pytest.mark.parametrize(("live", "fine"), [("another", True), ("u", False)])
async def test_a_conflict_is_fine_if_it_is_another_object_by_now(
    client: AioClient, server: Server, live: str, fine: bool
) -> None:
    async def answer(asked: Asked) -> web.Response:
        if asked.method == "DELETE":
            return web.json_response(refuses(409, "Conflict"), status=409)
        return web.json_response({"metadata": {"uid": live}})

    server.answer = answer

    with contextlib.nullcontext() if fine else pytest.raises(ApiError):
        await client.delete(PODS, "ns", "p", uid="u")


async def test_a_conflict_without_a_uid_is_an_error(client: AioClient, server: Server) -> None:
    server.answer = says(refuses(409, "Conflict"), 409)

    with pytest.raises(ApiError):
        await client.delete(PODS, "ns", "p")


async def test_what_does_not_exist_is_none(client: AioClient, server: Server) -> None:
    server.answer = says(refuses(404, "NotFound"), 404)

    assert await client.get(PODS, "ns", "p") is None


def page(*names: str, more: str = "") -> dict[str, Any]:
    meta = {"resourceVersion": "5", "continue": more} if more else {"resourceVersion": "5"}
    common = {"namespace": "ns", "uid": "u", "resourceVersion": "4", "managedFields": [{"manager": "kubectl"}]}
    items = [{"metadata": {"name": name, **common}} for name in names]
    return {"kind": "PartialObjectMetadataList", "metadata": meta, "items": items}


async def test_what_there_is_is_read_page_by_page_and_nothing_but_metadata(client: AioClient, server: Server) -> None:
    async def answer(asked: Asked) -> web.Response:
        return web.json_response(page("b") if "continue" in asked.query else page("a", more="next"))

    server.answer = answer

    found = await client.identities(PODS, None, selector="podium.dev/model")

    assert found == ([Identity("a", "u", 4, "ns"), Identity("b", "u", 4, "ns")], 5)
    assert [asked.query.get("continue") for asked in server.asked] == [None, "next"]
    assert server.asked[1].query["labelSelector"] == "podium.dev/model"
    assert "PartialObjectMetadataList" in server.asked[0].headers["Accept"]


async def test_a_list_that_expires_between_two_pages_starts_over(client: AioClient, server: Server) -> None:
    async def answer(asked: Asked) -> web.Response:
        if len(server.asked) == 2:
            return web.json_response(refuses(410, "Expired"), status=410)
        return web.json_response(page(f"p{len(server.asked)}", more="next" if len(server.asked) == 1 else ""))

    server.answer = answer

    assert await client.identities(PODS, None) == ([Identity("p3", "u", 4, "ns")], 5)


async def test_an_empty_list_may_be_null_and_what_belongs_to_no_namespace_has_none(
    client: AioClient, server: Server
) -> None:
    cluster_scoped = {"metadata": {"name": "onnxruntime", "uid": "u", "resourceVersion": "4"}}
    for items, found in ((None, []), ([cluster_scoped], [Identity("onnxruntime", "u", 4)])):
        server.answer = says({"metadata": {"resourceVersion": "5"}, "items": items})
        assert await client.identities(MODEL_RUNTIMES, None) == (found, 5)


async def test_a_refusal_says_what_the_server_said(client: AioClient, server: Server) -> None:
    causes = [{"field": "spec.replicas", "reason": "FieldValueInvalid", "message": "too many"}]
    server.answer = says(refuses(422, "Invalid", "spec.replicas: too many", causes=causes), 422)

    with pytest.raises(ApiError) as caught:
        await client.apply(POD)

    error = caught.value
    assert (error.status, error.reason, error.message) == (422, "Invalid", "spec.replicas: too many")
    assert error.causes == causes
    assert not error.passing


async def test_an_answer_that_is_no_status_is_quoted(client: AioClient, server: Server) -> None:
    async def answer(_: Asked) -> web.Response:
        return web.Response(status=502, text="bad gateway")

    server.answer = answer

    with pytest.raises(ApiError, match="bad gateway") as caught:
        await client.apply(POD)
    assert caught.value.passing


async def test_an_unreachable_server_is_status_0(transport: Transport, server: Server, fence: Fence) -> None:
    client = AioClient(transport, fence=fence, write_timeout=4.0)
    transport._server = "http://127.0.0.1:1"

    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "ns", "p")

    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")


async def test_a_server_that_does_not_answer_in_time_is_status_0(
    transport: Transport, server: Server, fence: Fence
) -> None:
    async def answer(_: Asked) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    server.answer = answer
    client = AioClient(transport, fence=fence, write_timeout=-1.9)  # and two seconds on top

    with pytest.raises(ApiError) as caught:
        await client.apply(POD)

    assert (caught.value.status, caught.value.reason) == (0, "Timeout")


async def test_nothing_is_written_behind_a_closed_fence_and_reading_goes_on(
    client: AioClient, server: Server, fence: Fence
) -> None:
    fence.open = False
    writes: list[Any] = [
        client.create(POD),
        client.apply(POD),
        client.annotate(PODS, "ns", "p", {}),
        client.write_status(MODEL_DEPLOYMENTS, {"metadata": {"name": "m", "namespace": "ns"}}, {}),
        client.delete(PODS, "ns", "p"),
    ]

    for write in writes:
        with pytest.raises(NotLeader):
            await write
    assert server.asked == []
    await client.get(PODS, "ns", "p")
    assert [asked.method for asked in server.asked] == ["GET"]


async def test_a_fence_that_closes_while_the_request_waits_for_a_connection_still_holds(
    transport: Transport, server: Server
) -> None:
    looks = 0

    def fence() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:  # the first look was before the connection, the second is with the bytes in hand
            raise NotLeader("closed meanwhile")

    client = AioClient(transport, fence=fence, write_timeout=4.0)

    with pytest.raises(NotLeader):
        await client.apply(POD)
    await asyncio.sleep(0.05)
    assert server.asked == []


async def test_a_429_holds_back_every_request_for_as_long_as_it_says(client: AioClient, server: Server) -> None:
    async def answer(asked: Asked) -> web.Response:
        if len(server.asked) == 1:
            return web.json_response(refuses(429, "TooManyRequests"), status=429, headers={"Retry-After": "1"})
        return web.json_response(POD)

    server.answer = answer
    loop = asyncio.get_running_loop()
    start = loop.time()

    with pytest.raises(ApiError) as caught:
        await client.apply(POD)
    await asyncio.gather(client.get(PODS, "ns", "p"), client.apply(POD))

    assert caught.value.retry_after == 1
    assert loop.time() - start >= 1


CALLS: dict[str, Callable[[AioClient], Awaitable[Any]]] = {
    "get": lambda client: client.get(PODS, "ns", "p"),
    "list": lambda client: client.identities(PODS, "ns"),
    "discovery": lambda client: client.served("podium.dev", "v1alpha1"),
    "create": lambda client: client.create(POD),
    "apply": lambda client: client.apply(POD),
    "annotate": lambda client: client.annotate(PODS, "ns", "p", {"a": "b"}),
    "status": lambda client: client.write_status(PODS, POD, {}),
    "delete": lambda client: client.delete(PODS, "ns", "p"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("text", [b"<html>Sign in</html>", b"", b"[1]", b"null", b'{"metadata":{"na'])
async def test_an_answer_that_is_no_object_is_an_error_that_says_what_came_from_where(
    client: AioClient, server: Server, call: Callable[[AioClient], Awaitable[Any]], text: bytes
) -> None:
    server.answer = sends(text)

    with pytest.raises(ApiError) as caught:
        await call(client)

    assert (caught.value.status, caught.value.reason) == (0, "NotKubernetes")
    assert caught.value.passing
    assert f"http://127.0.0.1:{server.port}/" in str(caught.value)
    assert text.decode()[:10] in str(caught.value)


@pytest.mark.parametrize("call", ["get", "create", "apply", "annotate", "status", "list"])
async def test_an_answer_of_another_shape_is_an_error_too(client: AioClient, server: Server, call: str) -> None:
    server.answer = says({"error": "who are you"})

    with pytest.raises(ApiError, match="NotKubernetes"):
        await CALLS[call](client)


async def test_an_object_that_cannot_be_read_is_answered_with_its_metadata(client: AioClient, server: Server) -> None:
    server.answer = sends(rb'{"kind":"ControllerRevision","metadata":{"name":"r"},"data":{"a":"\ud800"}}')

    found = await client.get(CONTROLLER_REVISIONS, "ns", "r")

    assert found is not None
    assert found["metadata"] == {"name": "r"}
    assert "surrogate" in unreadable(found)


async def test_a_list_is_read_past_what_is_wrong_with_some(client: AioClient, server: Server) -> None:
    deep = b'{"f:a":' * 300 + b"{}" + b"}" * 300
    items = (
        b'{"metadata":{"name":"a","namespace":"ns","uid":"u","resourceVersion":"3","managedFields":[%s]}}' % deep,
        b'{"metadata":{"name":"b","resourceVersion":"x"}}',
        b'{"metadata":{"resourceVersion":"4"}}',
        b'{"metadata":{"name":"c","namespace":"ns","uid":"v","resourceVersion":"5"}}',
    )
    server.answer = sends(b'{"metadata":{"resourceVersion":"9"},"items":[%s]}' % b",".join(items))

    found, version = await client.identities(PODS, "ns")

    assert found == [Identity("a", "u", 3, "ns"), Identity("b", "", 0, ""), Identity("c", "v", 5, "ns")]
    assert version == 9


async def test_pages_that_are_too_long_are_made_smaller(
    client: AioClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio, "PAGE_BYTES", 10_000)
    meta = {"uid": "u", "resourceVersion": "1", "annotations": {"a": "x" * 1000}}

    async def answer(asked: Asked) -> web.Response:
        first = int(asked.query.get("continue", 0))
        last = min(30, first + int(asked.query["limit"]))
        items = [{"metadata": {"name": f"p{n}"} | meta} for n in range(first, last)]
        more = {"continue": str(last)} if last < 30 else {}
        return web.json_response({"metadata": {"resourceVersion": "2"} | more, "items": items})

    server.answer = answer

    found, _ = await client.identities(PODS, "ns")

    assert [one.name for one in found] == [f"p{n}" for n in range(30)]
    assert {asked.query["limit"] for asked in server.asked} == {"500", "62", "7"}


@pytest.mark.parametrize(
    "details",
    [{"retryAfterSeconds": "soon"}, {"retryAfterSeconds": [1]}, {"causes": 3}, {"causes": ["x"]}, "none", 7, None],
)
async def test_a_refusal_of_any_shape_is_a_refusal(client: AioClient, server: Server, details: Any) -> None:
    server.answer = says(refuses(403, "Forbidden") | {"details": details}, 403)

    with pytest.raises(ApiError) as caught:
        await client.apply(POD)

    assert (caught.value.status, caught.value.causes, caught.value.retry_after) == (403, [], None)


@pytest.mark.parametrize(("asked", "waits"), [("86400", 60.0), ("inf", None), ("nan", None), ("-5", 0.0), ("2", 2.0)])
async def test_nobody_is_waited_for_longer_than_is_reasonable(
    client: AioClient, server: Server, asked: str, waits: float | None
) -> None:
    server.answer = says(refuses(503, "ServiceUnavailable"), 503, **{"Retry-After": asked})

    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "ns", "p")

    assert caught.value.retry_after == waits


class Unreadable(Configuration):
    """Credentials whose file is just being written anew."""

    def __init__(self) -> None:
        self.api_key = {"authorization": "x"}

    async def get_api_key_with_prefix(self, *_: Any, **__: Any) -> str:
        raise FileNotFoundError("token")


async def test_credentials_that_cannot_be_read_are_no_answer(server: Server, fence: Fence) -> None:
    async def read() -> None: ...

    transport = Transport(Connection(f"http://127.0.0.1:{server.port}", "podium/test", None, Unreadable(), read))

    try:
        with pytest.raises(ApiError, match="token"):
            await AioClient(transport, fence=fence, write_timeout=4.0).get(PODS, "ns", "p")
    finally:
        await transport.close()
