"""Podium among what else a cluster does: Pod Security, quotas, people who change its objects, things that are missing."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import stage as s
from tests.client import Object, condition, path, wait
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.world import World, scene

PATIENCE = 30
"""Seconds within which what is missing or refused is said."""


@scene
def examples(world: World) -> dict[str, Object]:
    """Every file of examples/, applied as it is in one namespace of the restricted standard; who became Ready."""
    stage = world.stage("e2e-examples")
    stage.client.apply(dict(podium.credentials_secret(world.cluster, stage.namespace, "s3-models")))
    volume = Path(tempfile.mkdtemp(prefix="podium-volume-"))
    try:
        _digits_on(world, stage, volume)
        objects = [obj for file in sorted(ground.EXAMPLES.glob("*.yaml")) for obj in ground.example(file.stem)]
        for obj in objects:
            (stage.client if obj["kind"] == "ModelRuntime" else stage).apply(obj)
        models = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ModelDeployment"]
        found = {name: stage.until_ready(name) for name in models}
        pods = {"pods": stage.client.list("Pod", stage.namespace), "namespace": stage.client.get("Namespace", None,
                stage.namespace)}  # fmt: skip
        for name in models:
            stage.client.delete("ModelDeployment", stage.namespace, name)
        return {"models": found, **pods}
    finally:
        shutil.rmtree(volume)


def _digits_on(world: World, stage: s.Stage, volume: Path) -> None:
    """A volume that the example's claim binds to, with the model on it."""
    volume.chmod(0o755)
    folder = volume / "digits" / "1"
    folder.mkdir(parents=True)
    shutil.copy(world.digits.file("1"), folder / "model.onnx")
    (folder / "model.onnx").chmod(0o644)
    stage.client.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "e2e-models"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": stage.namespace, "name": "models"},
                "hostPath": {"path": str(volume)},
            },
        }
    )


def test_every_example_becomes_ready_in_a_namespace_of_the_restricted_standard(examples: dict[str, Any]) -> None:
    assert examples["namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(examples["models"]) == len(list(ground.EXAMPLES.glob("*.yaml")))
    assert all(s.ready(obj) for obj in examples["models"].values())
    assert {pod["metadata"]["labels"]["podium.dev/model"] for pod in examples["pods"]} == set(examples["models"])


def test_the_operator_runs_in_a_namespace_of_the_restricted_standard(world: World) -> None:
    # Asked without being carried out: would its pods be let in, if the namespace were held to the standard?
    label = "pod-security.kubernetes.io/enforce=restricted"
    said = world.cluster.kubectl("label", "--dry-run=server", "namespace", podium.NAMESPACE, label)
    assert "labeled" in said
    (deployment,) = world.client.list("Deployment", podium.NAMESPACE, ground.OPERATOR_PODS)
    pod = deployment["spec"]["template"]
    restricted = "e2e-restricted-operator"
    stage = world.stage(restricted)
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": restricted}}
    spec = {**pod["spec"], "serviceAccountName": "default", "serviceAccount": "default"}
    answer = stage.client.request("POST", path("Pod", restricted), params={"dryRun": "All"}, json={**obj, "spec": spec})
    assert answer.status_code == 201


@dataclass(frozen=True)
class Refused:
    """What was said about an update that a quota refused, and who served meanwhile."""

    said: Object
    champion: str
    after: Object
    pods: set[str]
    answer: str


@scene
def quota_on_pods(world: World) -> Refused:
    """An update in a namespace that has room for the champion's pods alone."""
    return _under_quota(world, "e2e-quota-pods", {"pods": "2"}, "FailedCreate")


@scene
def quota_on_deployments(world: World) -> Refused:
    """An update in a namespace that has room for the champion's Deployment alone."""
    return _under_quota(world, "e2e-quota-deployments", {"count/deployments.apps": "1"}, "Forbidden")


def _under_quota(world: World, namespace: str, hard: dict[str, str], reason: str) -> Refused:
    stage = world.stage(namespace)
    ground.plain_runtime(stage)
    stage.apply(ground.plain("one"))
    before = stage.until_ready("plain")["status"]["champion"]["revision"]
    pods = set(ground.pods_of(stage, "plain").values())
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    stage.apply(quota)

    def counted() -> bool:
        found = stage.client.get("ResourceQuota", namespace, "small").get("status", {})
        return bool(found.get("used"))

    wait("the quota counts", counted, 30)
    stage.apply(ground.plain("two"))
    said = ground.until_condition(stage, "plain", reason, "exceeded quota: small", seconds=PATIENCE)
    after = stage.get("plain")
    same = pods & set(ground.pods_of(stage, "plain").values())
    answer = world.cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/services/plain:80/proxy/")
    stage.client.delete("ModelDeployment", namespace, "plain")
    assert len(pods) == 2
    return Refused(said, before, after, same, answer)


def test_a_quota_on_pods_is_told_in_the_servers_words_and_the_champion_serves_on(quota_on_pods: Refused) -> None:
    _held(quota_on_pods, "pods=")


def test_a_quota_on_deployments_is_told_in_the_servers_words_and_the_champion_serves_on(
    quota_on_deployments: Refused,
) -> None:
    _held(quota_on_deployments, "count/deployments.apps=1")


def _held(seen: Refused, number: str) -> None:
    assert "forbidden: exceeded quota: small" in seen.said["message"]
    assert number in seen.said["message"]
    assert seen.after["status"]["champion"]["revision"] == seen.champion
    assert condition(seen.after, "Available")["status"] == "True"
    assert len(seen.pods) == 2
    assert f"revision {seen.champion}" in seen.answer


@scene
def drift(world: World) -> dict[str, float]:
    """Changes that people make to Podium's objects, and after how many seconds each was repaired, by the audit log."""
    stage = world.stage("e2e-drift")
    ground.plain_runtime(stage)
    stage.apply(ground.plain())
    revision = stage.until_ready("plain")["status"]["champion"]["revision"]
    client, ns = stage.client, stage.namespace

    def replicas() -> bool:
        return bool(client.get("Deployment", ns, revision)["spec"]["replicas"] == 2)

    def selector() -> bool:
        return "podium.dev/model" in client.get("Service", ns, "plain")["spec"]["selector"]

    def label() -> bool:
        return client.get("Service", ns, "plain")["metadata"]["labels"].get("podium.dev/model") == "plain"

    client.patch("Deployment", ns, revision, {"spec": {"replicas": 1}})
    wait("replicas are put back", replicas, 30)
    client.patch("Service", ns, "plain", {"spec": {"selector": {"podium.dev/model": None, "app": "other"}}})
    wait("the selector is put back", selector, 30)
    client.patch("Service", ns, "plain", {"metadata": {"labels": {"podium.dev/model": "other"}}})
    wait("the label is put back", label, 30)
    for kind, name in (("PodDisruptionBudget", "plain"), ("Service", "plain"), ("Deployment", revision)):
        client.delete(kind, ns, name)
        wait(f"the {kind} is back", lambda kind=kind, name=name: client.find(kind, ns, name), 30)  # type: ignore[misc]
    stage.until_ready("plain")
    repairs = _repairs(world, ns)
    client.delete("ModelDeployment", ns, "plain")
    return repairs


def _repairs(world: World, namespace: str) -> dict[str, float]:
    kinds = ("deployments", "services", "poddisruptionbudgets")

    def write(event: Object) -> bool:
        reference = event.get("objectRef") or {}
        return (
            ground.done(event)
            and reference.get("namespace") == namespace
            and reference.get("resource") in kinds
            and "subresource" not in reference
            and event["verb"] in ("patch", "create", "delete")
        )

    writes, found = ground.audited(world.cluster, write), {}
    for number, event in enumerate(writes):
        if event["user"]["username"] == "admin":
            kind = event["objectRef"]["resource"]
            later = (
                w
                for w in writes[number + 1 :]
                if w["user"]["username"] == ground.account() and w["objectRef"]["resource"] == kind
            )
            repair = next(later, None)
            took = ground.answered(repair) - ground.answered(event) if repair else float("inf")
            found[f"{number}: {event['verb']} {kind}"] = took
    return found


def test_what_people_change_of_podiums_objects_is_put_back_within_five_seconds(drift: dict[str, float]) -> None:
    assert len(drift) == 6
    assert all(took < 5 for took in drift.values()), drift


@scene
def missing(world: World) -> dict[str, Object]:
    """ModelDeployments that name a Secret, and a runtime, that do not exist."""
    stage = world.stage("e2e-missing")
    stage.apply(s.onnx("no-secret", "1", replicas=1, model={"credentialsSecret": "nobody-made-it"}))
    no_runtime = s.onnx("no-runtime", "1", replicas=1)
    no_runtime["spec"]["runtime"] = {"name": "nobody-has-it"}
    stage.apply(no_runtime)
    found = {
        "runtime": ground.until_condition(stage, "no-runtime", "RuntimeNotFound", seconds=PATIENCE),
        "secret": ground.until_condition(stage, "no-secret", "ConfigError", seconds=PATIENCE),
    }
    for name in ("no-secret", "no-runtime"):
        stage.client.delete("ModelDeployment", stage.namespace, name)
    return found


def test_a_missing_secret_is_a_condition_that_names_it(missing: dict[str, Object]) -> None:
    assert 'secret "nobody-made-it" not found' in missing["secret"]["message"]


def test_an_unknown_runtime_is_a_condition_that_names_it_and_the_way_out(missing: dict[str, Object]) -> None:
    assert '"nobody-has-it"' in missing["runtime"]["message"]
    assert "kubectl get modelruntimes" in missing["runtime"]["message"]
