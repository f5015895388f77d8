"""Events as a real API server takes them: one of a fault, with a count, and a note that never changes."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
import pytest_asyncio

from podium.kube.aio import AioClient
from podium.kube.client import ApiError, Object
from podium.kube.connect import connect
from podium.kube.events import Recorder
from podium.kube.resources import EVENTS
from podium.kube.transport import Transport
from tests.cluster.controlplane import ControlPlane


@pytest_asyncio.fixture
async def client(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AioClient]:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig()))
    transport = Transport(await connect("podium-test"))
    yield AioClient(transport, fence=lambda: None, write_timeout=10.0)
    await transport.close()


async def crashes(client: AioClient, namespace: str, *notes: str) -> None:
    """A process that sees one fault so many times, in some seconds of which the first is the same for all."""
    seconds = count()
    recorder = Recorder(client, "podium-0", now=lambda: datetime(2030, 1, 1, tzinfo=UTC) + timedelta(0, next(seconds)))
    of = {"namespace": namespace, "uid": "u"}
    model = {"apiVersion": "podium.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", **of}}
    record = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "m-2", **of}}
    for note in notes:
        recorder.emit(
            model, type="Warning", reason="Crashed", note=note, action="Observe", related=record, fault="Crashed"
        )
        await recorder.flush(10)


def there_is_one(plane: ControlPlane, namespace: str) -> Object:
    (event,) = json.loads(plane.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "json"))["items"]
    found: Object = event
    return found


async def test_one_fault_is_one_Event_with_a_count(client: AioClient, plane: ControlPlane, namespace: str) -> None:
    await crashes(client, namespace, "ended 1 times", "ended 2 times", "ended 3 times")

    event = there_is_one(plane, namespace)
    assert (event["note"], event["series"]["count"]) == ("ended 1 times", 3)
    assert event["series"]["lastObservedTime"] > event["eventTime"]
    assert (event["regarding"]["name"], event["related"]["name"]) == ("m", "m-2")


async def test_the_process_after_a_crash_counts_on(client: AioClient, plane: ControlPlane, namespace: str) -> None:
    await crashes(client, namespace, "ended 1 times", "ended 2 times")
    await crashes(client, namespace, "ended 3 times")

    assert there_is_one(plane, namespace)["series"]["count"] == 3


async def test_no_other_note_is_taken(client: AioClient, plane: ControlPlane, namespace: str) -> None:
    await crashes(client, namespace, "ended 1 times")
    name = there_is_one(plane, namespace)["metadata"]["name"]

    with pytest.raises(ApiError, match="field is immutable"):
        await client.merge(EVENTS, namespace, name, {"note": "ended 2 times"})
