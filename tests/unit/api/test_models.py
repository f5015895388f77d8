"""Reading specs: what comes out, what is refused and how the refusal reads, and what makes a revision."""

from typing import Any

import pytest
from hypothesis import given

from podium.api.v1alpha1 import InvalidSpec, ModelDeploymentSpec, ModelRuntimeSpec
from tests.strategies import model_deployment_specs, model_runtime_specs

RUNTIME = {"image": "server:1", "ports": {"http": 8080}, "probes": {"readiness": {"httpGet": {"port": "http"}}}}


def test_an_empty_spec_has_the_defaults_of_the_design() -> None:
    spec = ModelDeploymentSpec.parse({})
    assert (spec.replicas, spec.paused, spec.autoscaling, spec.model.uri) == (1, False, None, None)
    assert (spec.runtime.name, spec.traffic.router, spec.model.storage.size_limit) == ("onnxruntime", "None", "2Gi")
    assert spec.disruption.max_unavailable == 1
    assert spec.rollout.model_dump(by_alias=True) == {
        "strategy": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
        "steps": [{"weight": weight, "for": "1m", "pause": False} for weight in (5, 25, 50)],
        "minReadySeconds": 10,
        "progressDeadline": "10m",
        "maxDuration": "24h",
        "onInconclusive": "Rollback",
        "analysis": {"confidence": 0.95, "interval": "2s", "warmUp": "1m", "metrics": None},
        "promotion": "Automatic",
        "scaleDownDelay": "5m",
        "revisionHistoryLimit": 5,
    }


def test_a_runtime_has_the_defaults_of_the_design() -> None:
    spec = ModelRuntimeSpec.parse(RUNTIME)
    assert (spec.drain.pre_stop_seconds, spec.drain.seconds) == (5, 25)
    assert (spec.ports.grpc, spec.ports.metrics, spec.formats, spec.files) == (None, None, [], [])


@pytest.mark.parametrize(
    ("spec", "field", "value", "said"),
    [
        ({"replicas": "3"}, "spec.replicas", "3", "valid integer"),
        ({"replicas": -1}, "spec.replicas", -1, "greater than or equal to 0"),
        ({"autoscaling": {}}, "spec.autoscaling.maxReplicas", None, "must be set"),
        ({"rollout": {"strategy": "ABTest"}}, "spec.rollout.strategy", "ABTest", "RollingUpdate"),
        ({"rollout": {"steps": []}}, "spec.rollout.steps", [], "at least one"),
        ({"rollout": {"steps": [{}]}}, "spec.rollout.steps[0].weight", None, "or pause"),
        ({"rollout": {"steps": [{"weight": 0}]}}, "spec.rollout.steps[0].weight", 0, "greater than or equal to 1"),
        ({"rollout": {"steps": [{"weight": 100}]}}, "spec.rollout.steps[0].weight", 100, "less than or equal to 99"),
        (
            {"rollout": {"steps": [{"weight": 5, "pause": True}]}},
            "spec.rollout.steps[0].weight",
            5,
            "either weight, such as 25, or pause",
        ),
        ({"rollout": {"maxDuration": "59s"}}, "spec.rollout.maxDuration", "59s", "from 1m to 720h"),
        ({"rollout": {"onInconclusive": "Abort"}}, "spec.rollout.onInconclusive", "Abort", "'Rollback'"),
        ({"rollout": {"steps": [{"pause": True, "for": "1m"}]}}, "spec.rollout.steps[0].for", "1m", "remove it"),
        (
            {"rollout": {"steps": [{"weight": 25}, {"pause": True}, {"weight": 5}]}},
            "spec.rollout.steps",
            [25, 5],
            "must not fall",
        ),
        ({"traffic": {"router": "Gateway"}}, "spec.traffic.router", "Gateway", "Envoy"),
        ({"traffic": {"maxRequestBytes": "64MB"}}, "spec.traffic.maxRequestBytes", "64MB", "64Mi, 1Gi"),
        ({"traffic": {"timeout": "a minute"}}, "spec.traffic.timeout", "a minute", "such as 10m"),
        ({"rollout": {"progressDeadline": "1 hour"}}, "spec.rollout.progressDeadline", "1 hour", "such as 10m"),
        ({"rollout": {"rollingUpdate": {"maxSurge": "x"}}}, "spec.rollout.rollingUpdate.maxSurge", "x", "25%"),
        ({"model": {"uri": "gs://a/b"}}, "spec.model.uri", "gs://a/b", "s3://, https:// or pvc://"),
        (
            {"rollout": {"rollingUpdate": {"maxSurge": "0%"}}},
            "spec.rollout.rollingUpdate.maxSurge",
            "0%",
            "no pod could be replaced",
        ),
        (
            {"rollout": {"minReadySeconds": 600}},
            "spec.rollout.progressDeadline",
            "10m",
            "longer than minReadySeconds, 600 s",
        ),
        (
            {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
            "spec.autoscaling.minReplicas",
            3,
            "must not exceed maxReplicas, 2",
        ),
        ({"replicas": 0, "autoscaling": {"maxReplicas": 2}}, "spec.replicas", 0, "remove autoscaling"),
        ({"runtime": {"env": [{"name": "A"}, {"name": "A"}]}}, "spec.runtime.env[1].name", "A", "twice"),
        # What would give more than its author has, whatever CRD let it in.
        ({"runtime": {"env": [{"name": "PODIUM_X"}]}}, "spec.runtime.env[0].name", "PODIUM_X", "Podium's own"),
        (
            {"podTemplate": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}},
            "spec.podTemplate.volumes[0]",
            "hostPath",
            "refused",
        ),
        (
            {"podTemplate": {"volumes": [{"name": "podium-x", "emptyDir": {}}]}},
            "spec.podTemplate.volumes[0].name",
            "podium-x",
            "Podium's own",
        ),
        (
            {"podTemplate": {"labels": {"podium.dev/model": "x"}}},
            "spec.podTemplate.labels",
            "podium.dev/model",
            "Podium",
        ),
        (
            {"podTemplate": {"labels": {"app.kubernetes.io/managed-by": "x"}}},
            "spec.podTemplate.labels",
            "app.kubernetes.io/managed-by",
            "leave it out",
        ),
        (
            {"podTemplate": {"annotations": {"container.apparmor.security.beta.kubernetes.io/model": "unconfined"}}},
            "spec.podTemplate.annotations",
            "container.apparmor.security.beta.kubernetes.io/model",
            "security profile",
        ),
        (
            {"podTemplate": {"securityContext": {"runAsUser": 0}}},
            "spec.podTemplate.securityContext.runAsUser",
            0,
            "greater than or equal to 1",
        ),
    ],
)
def test_a_refusal_names_the_field_the_value_and_the_way_out(
    spec: dict[str, Any], field: str, value: object, said: str
) -> None:
    with pytest.raises(InvalidSpec) as error:
        ModelDeploymentSpec.parse(spec)
    assert (error.value.field, error.value.value) == (field, value)
    assert said in error.value.message
    assert str(error.value).startswith(f"{field}: ")
    assert value is None or str(value) in str(error.value)


@pytest.mark.parametrize("version", ["a\x07b", "\x1b[31m7", "7\x7f", "7\u009b0m7"])
def test_control_characters_are_refused_in_a_version_and_in_the_uri_that_gives_one(version: str) -> None:
    with pytest.raises(InvalidSpec, match=r"spec.model.version: .*control characters"):
        ModelDeploymentSpec.parse({"model": {"version": version}})
    with pytest.raises(InvalidSpec, match=r"spec.model.uri: .*control characters"):
        ModelDeploymentSpec.parse({"model": {"uri": f"s3://models/fraud/{version}"}})


def test_a_runtime_with_an_unknown_variable_is_refused_at_its_string() -> None:
    probes = {"readiness": {"exec": {"command": ["ready", "--model={{name}}"]}}}
    with pytest.raises(InvalidSpec, match=r"spec.probes.readiness.exec.command\[1\].*\{\{name\}\} is no variable"):
        ModelRuntimeSpec.parse(RUNTIME | {"probes": probes})


def test_a_runtime_whose_ports_collide_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"spec.ports.grpc: .*8080.* differ from http"):
        ModelRuntimeSpec.parse(RUNTIME | {"ports": {"http": 8080, "grpc": 8080}})


def test_fields_of_a_newer_crd_are_passed_over() -> None:
    """While an upgrade is under way the CRD is newer than the operator, and its defaults are in every object."""
    newer = {"traffic": {"timeout": "60s", "router": "None"}, "rollout": {"maxDuration": "24h"}, "mirror": {}}
    assert ModelDeploymentSpec.parse(newer) == ModelDeploymentSpec()


def test_inputs_of_an_empty_spec_are_empty() -> None:
    assert ModelDeploymentSpec.parse({}).inputs() == {}


def test_inputs_leave_out_what_equals_its_default_and_what_makes_no_revision() -> None:
    spec = ModelDeploymentSpec.parse(
        {
            "model": {"uri": "s3://m/1", "storage": {"sizeLimit": "2Gi"}},
            "runtime": {"name": "onnxruntime", "env": [{"name": "A", "value": "1"}], "args": []},
            "podTemplate": {"labels": {}, "securityContext": {"fsGroup": 7}},
            "replicas": 9,
            "paused": True,
            "rollout": {"strategy": "BlueGreen", "maxDuration": "1h", "analysis": {"confidence": 0.99, "metrics": []}},
        }
    )
    assert spec.inputs() == {
        "model": {"uri": "s3://m/1"},
        "runtime": {"env": [{"name": "A", "value": "1"}]},
        "podTemplate": {"securityContext": {"fsGroup": 7}},
    }


ERRORS = {"name": "errors", "type": "ErrorRate"}
SLOW = {"name": "slow", "type": "Latency", "threshold": "250ms"}


def canary(**analysis: Any) -> dict[str, Any]:
    """A spec that may name metrics."""
    return {"traffic": {"router": "Envoy"}, "rollout": {"strategy": "Canary", "analysis": analysis}}


def test_an_analysis_is_read_as_it_is_written_and_what_is_absent_is_none() -> None:
    ratios = {"maxRatio": 2, "harmRatio": 1.5, "tolerate": "0.1%"}
    spec = ModelDeploymentSpec.parse(
        canary(confidence=0.99, interval="1s", warmUp="0s", metrics=[ERRORS, SLOW | ratios])
    )
    analysis = spec.rollout.analysis
    assert (analysis.confidence, analysis.interval, analysis.warm_up) == (0.99, "1s", "0s")
    assert analysis.metrics is not None
    errors, slow = analysis.metrics
    assert (errors.name, errors.type, slow.name, slow.type) == ("errors", "ErrorRate", "slow", "Latency")
    assert (errors.max_ratio, errors.harm_ratio, errors.tolerate, errors.threshold) == (None, None, None, None)
    assert (slow.max_ratio, slow.harm_ratio, slow.tolerate, slow.threshold) == (2, 1.5, "0.1%", "250ms")


@pytest.mark.parametrize(
    ("analysis", "field", "value", "said"),
    [
        ({"confidence": 95}, "confidence", 95, "write 0.95 for 95 percent"),
        ({"confidence": 0.49}, "confidence", 0.49, "from 0.5 to 0.999"),
        ({"confidence": 0.9991}, "confidence", 0.9991, "from 0.5 to 0.999"),
        ({"confidence": "0.95"}, "confidence", "0.95", "valid number"),
        ({"confidence": float("nan")}, "confidence", None, "from 0.5 to 0.999"),
        ({"interval": "999ms"}, "interval", "999ms", "from 1s to 60s"),
        ({"interval": "61s"}, "interval", "61s", "from 1s to 60s"),
        ({"interval": "2"}, "interval", "2", "must be a duration"),
        ({"warmUp": "1h1s"}, "warmUp", "1h1s", "from 0s to 1h"),
        ({"metrics": "errors"}, "metrics", "errors", "must be a list"),
        ({"metrics": [ERRORS | {"name": f"e{n}"} for n in range(21)]}, "metrics", None, "at most 20"),
        ({"metrics": [{"type": "ErrorRate"}]}, "metrics[0].name", None, "must be set"),
        ({"metrics": [{"name": "errors"}]}, "metrics[0].type", None, "must be set"),
        ({"metrics": [ERRORS | {"name": "Errors"}]}, "metrics[0].name", "Errors", "such as errors"),
        ({"metrics": [ERRORS | {"name": "e" * 31}]}, "metrics[0].name", "e" * 31, "at most 30"),
        ({"metrics": [ERRORS | {"type": "Accuracy"}]}, "metrics[0].type", "Accuracy", "'ErrorRate'"),
        ({"metrics": [ERRORS | {"maxRatio": 1}]}, "metrics[0].maxRatio", 1, "above 1"),
        ({"metrics": [ERRORS | {"maxRatio": 101}]}, "metrics[0].maxRatio", 101, "at most 100"),
        ({"metrics": [ERRORS | {"harmRatio": 0.9}]}, "metrics[0].harmRatio", 0.9, "from 1 to 100"),
        ({"metrics": [ERRORS | {"harmRatio": 1.6}]}, "metrics[0].harmRatio", 1.6, "above maxRatio, 1.5"),
        ({"metrics": [SLOW | {"maxRatio": 2, "harmRatio": 2.5}]}, "metrics[0].harmRatio", 2.5, "above maxRatio, 2"),
        ({"metrics": [ERRORS | {"tolerate": "0.1"}]}, "metrics[0].tolerate", "0.1", "with % behind it"),
        ({"metrics": [ERRORS | {"tolerate": "100%"}]}, "metrics[0].tolerate", "100%", "below 100"),
        ({"metrics": [ERRORS | {"tolerate": 0.1}]}, "metrics[0].tolerate", 0.1, "valid string"),
        ({"metrics": [ERRORS | {"threshold": "1s"}]}, "metrics[0].threshold", "1s", "set type to Latency"),
        ({"metrics": [SLOW | {"threshold": "0ms"}]}, "metrics[0].threshold", "0ms", "from 1ms to 10m"),
        ({"metrics": [SLOW, ERRORS | {"name": "slow"}]}, "metrics[1].name", "slow", "occurs twice: rename"),
        ({"metrics": [ERRORS, ERRORS | {"name": "again"}]}, "metrics[1]", "again", "asks the same as errors"),
        (
            {"metrics": [SLOW, SLOW | {"name": "again", "maxRatio": 1.5, "harmRatio": 1.5, "tolerate": "1%"}]},
            "metrics[1]",
            "again",
            "asks the same as slow",
        ),
    ],
)
def test_a_refused_analysis_names_the_field_the_value_and_the_way_out(
    analysis: dict[str, Any], field: str, value: object, said: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        ModelDeploymentSpec.parse(canary(**analysis))
    assert caught.value.field == f"spec.rollout.analysis.{field}"
    assert said in str(caught.value)
    if value is not None:
        assert caught.value.value == value
        assert repr(str(value)) in str(caught.value)


def test_two_metrics_of_one_type_may_ask_for_different_things() -> None:
    thrice = [ERRORS, ERRORS | {"name": "many", "maxRatio": 3}, ERRORS | {"name": "any", "tolerate": "0%"}]
    twice = [SLOW, {"name": "slower-than-most", "type": "Latency"}]
    assert ModelDeploymentSpec.parse(canary(metrics=thrice + twice)).rollout.analysis.metrics


@pytest.mark.parametrize(
    ("router", "strategy"), [("None", "Canary"), ("Envoy", "BlueGreen"), ("None", "RollingUpdate")]
)
def test_all_that_is_named_but_errors_needs_routers_and_a_canary(router: str, strategy: str) -> None:
    def spec(metrics: dict[str, Any]) -> dict[str, Any]:
        return {"traffic": {"router": router}, "rollout": {"strategy": strategy, "analysis": metrics}}

    with pytest.raises(InvalidSpec, match=r"need traffic.router: Envoy .* or leave ErrorRate alone") as caught:
        ModelDeploymentSpec.parse(spec({"metrics": [ERRORS, SLOW]}))
    assert (caught.value.field, caught.value.value) == ("spec.rollout.analysis.metrics", ["slow"])
    assert ModelDeploymentSpec.parse(spec({"metrics": [ERRORS]})).rollout.analysis.metrics
    assert ModelDeploymentSpec.parse(spec({})).rollout.analysis.metrics is None
    assert ModelDeploymentSpec.parse(spec({"metrics": []})).rollout.analysis.metrics == ()


@given(spec=model_deployment_specs())
def test_inputs_say_all_that_makes_a_revision(spec: dict[str, Any]) -> None:
    """A spec made of its inputs alone has the same inputs, and, former defaults aside, the same model and so on."""
    first = ModelDeploymentSpec.parse(spec)
    again = ModelDeploymentSpec.parse(first.inputs())
    assert again.inputs() == first.inputs()
    if first.model.storage.size_limit != "10Gi":
        assert (again.model, again.runtime, again.pod_template) == (first.model, first.runtime, first.pod_template)


@given(spec=model_deployment_specs())
def test_defaults_written_out_change_no_inputs(spec: dict[str, Any]) -> None:
    parsed = ModelDeploymentSpec.parse(spec)
    assert ModelDeploymentSpec.parse(parsed.model_dump(by_alias=True)).inputs() == parsed.inputs()


@given(spec=model_runtime_specs())
def test_a_runtime_read_from_what_it_says_is_the_same(spec: dict[str, Any]) -> None:
    parsed = ModelRuntimeSpec.parse(spec)
    assert ModelRuntimeSpec.parse(parsed.wire()) == parsed
