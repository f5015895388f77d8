"""Which counters of a runtime's pods count: what a ModelRuntime may say, and how a revision keeps it."""

import json
from typing import Any

import pytest

from podium.api.base import InvalidSpec
from podium.manifests.container import container_ports
from podium.manifests.counting import Counting
from podium.manifests.revision import controller_revision, revision_of
from podium.packed import to_json
from tests.unit.manifests.examples import OWNER, builtin, revision, runtime

SAID: dict[str, Any] = {"total": ["requests_total"], "errors": ['requests_total{code=~"5..",app="x"}']}
PORTS = {"http": 9000, "metrics": 9100}


def stored(**data: object) -> dict[str, Any]:
    """The ControllerRevision of a runtime with metrics; `data` replaces parts of its data."""
    made = revision(run=runtime(metrics=SAID, ports=PORTS))
    found: dict[str, Any] = json.loads(to_json(controller_revision(OWNER, made, {})))
    return found | {"data": {k: v for k, v in {**found["data"], **data}.items() if v is not None}}


def test_it_is_kept_with_the_revision() -> None:
    assert revision_of(stored()).counting == Counting("/metrics", 9000, ("requests_total",), tuple(SAID["errors"]))


def test_port_metrics_is_the_one_that_the_runtime_names() -> None:
    made = Counting.of(runtime(metrics={**SAID, "port": "metrics"}, ports=PORTS))
    assert made is not None
    assert made.port == 9100


def test_it_changes_no_revision_s_name_and_no_pod() -> None:
    before, after = revision(), revision(run=runtime(metrics=SAID))
    assert (before.name, before.packed_template) == (after.name, after.packed_template)


@pytest.mark.parametrize(
    "found", [None, {}, 7, "x", {**SAID, "path": "x", "port": 1}, {**SAID, "path": "/", "port": 0},
              {"path": "/", "port": 1, "total": "x", "errors": []}],
)  # fmt: skip
def test_a_record_without_it_or_of_another_version_is_a_revision_all_the_same(found: object) -> None:
    assert revision_of(stored(metrics=found)).counting is None


@pytest.mark.parametrize("name", ["onnxruntime", "torchserve"])
def test_the_built_in_runtimes_have_it_at_a_port_that_their_pods_declare(name: str) -> None:
    counting = Counting.of(builtin(name))
    assert counting is not None
    assert counting.port in container_ports(builtin(name)).values()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"total": []}, "metrics.total: '[]': must name at least one series"),
        ({"errors": ["a b"]}, r"metrics.errors[0]: 'a b': is no series"),
        ({"errors": ['a{b!="c"}']}, "is no series"),
        ({"errors": ['a{b=~"("}']}, "is no pattern"),
        ({"port": "metrics"}, "metrics.port: 'metrics': ports.metrics is not set"),
        ({"path": "metrics"}, "must begin with /"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        runtime(metrics={**SAID, **wrong})
    assert sentence in str(refused.value)
