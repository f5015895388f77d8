"""Podium among what else a cluster does: Pod Security for itself, a quota on its objects, things that are missing."""

from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, condition, path, wait
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.world import World, scene

PATIENCE = 120
"""Seconds within which what is missing or refused is said."""


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
def missing(world: World) -> dict[str, Object]:
    """ModelDeployments that name a Secret, a Secret to be mounted, and a runtime, that do not exist."""
    stage = world.stage("e2e-missing")
    stage.apply(s.onnx("no-secret", "1", replicas=1, model={"credentialsSecret": "nobody-made-it"}))
    volume = {"name": "extra", "secret": {"secretName": "nobody-made-it"}}
    mount = {"name": "extra", "mountPath": "/extra"}
    stage.apply(s.onnx("no-volume", "1", replicas=1, podTemplate={"volumes": [volume], "volumeMounts": [mount]}))
    no_runtime = s.onnx("no-runtime", "1", replicas=1)
    no_runtime["spec"]["runtime"] = {"name": "nobody-has-it"}
    stage.apply(no_runtime)
    found = {
        "runtime": ground.until_condition(stage, "no-runtime", "RuntimeNotFound", seconds=PATIENCE),
        "secret": ground.until_condition(stage, "no-secret", "ConfigError", seconds=PATIENCE),
        "volume": ground.until_condition(stage, "no-volume", "ConfigError", seconds=PATIENCE),
    }
    for name in ("no-secret", "no-volume", "no-runtime"):
        stage.client.delete("ModelDeployment", stage.namespace, name)
    return found


def test_a_missing_secret_is_a_condition_that_names_it(missing: dict[str, Object]) -> None:
    assert 'secret "nobody-made-it" not found' in missing["secret"]["message"]


def test_a_volume_that_cannot_be_mounted_is_a_condition_that_says_where_its_cause_stands(
    missing: dict[str, Object],
) -> None:
    assert "waits for its volumes or its network: kubectl describe pod no-volume-" in missing["volume"]["message"]


def test_an_unknown_runtime_is_a_condition_that_names_it_and_the_way_out(missing: dict[str, Object]) -> None:
    assert '"nobody-has-it"' in missing["runtime"]["message"]
    assert "kubectl get modelruntimes" in missing["runtime"]["message"]
