"""The objects that run a namespace's routers: nobody's children, restricted, and fitted to what runs in them."""

import json
from typing import Any

import pytest

from podium.api import names
from podium.manifests.router import AGENT, ENVOY, PREPARE, RouterPods, deployment, router_objects
from podium.router.places import FOLDER, MEMORY, MOUNT, PORT, READY_PORT, STATS_PORT
from podium.router.routing import LAST_PORT, LEAST_PORT
from tests.unit.manifests.restricted import violations


def objects(**settings: Any) -> dict[str, dict[str, Any]]:
    made = router_objects("team-a", RouterPods(**settings), replicas=2)
    return {each["kind"]: each for each in made}


def pod(**settings: Any) -> dict[str, Any]:
    template: dict[str, Any] = objects(**settings)["Deployment"]["spec"]["template"]
    return template


def containers(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in template["spec"]["containers"] + template["spec"]["initContainers"]}


def test_they_are_the_namespaces_own_whoever_asked_for_them_first() -> None:
    found = objects()

    assert set(found) == {
        "ServiceAccount", "RoleBinding", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    }  # fmt: skip
    for each in found.values():
        assert each["metadata"]["name"] == "podium-router"
        assert each["metadata"]["namespace"] == "team-a"
        assert "ownerReferences" not in each["metadata"]
        assert "app.kubernetes.io/instance" not in each["metadata"]["labels"]


def test_its_pods_are_restricted_with_a_read_only_root_and_bounds() -> None:
    template = pod()

    assert violations(template["spec"]) == []
    for each in containers(template).values():
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in each["resources"]["limits"]


def test_who_faces_the_callers_has_no_token_and_nobody_else_the_configuration() -> None:
    template = pod()
    mounts = {
        name: {mount["mountPath"] for mount in each["volumeMounts"]} for name, each in containers(template).items()
    }

    assert mounts == {"envoy": {FOLDER}, "agent": {FOLDER, MOUNT}, "prepare": {FOLDER, MOUNT}}
    assert template["spec"]["automountServiceAccountToken"] is False
    assert objects()["ServiceAccount"]["automountServiceAccountToken"] is False


def test_its_rights_are_those_of_the_charts_role() -> None:
    binding = objects()["RoleBinding"]

    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "podium-router",
    }
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "podium-router", "namespace": "team-a"}]


def test_the_selectors_meet_the_pods_and_not_the_config_maps() -> None:
    found = objects()
    labels = pod()["metadata"]["labels"]
    selectors = [found[kind]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors += [each["labelSelector"]["matchLabels"] for each in pod()["spec"]["topologySpreadConstraints"]]

    for selector in selectors:
        assert selector.items() <= labels.items()
        assert selector[names.LABEL_ROUTER] != names.ROUTING


def test_a_new_router_is_ready_before_an_old_one_goes() -> None:
    spec = objects()["Deployment"]["spec"]

    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert containers(spec["template"])[ENVOY]["readinessProbe"]["httpGet"]["port"] == READY_PORT
    # An agent that fails takes no router out of service: what is loaded serves on.
    assert "readinessProbe" not in containers(spec["template"])[AGENT]


def test_envoy_is_killed_only_after_its_drain() -> None:
    spec = pod(drain_seconds=40)["spec"]
    envoy = containers({"spec": spec})[ENVOY]

    assert envoy["lifecycle"]["preStop"]["exec"]["command"][-1] == "--leave=40"
    assert "--drain-time-s 40" in " ".join(envoy["command"])
    assert spec["terminationGracePeriodSeconds"] > 40 + 5


def test_no_port_of_its_own_is_one_of_listeners() -> None:
    ports = [port["containerPort"] for each in containers(pod()).values() for port in each.get("ports", [])]

    assert sorted(ports) == [STATS_PORT, PORT, READY_PORT]
    assert not [port for port in ports if LEAST_PORT <= port <= LAST_PORT]


@pytest.mark.parametrize(
    ("resources", "bytes_"),
    [({"limits": {"memory": "512Mi"}}, "536870912"), ({"limits": {"cpu": "1"}}, "0"), ({}, "0")],
)
def test_envoys_file_is_made_for_its_containers_memory(resources: dict[str, Any], bytes_: str) -> None:
    prepare = containers(pod(resources=resources))[PREPARE]

    assert {"name": MEMORY, "value": bytes_} in prepare["env"]


def test_the_autoscaler_owns_the_replicas_and_watches_envoy_alone() -> None:
    scaler = objects(min_replicas=3, max_replicas=5, target_cpu="1")["HorizontalPodAutoscaler"]["spec"]

    assert "replicas" not in deployment("team-a", RouterPods(), replicas=None)["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 5)
    (metric,) = scaler["metrics"]
    assert metric["containerResource"]["container"] == ENVOY
    assert metric["containerResource"]["target"] == {"type": "AverageValue", "averageValue": "1"}


def test_meshes_stay_out_unless_a_value_lets_them_in() -> None:
    out, within = pod()["metadata"], pod(mesh=True)["metadata"]

    assert out["labels"]["sidecar.istio.io/inject"] == out["annotations"]["sidecar.istio.io/inject"] == "false"
    assert out["annotations"]["linkerd.io/inject"] == "disabled"
    assert not [key for part in within.values() for key in part if "inject" in key]


def test_values_of_the_chart_reach_the_pods_and_cannot_take_them_from_their_selector() -> None:
    text = json.dumps(
        {
            "imagePullSecrets": [{"name": "pull"}],
            "podLabels": {"team": "ml", names.LABEL_ROUTER: "other"},
            "podAnnotations": {"a": "b"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "router"}],
            "priorityClassName": "high",
            "agentResources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
        }
    )
    template = router_objects("team-a", RouterPods.read(text, image="own.example/podium/router:1"), replicas=2)[2][
        "spec"
    ]["template"]

    assert {each["image"] for each in containers(template).values()} == {"own.example/podium/router:1"}
    assert template["metadata"]["labels"] | {"team": "ml"} == template["metadata"]["labels"]
    assert template["metadata"]["labels"][names.LABEL_ROUTER] == names.ROUTER
    assert template["metadata"]["annotations"]["a"] == "b"
    spec = template["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"disk": "ssd"}, [{"key": "router"}])
    assert (spec["priorityClassName"], spec["imagePullSecrets"]) == ("high", [{"name": "pull"}])
    assert containers(template)[AGENT]["resources"] == {"requests": {"cpu": "1m", "memory": "1Mi"}}


def test_without_settings_the_defaults_hold() -> None:
    assert RouterPods.read("", image="r:1") == RouterPods(image="r:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["no JSON"]),
        ('{"resources": {"limits": {"memory": "much"}}}', ["resources.limits.memory", "'much' is not a quantity"]),
        ('{"resources": {"limits": 512}}', ["resources.limits.memory"]),
        ("[]", ["an object"]),
        ('{"image": "r:2"}', ["unknown field image"]),
        ('{"replicas": 2}', ["unknown field replicas"]),
        ('{"minReplicas": "2"}', ["minReplicas", "'2'"]),
        ('{"minReplicas": true}', ["minReplicas", "True"]),
        ('{"minReplicas": 4, "maxReplicas": 3}', ["minReplicas <= maxReplicas", "4 and 3"]),
        ('{"concurrency": 0}', ["concurrency", "at least 1"]),
        ('{"drainSeconds": 0}', ["drainSeconds", "at least 1"]),
    ],
)
def test_settings_that_make_no_router_are_refused_by_name(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="routers'") as error:
        RouterPods.read(text, image="r:1")

    assert [word for word in words if word not in str(error.value)] == []
