"""What the front says of itself: readiness, and how its callers' requests ended."""

import asyncio
import json
import socket
import struct

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podium_serving.metrics import EDGES
from tests.unit.torchserve.standing import (
    Stand,
    answer_of,
    echo,
    head_of,
    post,
    standing,
)
from tests.until import until


async def test_readiness_is_the_models_and_ends_with_the_drain() -> None:
    async with standing(echo) as stand:

        async def ready() -> tuple[int, str]:
            reader, writer = await stand.connect()
            writer.write(b"GET /podium/ready HTTP/1.1\r\n\r\n")
            status, _, body = await answer_of(reader)
            writer.close()
            return status, json.loads(body)["reason"]

        assert await ready() == (200, "")
        stand.reason = "no worker of the model is READY: UNLOADING"
        assert await ready() == (503, stand.reason)
        stand.reason, stand.front.draining = "", True
        assert await ready() == (503, "told to stop")


def counted(text: str, name: str) -> dict[str, float]:
    """Values by the last label's value ("" if there is none) of a metric of the front."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                found[next(iter(reversed(sample.labels.values())), "")] = sample.value
    return found


async def metrics(stand: Stand) -> str:
    reader, writer = await stand.connect()
    writer.write(b"GET /podium/metrics?a=b HTTP/1.1\r\n\r\n")
    status, _, body = await answer_of(reader)
    assert status == 200
    return body.decode()


async def test_what_callers_saw_is_counted_by_code_class_and_probes_are_not() -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = (await reader.readuntil(b"\r\n")).decode()
            await head_of(reader)
            if "hang-up" in line:
                return
            code = line.split("/")[2].split()[0] if "predictions" in line else "200"
            writer.write(b"HTTP/1.1 %b \r\ncontent-length: 0\r\n\r\n" % code.encode())

    async with standing(server) as stand:
        for path in ("predictions/200", "predictions/200", "predictions/404", "predictions/507", "ping", "hang-up"):
            reader, writer = await stand.connect()
            writer.write(b"POST /%b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % path.encode())
            await answer_of(reader)
        text = await metrics(stand)
        assert stand.front.in_flight == 0

    codes: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "podium_serving_requests_total":
                codes[sample.labels["code_class"]] = codes.get(sample.labels["code_class"], 0) + sample.value
    assert codes == {"2xx": 2, "4xx": 1, "5xx": 2}
    assert counted(text, "podium_serving_requests_started_total") == {"": 5}
    assert counted(text, "podium_serving_request_duration_seconds_count") == {"": 5}
    assert counted(text, "podium_serving_requests_in_flight") == {"": 0}
    buckets = counted(text, "podium_serving_request_duration_seconds_bucket")
    assert [*buckets] == [*(str(edge) for edge in EDGES), "+Inf"]
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf"] == 5


@pytest.mark.parametrize("reset", [True, False])
async def test_a_caller_that_goes_away_before_its_answer_is_counted_as_abandoned_alone(reset: bool) -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asked.set()
        await reader.read()

    async with standing(never) as stand:
        _, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await until(lambda: not stand.front.in_flight, 20)
        text = await metrics(stand)
    assert counted(text, "podium_serving_requests_abandoned_total") == {"": 1}
    assert counted(text, "podium_serving_request_duration_seconds_count") == {"": 0}


async def test_a_readiness_probe_leaves_nothing_in_flight() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"GET /podium/ready HTTP/1.1\r\n\r\n")
        await answer_of(reader)
        assert stand.front.in_flight == 0
