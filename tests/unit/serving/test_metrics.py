"""/metrics: what is counted, under which labels, and that the numbers add up."""

import json
import math
import socket
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from podium_serving.metrics import EDGES, Histogram
from tests.unit.serving.harness import JSON_TYPES, Server, identity, serving

LABELS = {"model": "model", "version": "7", "revision": "model-b57wq4c9d2"}
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "echo.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
    with serving(
        path, PODIUM_REVISION=LABELS["revision"], PODIUM_MODEL_VERSION="7", PODIUM_MAX_BODY_BYTES=1000
    ) as running:
        yield running


def samples(server: Server) -> dict[tuple[str, str], float]:
    """Values by sample name and the label that is not the same for all (code or le)."""
    found = {}
    for family in text_string_to_metric_families(server.get("/metrics").body.decode()):
        for sample in family.samples:
            if sample.name.startswith("podium_serving_"):
                assert sample.labels.items() >= LABELS.items()
                found[sample.name, sample.labels.get("code") or sample.labels.get("le", "")] = sample.value
    return found


def test_inference_requests_are_counted_by_code_and_probes_are_not(server: Server) -> None:
    for _ in range(5):
        assert server.infer(BODY).status == 200
    assert server.infer(b"{}").status == 400
    assert server.request("POST", "/v2/models/other/infer", BODY).status == 404
    assert server.request("GET", "/v2/models/model/infer").status == 405
    assert server.infer(BODY + b" " * 1000).status == 413
    server.get("/v2/health/ready")
    server.get("/nowhere")
    found = samples(server)
    counted = {code: value for (name, code), value in found.items() if name == "podium_serving_requests_total"}
    assert {code: value for code, value in counted.items() if value} == {
        "200": 5,
        "400": 1,
        "404": 1,
        "405": 1,
        "413": 1,
    }
    assert counted["500"] == 0
    assert found["podium_serving_requests_started_total", ""] == 9
    assert found["podium_serving_requests_abandoned_total", ""] == 0
    assert found["podium_serving_request_duration_seconds_count", ""] == 9
    assert found["podium_serving_inference_duration_seconds_count", ""] == 5
    assert found["podium_serving_requests_in_flight", ""] == 0


def test_every_code_has_its_class(server: Server) -> None:
    server.infer(BODY)
    for family in text_string_to_metric_families(server.get("/metrics").body.decode()):
        for sample in family.samples:
            if "code" in sample.labels:
                assert sample.labels["code_class"] == f"{sample.labels['code'][0]}xx"


def test_a_scrape_gets_the_series_that_it_names_and_no_others(server: Server) -> None:
    server.infer(BODY)
    path = "/metrics?name[]=podium_serving_requests_total&name%5B%5D=podium_serving_request_duration_seconds_bucket"
    families = {each.name for each in text_string_to_metric_families(server.get(path).body.decode())}
    assert families == {"podium_serving_requests", "podium_serving_request_duration_seconds"}
    assert "process_cpu_seconds_total" in server.get("/metrics?name[]=process_cpu_seconds_total").body.decode()
    assert server.get("/metrics?name[]=unknown").body == b""


def test_the_grid_has_twelve_edges_a_decade_from_a_tenth_of_a_millisecond_to_600_seconds() -> None:
    assert (EDGES[0], EDGES[12], EDGES[48], EDGES[-1], len(EDGES)) == (0.0001, 0.001, 1.0, 600.0, 83)
    steps = [math.log10(EDGES[i + 1] / EDGES[i]) * 12 for i in range(81)]
    assert all(abs(step - 1) < 0.006 for step in steps)


@given(st.lists(st.floats(0, 1000)))
def test_a_histogram_counts_in_each_bucket_what_is_at_most_its_edge(seconds: list[float]) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)
    cumulated = list(accumulate(histogram.counts))
    assert cumulated == [sum(each <= edge for each in seconds) for edge in (*EDGES, math.inf)]


def test_histograms_are_cumulative_and_bounded_by_their_sum(server: Server) -> None:
    for _ in range(20):
        server.infer(BODY)
    found = samples(server)
    name = "podium_serving_request_duration_seconds"
    buckets = [value for (sample, _), value in found.items() if sample == f"{name}_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 20
    assert 0 < found["podium_serving_inference_duration_seconds_sum", ""] < found[f"{name}_sum", ""]


def test_latency_is_from_a_requests_last_byte_to_its_answer_however_slowly_it_came(server: Server) -> None:
    head = f"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + BODY[:-1])
        time.sleep(0.5)  # the upload: nothing but time passes in it
        began = time.monotonic()
        connection.sendall(BODY[-1:])
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        # The client's own measure of the same time begins before and ends after the server's.
        passed = time.monotonic() - began
    found = samples(server)
    assert found["podium_serving_request_duration_seconds_count", ""] == 1
    assert 0 < found["podium_serving_request_duration_seconds_sum", ""] < passed


def test_the_process_itself_is_measured(server: Server) -> None:
    text = server.get("/metrics").body.decode()
    assert "process_resident_memory_bytes" in text
    assert "process_cpu_seconds_total" in text


def test_the_content_type_is_that_of_the_text_format(server: Server) -> None:
    assert server.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
