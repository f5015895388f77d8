"""The model container: runtime first, then what the user's spec adds."""

from typing import Any

import pytest

from podium.manifests.errors import Unresolvable
from podium.manifests.fetch import Fetcher
from podium.manifests.revision import resolve
from tests.unit.manifests.examples import MODEL, OWNER, POLICIES, builtin, model_container, pod, revision, runtime, spec


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item.get("value") for item in container["env"]}


def test_every_model_container_knows_its_model_revision_and_version() -> None:
    made = revision(spec(model=MODEL | {"version": "2026-11 b"}))

    variables = env(made.template["spec"]["containers"][0])
    assert variables["PODIUM_MODEL"] == "fraud"
    assert variables["PODIUM_REVISION"] == made.name
    assert variables["PODIUM_MODEL_VERSION"] == "2026-11 b"
    assert variables["PODIUM_MODEL_PATH"] == "/models/model"
    assert variables["PODIUM_HTTP_PORT"] == "9000"


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ({"uri": "s3://models/fraud/7"}, "7"),
        ({"uri": "s3://models/fraud/7/"}, "7"),
        ({"uri": "https://host/a/model.onnx?x=1"}, "a"),
        ({"uri": "pvc://claim"}, "claim"),
        ({"uri": "s3://m/7", "version": "eight"}, "eight"),
        ({}, ""),
    ],
)
def test_the_version_is_the_users_or_the_last_segment_of_the_uri(model: dict[str, Any], version: str) -> None:
    made = revision(spec(model=model))

    assert made.version == version
    assert env(made.template["spec"]["containers"][0]).get("PODIUM_MODEL_VERSION", "") == version
    assert made.template["metadata"].get("annotations", {}).get("podium.dev/version", "") == version


def test_the_version_is_no_label() -> None:
    labels = revision(spec(model=MODEL | {"version": "v8"})).template["metadata"]["labels"]

    assert "v8" not in labels.values()


def test_env_is_merged_by_name_and_the_users_wins() -> None:
    run = runtime(env=[{"name": "A", "value": "runtime"}, {"name": "B", "value": "{{model}}"}])
    user = spec(runtime={"env": [{"name": "A", "value": "{{user}}"}, {"name": "C", "value": "user"}]})

    variables = model_container(user, run)["env"]

    assert variables[-3:] == [
        {"name": "A", "value": "{{user}}"},
        {"name": "B", "value": "fraud"},
        {"name": "C", "value": "user"},
    ]


def test_args_are_appended_to_the_runtimes_and_the_users_are_no_templates() -> None:
    container = model_container(spec(runtime={"args": ["--{{x}}"]}), runtime(args=["--port={{httpPort}}"]))

    assert container["args"] == ["--port=9000", "--{{x}}"]


def test_the_users_image_wins() -> None:
    assert model_container()["image"] == "example/plain:1"
    assert model_container(spec(runtime={"image": "mine@sha256:00"}))["image"] == "mine@sha256:00"


@pytest.mark.parametrize(("image", "policy"), POLICIES.items())
def test_an_image_is_pulled_as_Kubernetes_would_by_its_tag(image: str, policy: str) -> None:
    assert model_container(spec(runtime={"image": image}))["imagePullPolicy"] == policy
    assert model_container(run=runtime(image=image))["imagePullPolicy"] == policy
    fetcher = Fetcher(image=image)
    made = resolve(OWNER, spec(), runtime(), fetcher, number=1).template["spec"]["initContainers"][0]
    assert made["imagePullPolicy"] == policy


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never"])
def test_the_users_pull_policy_is_the_model_containers(policy: str) -> None:
    user = spec(runtime={"imagePullPolicy": policy})

    assert model_container(user)["imagePullPolicy"] == policy
    assert pod(user)["initContainers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert user.inputs()["runtime"] == {"imagePullPolicy": policy}


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ({}, {}, {}),
        ({"limits": {"cpu": "1"}}, {}, {"limits": {"cpu": "1"}}),
        ({"limits": {"cpu": "1"}}, {"limits": {"memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
        (
            {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}},
            {"limits": {"memory": "1Gi"}},
            {"limits": {"memory": "1Gi"}},
        ),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "2"}}, {"requests": {"cpu": "2"}}),
    ],
)
def test_a_resource_that_the_user_names_is_wholly_the_users(
    ours: dict[str, Any], theirs: dict[str, Any], merged: dict[str, Any]
) -> None:
    own_model = spec(model={}, runtime={"resources": theirs})  # nothing is fetched, and no disk is set aside for it
    assert model_container(own_model, runtime(resources=ours))["resources"] == merged


def test_ports_are_named_and_one_number_is_listed_once() -> None:
    made = revision(run=runtime(ports={"http": 9000, "grpc": 9001, "metrics": 9000}))

    assert made.ports == {"http": 9000, "grpc": 9001, "metrics": 9000}
    assert made.template["spec"]["containers"][0]["ports"] == [
        {"name": "http", "containerPort": 9000, "protocol": "TCP"},
        {"name": "grpc", "containerPort": 9001, "protocol": "TCP"},
    ]


@pytest.mark.parametrize(
    ("startup", "threshold"),
    [
        (None, 3600),
        ({"tcpSocket": {"port": "http"}, "periodSeconds": 7, "failureThreshold": 3}, 515),
        ({"exec": {"command": ["ready", "{{model}}"]}, "periodSeconds": 2}, 1800),
    ],
)
def test_the_startup_probe_has_one_hour_whatever_the_runtime_says(
    startup: dict[str, Any] | None, threshold: int
) -> None:
    probes = {"readiness": {"httpGet": {"path": "/ready", "port": "http"}, "successThreshold": 2, "periodSeconds": 9}}
    made = model_container(run=runtime(probes=probes | ({"startup": startup} if startup else {})))["startupProbe"]

    assert made["failureThreshold"] == threshold
    assert made["failureThreshold"] * made["periodSeconds"] >= 3600
    if startup is None:
        assert made == {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 3600}
    if startup and "exec" in startup:
        assert made["exec"]["command"] == ["ready", "fraud"]


def test_the_pod_waits_before_it_stops_and_has_the_sum_of_the_drain_to_end() -> None:
    made = pod(run=runtime(drain={"preStopSeconds": 7, "seconds": 40}))

    assert made["terminationGracePeriodSeconds"] == 47
    assert made["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert env(made["containers"][0])["PODIUM_GRACE_SECONDS"] == "35"


def test_the_users_grace_period_wins() -> None:
    made = pod(spec(podTemplate={"terminationGracePeriodSeconds": 90}))

    assert made["terminationGracePeriodSeconds"] == 90
    assert env(made["containers"][0])["PODIUM_GRACE_SECONDS"] == "80"


def test_a_grace_period_that_pre_stop_uses_up_is_refused() -> None:
    user = spec(podTemplate={"terminationGracePeriodSeconds": 5})

    with pytest.raises(
        Unresolvable, match=r"terminationGracePeriodSeconds: 5 does not exceed the 5 s .* more than 5"
    ) as error:
        pod(user)
    assert error.value.reason == "InvalidSpec"


def test_a_drain_without_pre_stop_has_no_hook() -> None:
    assert "lifecycle" not in model_container(run=runtime(drain={"preStopSeconds": 0}))


@pytest.mark.parametrize(
    ("run", "user", "reason", "message"),
    [
        ({"args": ["{{path}}"]}, {"model": {}}, "InvalidRuntime", r"uses \{\{path\}\}.*spec.model.uri must be set"),
        ({"args": ["{{cpuLimit}}"]}, {}, "InvalidRuntime", r"spec.runtime.resources.limits.cpu must be set"),
        ({"args": ["{{grpcPort}}"]}, {}, "InvalidRuntime", r"\{\{grpcPort\}\} has no value here"),
        (
            {"formats": ["onnx", "mar"]},
            {"model": {"format": "pmml"}},
            "UnsupportedFormat",
            r"does not serve pmml, but onnx, mar",
        ),
        (
            {"files": [{"path": "/models/x", "template": ""}]},
            {},
            "InvalidRuntime",
            r"the file /models/x would lie in /models",
        ),
        (
            {},
            {"podTemplate": {"volumeMounts": [{"name": "v", "mountPath": "/models/"}]}},
            "InvalidSpec",
            r"volumeMounts\[0\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field_and_the_way_out(
    run: dict[str, Any], user: dict[str, Any], reason: str, message: str
) -> None:
    with pytest.raises(Unresolvable, match=message) as error:
        revision(spec(**user), runtime(**run))
    assert error.value.reason == reason


def test_template_variables_are_filled() -> None:
    run = runtime(
        ports={"http": 1, "grpc": 2, "metrics": 3},
        formats=["onnx"],
        args=[
            "{{namespace}}/{{model}} {{uri}} {{path}} {{format}} {{version}} {{httpPort}}-{{grpcPort}}-{{metricsPort}}"
        ],
        env=[{"name": "CPU", "value": "{{cpuLimit}}"}, {"name": "MEMORY", "value": "{{memoryLimit}}"}],
        resources={"limits": {"cpu": "1500m", "memory": "1Gi"}},
    )

    container = model_container(run=run)

    assert container["args"] == ["ml/fraud s3://models/fraud/7 /models/model onnx 7 1-2-3"]
    assert env(container)["CPU"] == "2"
    assert env(container)["MEMORY"] == str(2**30)


SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


@pytest.mark.parametrize(
    ("uri", "theirs", "named"),
    [
        ("s3://m/7", None, "podium-tmp,podium-models"),
        ("pvc://store/7", None, "podium-tmp,podium-models"),
        (None, None, "podium-tmp"),
        ("s3://m/7", "cache, spool,,podium-tmp", "cache,spool,podium-tmp,podium-models"),
        ("s3://m/7", "", "podium-tmp,podium-models"),
    ],
)
def test_podiums_own_emptydirs_keep_no_node_from_being_removed(uri: str | None, theirs: str | None, named: str) -> None:
    """The cluster autoscaler leaves a node alone that has a pod with local volumes which nobody calls dispensable."""
    volumes = [{"name": "cache", "emptyDir": {}}]
    annotations = {} if theirs is None else {SAFE: theirs}
    user = spec(model={"uri": uri} if uri else {}, podTemplate={"volumes": volumes, "annotations": annotations})

    template = revision(user).template

    assert template["metadata"]["annotations"][SAFE] == named
    # all of our emptyDirs are named, and nobody else's unless they named it themselves
    ours = {each["name"] for each in template["spec"]["volumes"] if "emptyDir" in each} - {"cache"}
    assert set(named.split(",")) - set((theirs or "").replace(" ", "").split(",")) - ours == set()
    assert ours <= set(named.split(","))


def test_files_travel_in_annotations_and_are_mounted_where_the_runtime_wants_them() -> None:
    run = runtime(
        files=[{"path": "/etc/a.conf", "template": "model={{model}}"}, {"path": "/b/c", "template": "{{revision}}"}]
    )

    made = revision(run=run)

    assert made.template["metadata"]["annotations"]["podium.dev/file-0"] == "model=fraud"
    assert made.template["metadata"]["annotations"]["podium.dev/file-1"] == made.name
    mounts = {mount["mountPath"]: mount for mount in made.template["spec"]["containers"][0]["volumeMounts"]}
    assert mounts["/b/c"] == {"name": "podium-files", "mountPath": "/b/c", "subPath": "file-1", "readOnly": True}
    volumes = {volume["name"]: volume for volume in made.template["spec"]["volumes"]}
    assert volumes["podium-files"]["downwardAPI"]["items"][1] == {
        "path": "file-1",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.annotations['podium.dev/file-1']"},
    }


def test_the_users_pod_template_is_taken_over() -> None:
    template = {
        "labels": {"team": "risk"},
        "annotations": {"note": "x"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "pull"}],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }

    made = revision(spec(podTemplate=template)).template

    assert made["metadata"]["labels"]["team"] == "risk"
    assert made["metadata"]["annotations"]["note"] == "x"
    for field in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "serviceAccountName",
        "imagePullSecrets",
        "priorityClassName",
    ):
        assert made["spec"][field] == template[field]
    assert made["spec"]["runtimeClassName"] == "gvisor"
    assert {"name": "v", "emptyDir": {}} in made["spec"]["volumes"]
    assert {"name": "v", "mountPath": "/v"} in made["spec"]["containers"][0]["volumeMounts"]


def test_onnxruntime_takes_no_grpc_port_until_it_speaks_grpc() -> None:
    assert revision(run=builtin("onnxruntime")).ports == {"http": 8080}
