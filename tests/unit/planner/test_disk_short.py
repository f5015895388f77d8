"""Where disk is short, whoever says so, the message names the field that sets how much is asked for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from podium.reconcile.symptoms import symptom
from tests.unit.planner.given import created

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def _unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"metadata": {"name": "p", "namespace": "ml"}, "status": {"phase": "Pending", "conditions": [condition]}}


def test_a_node_without_room() -> None:
    found = symptom(_unschedulable("0/3 nodes are available: 3 Insufficient ephemeral-storage."), NOW)

    assert found is not None
    assert found[1] == (
        "pod p cannot be scheduled: 0/3 nodes are available: 3 Insufficient ephemeral-storage; the pods ask for disk "
        "by spec.model.storage.sizeLimit: lower it, or set ephemeral-storage in spec.runtime.resources"
    )


def test_one_without_something_else() -> None:
    found = symptom(_unschedulable("0/3 nodes are available: 3 Insufficient cpu."), NOW)

    assert found is not None
    assert found[1] == "pod p cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu."


@pytest.mark.parametrize(
    ("refusal", "way_out"),
    [
        ("maximum ephemeral-storage usage per Container is 1Gi, but limit is 3Gi", "lower it"),
        ("minimum ephemeral-storage usage per Container is 5Gi, but request is 2Gi", "raise it"),
        ("exceeded quota: team, requested: limits.ephemeral-storage=3Gi, used: 0, limited: 1Gi", "lower it"),
    ],
)
def test_a_LimitRange_or_a_quota(refusal: str, way_out: str) -> None:
    world = created()
    world.cluster.refused = f'pods "fraud-1" is forbidden: {refusal}'
    world.until(lambda: world.condition("PodFailure") == ("True", "FailedCreate"))

    assert f"{refusal}; the pods ask for disk by spec.model.storage.sizeLimit: {way_out}" in world.message("PodFailure")
