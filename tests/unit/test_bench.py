"""How the benchmarks read what they report: the figures are only as good as this."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.bench.audit import AuditLog, Call
from tests.bench.bench_cluster import exit_of
from tests.bench.bench_images import size, unpacked
from tests.bench.bench_rollouts import DEPLOYMENT_CONTROLLER, KUBELET_USER, reactions
from tests.bench.bench_where import slowest
from tests.bench.rig import OPERATOR_USER
from tests.bench.table import percentile

POD = "fraud-aaaa-7d9c-x1"


def call(user: str, resource: str, received: float, *, name: str = "fraud", verb: str = "patch", **more: Any) -> Call:
    known: dict[str, Any] = {"done": received + 0.25, "namespace": "one", "code": 200} | more
    return Call(received=received, user=user, verb=verb, resource=resource, name=name, **known)


def ready(received: float, **more: Any) -> Call:
    return call(KUBELET_USER, "pods/status", received, **{"name": POD} | more)


def test_a_reaction_lasts_from_the_stored_readiness_to_the_arrival_of_the_operators_next_write() -> None:
    found = reactions([ready(10.0), call(OPERATOR_USER, "deployments", 11.0)])
    assert found.operator == [0.75]


@pytest.mark.parametrize(
    "other",
    [
        call(OPERATOR_USER, "events", 10.5, verb="create"),
        call(OPERATOR_USER, "leases", 10.5),
        call(OPERATOR_USER, "modeldeployments", 10.5, verb="watch"),
        call(OPERATOR_USER, "modeldeployments/status", 10.5, namespace="two"),
        call(OPERATOR_USER, "modeldeployments/status", 10.1),
        call("somebody", "modeldeployments", 10.5),
    ],
    ids=["an Event", "the Lease", "a read", "another model's", "before it was stored", "somebody else's"],
)
def test_only_a_later_write_of_the_operator_to_that_model_is_a_reaction(other: Call) -> None:
    found = reactions([ready(10.0), other, call(OPERATOR_USER, "modeldeployments/status", 12.25)])
    assert found.operator == [2.0]


def test_a_pod_counts_once_from_its_first_readiness_and_two_pods_may_share_a_reaction() -> None:
    found = reactions(
        [ready(10.0), ready(10.5), ready(11.0, name="fraud-aaaa-7d9c-x2"), call(OPERATOR_USER, "deployments", 12.25)]
    )
    assert found.pods == 2
    assert found.operator == [2.0, 1.0]


def test_the_operators_writes_are_told_by_kind_slowest_first_with_how_many_were_under_way() -> None:
    mine = [
        call(OPERATOR_USER, "deployments", 10.0, done=10.5),
        call(OPERATOR_USER, "services", 10.0, done=12.0),
        call(OPERATOR_USER, "services", 10.0, done=14.0),
        call(OPERATOR_USER, "services", 10.0, done=14.0, verb="get"),
        call("somebody", "services", 10.0, done=14.0),
    ]
    assert [*slowest(mine)] == ["services 3000 ms, 1.5 at a time", "deployments 500 ms, 0.1 at a time"]


def test_a_refused_readiness_is_none_and_one_that_nothing_follows_has_no_reaction() -> None:
    found = reactions([ready(10.0, code=409), ready(20.0), call(OPERATOR_USER, "deployments", 12.0)])
    assert (found.pods, found.operator) == (1, [])


def test_the_controllers_part_ends_with_the_next_status_of_the_pods_own_deployment() -> None:
    found = reactions(
        [
            ready(10.0),
            call(DEPLOYMENT_CONTROLLER, "deployments/status", 10.5, name="fraud-bbbb", verb="update"),
            call(DEPLOYMENT_CONTROLLER, "deployments", 10.75, name="fraud-aaaa", verb="update"),
            call(DEPLOYMENT_CONTROLLER, "deployments/status", 11.25, name="fraud-aaaa", verb="update"),
        ]
    )
    assert found.controllers == [1.0]


def test_the_audit_log_is_read_on_and_an_unfinished_line_is_left_for_later(tmp_path: Path) -> None:
    entry = {
        "verb": "patch",
        "user": {"username": "kubelet"},
        "objectRef": {"resource": "pods", "subresource": "status", "namespace": "one", "name": POD},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-01-31T12:00:00.250000Z",
        "stageTimestamp": "2026-01-31T12:00:00.500000Z",
    }
    line, file = json.dumps(entry) + "\n", tmp_path / "audit.json"
    file.write_text(line + line[:20])
    log = AuditLog(file)
    assert len(log.calls()) == 1
    file.write_text(line + line)
    assert len(log.calls()) == 2
    first = log.calls()[0]
    assert (first.user, first.resource, first.name, first.writes) == ("kubelet", "pods/status", POD, True)
    assert first.done - first.received == 0.25


def test_a_containers_end_is_read_from_containerds_events(tmp_path: Path) -> None:
    events = tmp_path / "events"
    events.write_text(
        '2026-01-31 12:00:00.5 +0000 UTC k8s.io /tasks/start {"container_id":"abc","pid":1}\n'
        '2026-01-31 12:00:01.25 +0000 UTC k8s.io /tasks/exit {"container_id":"abd","id":"abd","pid":2}\n'
        '2026-01-31 12:00:02.75 +0000 UTC k8s.io /tasks/exit {"container_id":"abc","id":"abc","pid":1}\n'
    )
    assert exit_of("abc", events) == 1769860802.75
    assert exit_of("abe", events) is None


@pytest.mark.parametrize("mode", ["w", "w:gz"], ids=["unpacked layers", "packed layers"])
def test_an_image_is_as_large_as_its_layers_whether_they_are_packed_or_not(tmp_path: Path, mode: Any) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as layer:
        _add(layer, "zeros", bytes(1_000_000))
    with tarfile.open(tmp_path / "image.tar", "w") as image:
        _add(image, "manifest.json", json.dumps([{"Layers": ["one.tar", "one.tar"]}]).encode())
        _add(image, "one.tar", content.getvalue())
    found = size(tmp_path / "image.tar")
    assert 2_000_000 < found.unpacked < 2_050_000
    assert unpacked(tmp_path / "image.tar") == found.unpacked
    assert 1_000 < found.compressed < 10_000


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 100.0, 198.0, 200.0]
    assert percentile([3.0], 0.99) == 3.0
