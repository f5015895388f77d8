"""What each kind of client does with a field that does not exist; docs/decisions tells users the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

import pytest

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.integration.rest import CRDS, Rest, new, path_of

SPEC = {"replica": 3, "podTemplate": {"volumes": [{"name": "x", "emptyDir": {}, "hostPath": {"path": "/"}}]}}
FIELDS = ("spec.replica", "hostPath")


def names_one(message: str) -> bool:
    """Whether a message names an unknown field: server-side apply stops at the first in a map, in any order."""
    return any(field in message for field in FIELDS)


@dataclass(frozen=True)
class Cluster:
    """A control plane with the CRDs, and the two ways to it."""

    plane: ControlPlane
    rest: Rest

    def run(self, program: Path, *words: str, stdin: str | None = None) -> CompletedProcess[str]:
        command = [str(program), *words, f"--kubeconfig={self.plane.kubeconfig()}"]
        return run(command, input=stdin, capture_output=True, text=True, timeout=120)

    def stored(self, name: str) -> dict[str, Any] | None:
        answer = self.rest.call("GET", path_of("ModelDeployment", name))
        return answer.body["spec"] if answer.ok else None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds(CRDS)
        with Rest(plane.kubeconfig(), tmp_path_factory.mktemp("identity")) as rest:
            yield Cluster(plane, rest)


def chart(folder: Path, name: str) -> Path:
    """A chart that holds one ModelDeployment with fields that do not exist."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: typo\nversion: 0.1.0\n")
    (folder / "templates" / "model.yaml").write_text(json.dumps(new("ModelDeployment", SPEC, name)))
    return folder


@pytest.mark.parametrize("words", [["create"], ["apply"], ["apply", "--server-side"]], ids=" ".join)
def test_kubectl_refuses_an_unknown_field_by_name(cluster: Cluster, words: list[str]) -> None:
    name = "-".join(["typo", *words]).replace("--", "")
    done = cluster.run(binaries.kubectl(), *words, "-f", "-", stdin=json.dumps(new("ModelDeployment", SPEC, name)))
    assert done.returncode != 0
    assert names_one(done.stderr) if "--server-side" in words else all(field in done.stderr for field in FIELDS)
    assert cluster.stored(name) is None


def test_kubectl_patch_warns_and_changes_nothing(cluster: Cluster) -> None:
    before = cluster.rest.create(new("ModelDeployment", name="patched"), keep=True).body
    done = cluster.run(
        binaries.kubectl(), "patch", "modeldeployment", "patched", "--type=merge", "-p", '{"spec": {"replica": 3}}'
    )
    assert done.returncode == 0
    assert 'unknown field "spec.replica"' in done.stderr
    after = cluster.rest.call("GET", path_of("ModelDeployment", "patched")).body
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], 1)


def test_helm_refuses_an_unknown_field_by_name(cluster: Cluster, tmp_path: Path) -> None:
    """Helm 4 applies on the server side, where nothing that the schema does not declare is taken."""
    done = cluster.run(binaries.helm(), "install", "typo", str(chart(tmp_path / "chart", "helm")))
    assert done.returncode != 0
    assert names_one(done.stderr)
    assert cluster.stored("helm") is None


def test_helm_without_server_side_apply_warns_and_drops_it(cluster: Cluster, tmp_path: Path) -> None:
    """As Helm 3 does it."""
    folder = chart(tmp_path / "chart", "helm-client")
    done = cluster.run(binaries.helm(), "install", "typo-client", str(folder), "--server-side=false")
    assert done.returncode == 0
    assert all(field in done.stderr for field in FIELDS)
    assert_dropped(cluster.stored("helm-client"))


def test_a_plain_client_gets_warnings_and_the_field_is_dropped(cluster: Cluster) -> None:
    answer = cluster.rest.create(new("ModelDeployment", SPEC, "plain"), keep=True)
    assert answer.ok
    assert all(any(field in warning for warning in answer.warnings) for field in FIELDS)
    assert_dropped(cluster.stored("plain"))


def test_a_client_that_asks_for_strict_validation_is_refused(cluster: Cluster) -> None:
    answer = cluster.rest.create(new("ModelDeployment", SPEC, "strict"), fieldValidation="Strict")
    assert answer.code == 400
    assert all(field in answer.body["message"] for field in FIELDS)


def test_a_client_that_asks_for_silence_gets_it(cluster: Cluster) -> None:
    answer = cluster.rest.create(new("ModelDeployment", SPEC, "silent"), fieldValidation="Ignore")
    assert (answer.ok, answer.warnings) == (True, [])


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
def test_server_side_apply_refuses_an_unknown_field_whatever_validation_it_asks_for(
    cluster: Cluster, validation: str
) -> None:
    answer = cluster.rest.call(
        "PATCH",
        path_of("ModelDeployment", "applied"),
        new("ModelDeployment", SPEC, "applied"),
        content_type="application/apply-patch+yaml",
        fieldManager="test",
        fieldValidation=validation,
    )
    assert not answer.ok
    assert "field not declared in schema" in answer.body["message"]
    assert names_one(answer.body["message"])
    assert cluster.stored("applied") is None


def test_kubectl_wait_waits_for_an_object_that_nobody_has_seen(cluster: Cluster) -> None:
    cluster.rest.create(new("ModelDeployment", name="unseen"), keep=True)
    done = cluster.run(binaries.kubectl(), "wait", "--for=condition=Ready", "--timeout=1s", "mdep/unseen")
    assert "timed out waiting for the condition" in done.stderr


def test_kubectl_lists_by_short_name_and_category_with_the_columns_of_the_design(cluster: Cluster) -> None:
    cluster.rest.create(new("ModelDeployment", name="listed"), keep=True)
    done = cluster.run(binaries.kubectl(), "get", "mdep", "listed", "-o", "wide")
    header, row = (line.split() for line in done.stdout.splitlines())
    assert header == [
        "NAME",
        "READY",
        "PHASE",
        "CHAMPION",
        "CANDIDATE",
        "WEIGHT",
        "AGE",
        "RUNTIME",
        "REPLICAS",
        "MESSAGE",
    ]
    assert row[:3] == ["listed", "Unknown", "Pending"]
    assert row[-1] == "onnxruntime"
    assert "modeldeployment.podium.dev/listed" in cluster.run(binaries.kubectl(), "get", "podium").stdout


def test_kubectl_explains_a_field_with_unit_and_default(cluster: Cluster) -> None:
    done = cluster.run(binaries.kubectl(), "explain", "mdep.spec.rollout.minReadySeconds")
    assert "Seconds for which a pod must be ready" in done.stdout
    assert "Default: 10." in done.stdout


def assert_dropped(spec: dict[str, Any] | None) -> None:
    assert spec is not None
    assert "replica" not in spec
    assert spec["replicas"] == 1
    assert spec["podTemplate"]["volumes"] == [{"name": "x", "emptyDir": {}}]
