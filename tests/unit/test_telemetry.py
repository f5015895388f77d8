"""Log lines and metrics as others read them."""

import json
import logging
from typing import Any

import pytest
from prometheus_client import generate_latest

from podium.telemetry import JsonFormatter, Metrics, _KopfNoise, about


def line(message: str = "said", *, extra: dict[str, Any] | None = None, exc_info: Any = None) -> dict[str, Any]:
    record = logging.getLogger("podium.test").makeRecord(
        "podium.test", logging.INFO, __file__, 1, message, (), exc_info, extra=extra
    )
    found: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return found


def test_a_line_is_one_json_object_with_its_fields_always() -> None:
    found = line()

    assert (found["message"], found["level"], found["logger"]) == ("said", "info", "podium.test")
    assert [found[field] for field in ("modeldeployment", "revision", "rule", "reason")] == [""] * 4
    assert found["time"].endswith("Z")


def test_what_is_written_within_a_pass_says_which() -> None:
    with about(modeldeployment="ml/fraud"), about(revision="fraud-x"):
        found = line(extra={"rule": "crash"})

    assert (found["modeldeployment"], found["revision"], found["rule"]) == ("ml/fraud", "fraud-x", "crash")
    assert line()["modeldeployment"] == ""


def test_the_calls_own_fields_win() -> None:
    with about(modeldeployment="ml/fraud"):
        assert line(extra={"modeldeployment": "ml/other"})["modeldeployment"] == "ml/other"


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        found = line(exc_info=(type(error), error, error.__traceback__))

    assert "broken\nin two" in found["exception"]


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ("Request attempt #1 failed; will retry: GET /api", False),
        ("Exception in callback stream.<locals>.request_cancel_callback()", False),
        ("Watcher for pods.v1 has failed: 404", True),
    ],
)
def test_of_kopfs_lines_only_the_noise_is_kept_back(message: str, passes: bool) -> None:
    record = logging.makeLogRecord({"msg": message})

    assert _KopfNoise().filter(record) == passes


def test_passes_requests_and_the_queue_are_counted_under_the_usual_names() -> None:
    metrics = Metrics(held=lambda: [0.5, 2.0], leading=lambda: True, lease="podium")
    metrics.added(3)
    metrics.taken(2, 0.1)
    metrics.finished(0.2)
    metrics.retried()
    metrics.reconciled("ModelDeployment", "error", 0.2)
    metrics.request("apply", "services", 200, 0.01)
    metrics.request("get", "leases", 0, 0.01)
    metrics.workers(16)

    text = generate_latest(metrics.registry).decode()

    for sample in (
        'workqueue_depth{name="modeldeployment"} 2.0',
        'workqueue_adds_total{name="modeldeployment"} 1.0',
        'workqueue_retries_total{name="modeldeployment"} 1.0',
        'workqueue_unfinished_work_seconds{name="modeldeployment"} 2.5',
        'workqueue_longest_running_processor_seconds{name="modeldeployment"} 2.0',
        'controller_runtime_reconcile_total{controller="modeldeployment",result="error"} 1.0',
        'controller_runtime_reconcile_errors_total{controller="modeldeployment"} 1.0',
        'controller_runtime_active_workers{controller="modeldeployment"} 2.0',
        'controller_runtime_max_concurrent_reconciles{controller="modeldeployment"} 16.0',
        'rest_client_requests_total{code="200",method="apply",resource="services"} 1.0',
        'rest_client_requests_total{code="<error>",method="get",resource="leases"} 1.0',
        'leader_election_master_status{name="podium"} 1.0',
    ):
        assert sample in text, sample


def test_a_text_that_cannot_be_written_is_written_as_its_escape() -> None:
    record = logging.getLogger("podium.test").makeRecord("x", logging.INFO, __file__, 1, "version \ud800", (), None)

    text = JsonFormatter().format(record)

    assert rb'"version \ud800"' in text.encode()


def test_what_could_not_be_read_and_what_failed_is_counted_by_kind_and_by_part() -> None:
    metrics = Metrics(held=list, leading=lambda: True, lease="podium")

    metrics.unreadable("ControllerRevision")
    metrics.failed("lease")

    text = generate_latest(metrics.registry).decode()
    assert 'podium_unreadable_objects_total{kind="ControllerRevision"} 1.0' in text
    assert 'podium_part_failures_total{part="lease"} 1.0' in text
    assert 'podium_part_failures_total{part="resync"} 0.0' in text, "there before the first failure, for alerts"


def test_outcomes_are_counted_by_the_kind_of_their_rule() -> None:
    metrics = Metrics(held=list, leading=lambda: True, lease="podium")

    metrics.decided("RolledBack", "harm: errors")
    metrics.decided("RolledBack", "harm: slow")

    assert 'podium_decisions_total{outcome="RolledBack",rule="harm"} 2.0' in generate_latest(metrics.registry).decode()
