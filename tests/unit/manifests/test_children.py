"""Deployment, Services, HPA, PDB."""

from typing import Any

import pytest

from podium.api import names
from podium.api.v1alpha1 import Autoscaling, Disruption
from podium.manifests.scaling import hpa, pdb
from podium.manifests.service import preview_service, stable_service
from podium.manifests.workload import deployment
from tests.unit.manifests.examples import OWNER, revision

BOTH = {"http": 8080, "grpc": 9000}


def children() -> list[dict[str, Any]]:
    made = revision()
    return [
        deployment(OWNER, made, replicas=2, min_ready_seconds=10),
        stable_service(OWNER, revision=made.name, ports=made.ports),
        preview_service(OWNER, revision=made.name, ports=made.ports),
        hpa(OWNER, made.name, Autoscaling(max_replicas=3), min_replicas=1, scale_down=True),
        pdb(OWNER, Disruption()),
    ]


@pytest.mark.parametrize("child", children(), ids=lambda child: f"{child['kind']}-{child['metadata']['name'][-7:]}")
def test_every_child_is_labelled_and_owned(child: dict[str, Any]) -> None:
    metadata = child["metadata"]

    assert metadata["namespace"] == "ml"
    assert names.model_labels("fraud").items() <= metadata["labels"].items()
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "podium.dev/v1alpha1",
            "kind": "ModelDeployment",
            "name": "fraud",
            "uid": OWNER.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_the_deployment_applies_the_stored_template_verbatim() -> None:
    made = revision()

    applied = deployment(OWNER, made, replicas=3, min_ready_seconds=12)["spec"]

    assert applied["template"] == made.packed_template
    assert applied["selector"] == {"matchLabels": {names.LABEL_MODEL: "fraud", names.LABEL_REVISION: made.name}}
    assert applied["replicas"] == 3
    assert applied["minReadySeconds"] == 12


def test_podium_alone_judges_a_deployments_progress() -> None:
    applied = deployment(OWNER, revision(), replicas=1, min_ready_seconds=0)["spec"]

    assert applied["progressDeadlineSeconds"] == 2147483647
    assert applied["revisionHistoryLimit"] == 0
    assert applied["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_replicas_that_an_hpa_owns_are_left_out() -> None:
    assert "replicas" not in deployment(OWNER, revision(), replicas=None, min_ready_seconds=0)["spec"]
    assert deployment(OWNER, revision(), replicas=0, min_ready_seconds=0)["spec"]["replicas"] == 0


def test_the_stable_service_selects_one_revision_or_all_of_the_model() -> None:
    one = stable_service(OWNER, revision="fraud-x", ports=BOTH)["spec"]
    every = stable_service(OWNER, revision=None, ports=BOTH)["spec"]

    assert one["selector"] == {names.LABEL_MODEL: "fraud", names.LABEL_REVISION: "fraud-x"}
    assert every["selector"] == {names.LABEL_MODEL: "fraud"}


def test_service_ports_are_80_and_8081_by_name() -> None:
    ports = stable_service(OWNER, revision=None, ports=BOTH)["spec"]["ports"]

    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http", 80, "http"),
        ("grpc", 8081, "grpc"),
    ]
    assert ports[1]["appProtocol"] == "kubernetes.io/h2c"
    assert [port["name"] for port in stable_service(OWNER, revision=None, ports={"http": 1})["spec"]["ports"]] == [
        "http"
    ]


def test_the_preview_service_selects_the_candidate_alone() -> None:
    preview = preview_service(OWNER, revision="fraud-x", ports=BOTH)

    assert preview["metadata"]["name"] == "fraud-preview"
    assert preview["spec"]["selector"] == {names.LABEL_MODEL: "fraud", names.LABEL_REVISION: "fraud-x"}


def test_the_hpa_scales_the_revisions_deployment_as_the_user_says() -> None:
    metrics = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    ]
    wanted = Autoscaling(min_replicas=2, max_replicas=9, metrics=metrics, behavior={"scaleUp": {"policies": []}})

    made = hpa(OWNER, "fraud-x", wanted, min_replicas=2, scale_down=True)

    assert made["metadata"]["name"] == "fraud-x"
    assert made["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "fraud-x"},
        "minReplicas": 2,
        "maxReplicas": 9,
        "metrics": metrics,
        "behavior": {"scaleUp": {"policies": []}},
    }


def test_during_a_rollout_the_hpa_does_not_scale_down_and_keeps_the_rest_of_the_behavior() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 7}, "scaleUp": {"policies": []}}
    wanted = Autoscaling(max_replicas=3, behavior=behavior)

    made = hpa(OWNER, "fraud-x", wanted, min_replicas=5, scale_down=False)["spec"]

    assert made["behavior"]["scaleDown"] == {"stabilizationWindowSeconds": 7, "selectPolicy": "Disabled"}
    assert made["behavior"]["scaleUp"] == {"policies": []}
    assert (made["minReplicas"], made["maxReplicas"]) == (5, 5)
    assert wanted.behavior == {"scaleDown": {"stabilizationWindowSeconds": 7}, "scaleUp": {"policies": []}}


@pytest.mark.parametrize("limit", [1, "25%"])
def test_the_pdb_covers_all_pods_of_the_model_and_lets_broken_ones_go(limit: int | str) -> None:
    made = pdb(OWNER, Disruption(max_unavailable=limit))

    assert made["metadata"]["name"] == "fraud"
    assert made["spec"] == {
        "selector": {"matchLabels": {names.LABEL_MODEL: "fraud"}},
        "maxUnavailable": limit,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
