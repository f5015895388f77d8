"""What Argo CD does with a ModelDeployment in git; docs/decisions tells users what becomes of unknown fields."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.integration.argocd import CONTROLLER, ArgoCD
from tests.integration.operator import ROOT
from tests.integration.rest import CRDS, new
from tests.integration.test_crd_clients import SPEC, assert_dropped, names_one

SERVER_SIDE = ("ServerSideApply=true",)
NAME = "fraud"
BEFORE = {"paused": True}

made_or_changed = pytest.mark.parametrize("before", [None, BEFORE], ids=["new", "changed"])


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of our own: Argo CD looks at all that is in a cluster, and what other tests left is much."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds(CRDS)
        yield plane


@pytest.fixture(scope="module")
def argocd(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    with ArgoCD(plane, tmp_path_factory.mktemp("argocd")) as argocd:
        yield argocd


def stored(argocd: ArgoCD, namespace: str) -> dict[str, Any] | None:
    return argocd.client.find("ModelDeployment", namespace, NAME)


@pytest.mark.parametrize("options", [(), SERVER_SIDE], ids=["client-side", "server-side"])
def test_a_model_deployment_in_git_comes_to_the_cluster_and_the_defaults_beside_it_are_no_drift(
    argocd: ArgoCD, namespace: str, options: Sequence[str]
) -> None:
    spec = yaml.safe_load((ROOT / "examples" / "autoscaling.yaml").read_text())["spec"]
    argocd.commit(namespace, new("ModelDeployment", spec, NAME))
    argocd.application(namespace, namespace, sync_options=options)
    assert argocd.compared(namespace)["sync"]["status"] == "OutOfSync"

    state = argocd.sync(namespace)

    assert state["phase"] == "Succeeded", state
    argocd.await_synced(namespace)
    first = stored(argocd, namespace)
    assert first is not None
    assert all(first["spec"][field] == spec[field] for field in ("model", "autoscaling"))
    assert "rollout" in first["spec"].keys() - spec.keys(), "the API server adds what git does not say"
    assert argocd.sync(namespace)["phase"] == "Succeeded"
    argocd.await_synced(namespace)
    second = stored(argocd, namespace)
    assert second is not None
    # On the server side even that is a write, once: it stores the status that the CRD has as a default.
    assert (second["spec"], second["metadata"]["generation"]) == (first["spec"], 1)


@made_or_changed
def test_by_default_it_drops_an_unknown_field_calls_that_a_success_and_stays_out_of_sync(
    argocd: ArgoCD, namespace: str, before: dict[str, Any] | None
) -> None:
    """It means to validate strictly, but does not ask the API server to, whose warnings reach its own log alone."""
    given(argocd, namespace, (), before)
    argocd.commit(namespace, new("ModelDeployment", SPEC, NAME))

    state = argocd.sync(namespace)

    assert state["phase"] == "Succeeded", state
    assert not names_one(str(state))
    assert_dropped((stored(argocd, namespace) or {}).get("spec"))
    assert 'unknown field \\"spec.replica\\"' in argocd.processes.log(CONTROLLER).read_text()
    # Once more: what it knows of the cluster is a moment behind the first sync, not behind the second.
    assert argocd.sync(namespace)["phase"] == "Succeeded"
    status = argocd.compared(namespace)
    assert (status["sync"]["status"], status.get("conditions")) == ("OutOfSync", None)


@made_or_changed
def test_with_server_side_apply_it_refuses_an_unknown_field_by_name(
    argocd: ArgoCD, namespace: str, before: dict[str, Any] | None
) -> None:
    given(argocd, namespace, SERVER_SIDE, before)
    first = stored(argocd, namespace)
    argocd.commit(namespace, new("ModelDeployment", SPEC, NAME))

    state = argocd.sync(namespace)

    # Error, if it is the comparison before it that was refused.
    assert state["phase"] in ("Failed", "Error"), state
    assert "field not declared in schema" in state["message"]
    assert names_one(state["message"])
    assert stored(argocd, namespace) == first


def test_with_server_side_apply_a_comparison_names_the_unknown_field_before_any_sync(
    argocd: ArgoCD, namespace: str
) -> None:
    """Where there is something to compare with: of an object that is not there yet it is the sync that tells."""
    given(argocd, namespace, SERVER_SIDE, BEFORE)
    argocd.commit(namespace, new("ModelDeployment", SPEC, NAME))

    status = argocd.compared(namespace)

    assert status["sync"]["status"] == "Unknown"
    assert [condition["type"] for condition in status["conditions"]] == ["ComparisonError"]
    assert names_one(status["conditions"][0]["message"])


def given(argocd: ArgoCD, namespace: str, options: Sequence[str], before: dict[str, Any] | None) -> None:
    """An Application; with `before`, it has brought a ModelDeployment of that spec already."""
    argocd.application(namespace, namespace, sync_options=options)
    if before is not None:
        argocd.commit(namespace, new("ModelDeployment", before, NAME))
        assert argocd.sync(namespace)["phase"] == "Succeeded"
        argocd.await_synced(namespace)
