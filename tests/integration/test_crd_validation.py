"""What the API server makes of the CRDs: every constraint and every CEL rule, enumerated from the files themselves."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from podium.api import names, status
from podium.api.base import ApiModel
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from tests.cluster.binaries import KUBERNETES, OTHER_APISERVERS, apiserver
from tests.cluster.controlplane import ControlPlane
from tests.integration import crd_samples as samples
from tests.integration.crd_cases import CASES, NAMES
from tests.integration.rest import CRDS, PLURALS, Answer, Rest, new, path_of
from tests.strategies import model_deployment_specs, model_runtime_specs

Schema = dict[str, Any]
KINDS = tuple(PLURALS)
MODELS: dict[str, type[ApiModel]] = {"ModelDeployment": ModelDeploymentSpec, "ModelRuntime": ModelRuntimeSpec}


def schema_of(kind: str) -> Schema:
    crd = yaml.safe_load((CRDS / f"{names.GROUP}_{PLURALS[kind]}.yaml").read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


SCHEMAS = {kind: schema_of(kind) for kind in KINDS}
NODES = [
    (kind, *node) for kind in KINDS for node in samples.places(SCHEMAS[kind]) if node[0][:1] in (("spec",), ("status",))
]
RULES = [
    (kind, place, rule)
    for kind in KINDS
    for place, node in samples.places(SCHEMAS[kind])
    for rule in node.get("x-kubernetes-validations", [])
]
FIELD_RULES = [rule for rule in RULES if rule[1]]
NAME_RULES = [rule for rule in RULES if not rule[1]]


@pytest.fixture(scope="module", params=(OTHER_APISERVERS[0], KUBERNETES, OTHER_APISERVERS[1]))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """An API server of one version with the CRDs, and an object named `live` for what needs one."""
    other = None if request.param == KUBERNETES else apiserver(request.param)
    with ControlPlane(tmp_path_factory.mktemp("plane"), apiserver=other) as plane:
        assert request.param in plane.kubectl("get", "--raw", "/version")
        plane.install_crds(CRDS)
        with Rest(plane.kubeconfig(), tmp_path_factory.mktemp("identity")) as rest:
            assert rest.create(new("ModelDeployment", name="live"), keep=True).ok
            yield rest


def ask(server: Rest, kind: str, place: samples.Place, value: Any) -> Answer:
    """Whether an object with `value` at `place` would be taken."""
    body = samples.build(SCHEMAS[kind], place, value)
    if place[0] == "status":
        return server.merge(kind, "live", body, "status", dryRun="All")
    return server.create(new(kind) | body)


@pytest.mark.parametrize("keyword", sorted(samples.HANDLED))
def test_a_value_that_breaks_a_constraint_is_refused_at_its_field(server: Rest, keyword: str) -> None:
    silent, broken = [], 0
    for kind, place, node in NODES:
        for violation in samples.violations(SCHEMAS[kind], place, node):
            if violation.keyword != keyword:
                continue
            broken += 1
            answer = ask(server, kind, place, violation.value)
            if answer.code != 422 or violation.field not in {field for field, _ in answer.causes}:
                silent.append(f"{kind} {violation.field} {violation.value!r:.80}: {answer.code} {answer.causes}")
    assert not silent
    assert broken, f"no schema has {keyword}: take it out of the table"


def test_each_of_those_objects_is_taken_once_it_is_corrected_and_can_be_read(server: Rest) -> None:
    refused = []
    for kind, place, node in NODES:
        answer = ask(server, kind, place, samples.sample(node, place))
        if not answer.ok:
            refused.append(f"{kind} {samples.dotted(place)}: {answer.causes}")
        elif place[0] == "spec":
            MODELS[kind].parse(answer.body["spec"])
    assert not refused


def test_no_constraint_of_the_crds_is_left_out() -> None:
    keywords = {keyword for _, _, node in NODES for keyword in node}
    assert keywords <= samples.HANDLED | samples.NO_CONSTRAINTS


def says(rule: Schema, text: str) -> bool:
    """Whether `text` is the rule's sentence; one that shows a value differs in its beginning or has it at its end."""
    return str(rule["message"]).rpartition("; ")[2] in text


@pytest.mark.parametrize(
    ("kind", "place", "rule"),
    FIELD_RULES,
    ids=[f"{rule[0]}.{samples.dotted(rule[1])}-{rule[2]['message'][:40]}" for rule in FIELD_RULES],
)
def test_a_value_that_breaks_a_rule_draws_its_sentence_and_the_corrected_one_is_taken(
    server: Rest, kind: str, place: samples.Place, rule: Schema
) -> None:
    case = CASES[rule["message"]]
    field = samples.dotted(place) + rule.get("fieldPath", "")
    for bad in case.bad:
        answer = ask(server, kind, place, bad)
        assert answer.code == 422, f"{bad!r} was taken"
        assert {at for at, _ in answer.causes} == {field}, bad
        said = [text for _, text in answer.causes if says(rule, text)]
        assert said, answer.causes
        shown = "messageExpression" in rule
        assert not (shown and any(text.endswith(rule["message"]) for text in said)), f"{bad!r} is not shown: {said}"
    answer = ask(server, kind, place, case.good)
    assert answer.ok, answer.causes


@pytest.mark.parametrize(("kind", "place", "rule"), NAME_RULES, ids=[rule[2]["message"][:40] for rule in NAME_RULES])
def test_a_name_that_breaks_a_rule_draws_its_sentence_and_the_corrected_one_is_taken(
    server: Rest, kind: str, place: samples.Place, rule: Schema
) -> None:
    case = NAMES[rule["message"]]
    for bad in case.bad:
        answer = server.create(new(kind, name=bad))
        assert (answer.code, len(answer.causes)) == (422, 1), bad
        assert says(rule, answer.causes[0][1])
    assert server.create(new(kind, name=case.good)).ok


def test_no_case_is_left_over_from_a_rule_that_is_gone() -> None:
    said = {rule["message"] for _, _, rule in RULES}
    assert said == {*CASES, *NAMES}


def test_an_empty_object_gets_every_default_of_the_models(server: Rest) -> None:
    answer = server.create(new("ModelDeployment"))
    given_ = answer.body["spec"]
    assert given_ == without_empty(ModelDeploymentSpec().model_dump(by_alias=True))
    assert ModelDeploymentSpec.parse(given_) == ModelDeploymentSpec()


def without_empty(value: Any) -> Any:
    """None, [] and {} mean an absent field: they are no defaults on the wire."""
    if not isinstance(value, dict):
        return value
    kept = {key: without_empty(part) for key, part in value.items()}
    return {key: part for key, part in kept.items() if part not in (None, [], {})}


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(spec=model_deployment_specs())
def test_any_valid_model_deployment_is_taken_kept_whole_and_read(server: Rest, spec: Schema) -> None:
    answer = server.create(new("ModelDeployment", spec), fieldValidation="Strict")
    assert answer.ok, answer.causes
    assert is_part(spec, answer.body["spec"])
    assert ModelDeploymentSpec.parse(answer.body["spec"]) == ModelDeploymentSpec.parse(spec)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(spec=model_runtime_specs())
def test_any_valid_model_runtime_is_taken_kept_whole_and_read(server: Rest, spec: Schema) -> None:
    answer = server.create(new("ModelRuntime", spec), fieldValidation="Strict")
    assert answer.ok, answer.causes
    assert is_part(spec, answer.body["spec"])
    assert ModelRuntimeSpec.parse(answer.body["spec"]) == ModelRuntimeSpec.parse(spec)


def is_part(small: Any, whole: Any) -> bool:
    """Whether `whole` says all that `small` says; it may hold more fields."""
    if isinstance(small, dict):
        return isinstance(whole, dict) and all(
            key in whole and is_part(part, whole[key]) for key, part in small.items()
        )
    if isinstance(small, list):
        return isinstance(whole, list) and len(small) == len(whole) and all(map(is_part, small, whole))
    return bool(small == whole)


def test_a_new_object_is_pending_for_whoever_reads_it(server: Rest) -> None:
    """The default holds on the answer to the creation, a read, a list, and after somebody wiped the status."""
    created = server.create(new("ModelDeployment", name="waiting") | {"status": {"phase": "Healthy"}}, keep=True)
    read = server.call("GET", path_of("ModelDeployment", "waiting"))
    listed = server.call("GET", path_of("ModelDeployment"), fieldSelector="metadata.name=waiting")
    wiped = server.merge("ModelDeployment", "waiting", {"status": None}, "status")
    for body in (created.body, read.body, listed.body["items"][0], wiped.body):
        assert body["status"] == status.pending()
    waiting = {condition["type"]: condition for condition in status.pending()["conditions"]}
    assert {kind: (one["status"], one["reason"], one["lastTransitionTime"]) for kind, one in waiting.items()} == {
        "Ready": ("Unknown", "Pending", "1970-01-01T00:00:00Z"),
        "Available": ("Unknown", "Pending", "1970-01-01T00:00:00Z"),
    }


def test_the_scale_subresource_reads_and_writes_replicas(server: Rest) -> None:
    server.create(new("ModelDeployment", {"replicas": 2}, name="scaled"), keep=True)
    written = {"replicas": 4, "selector": "podium.dev/model=scaled"}
    server.merge("ModelDeployment", "scaled", {"status": written}, "status")
    before = server.call("GET", path_of("ModelDeployment", "scaled", "scale")).body
    assert (before["spec"], before["status"]) == ({"replicas": 2}, written)
    server.call("PUT", path_of("ModelDeployment", "scaled", "scale"), before | {"spec": {"replicas": 7}})
    assert server.call("GET", path_of("ModelDeployment", "scaled")).body["spec"]["replicas"] == 7


def test_two_appliers_share_the_environment_by_name(server: Rest) -> None:
    def apply(manager: str, name: str, value: str) -> Answer:
        obj = new("ModelDeployment", {"runtime": {"env": [{"name": name, "value": value}]}}, name="shared")
        return server.call(
            "PATCH",
            path_of("ModelDeployment", "shared"),
            obj,
            content_type="application/apply-patch+yaml",
            fieldManager=manager,
        )

    apply("team", "LOG_LEVEL", "info")
    both = apply("platform", "TRACING", "on").body["spec"]["runtime"]["env"]
    assert both == [{"name": "LOG_LEVEL", "value": "info"}, {"name": "TRACING", "value": "on"}]


def test_the_runtimes_that_come_with_podium_are_taken(server: Rest) -> None:
    listed = list(yaml.safe_load_all((CRDS.parent / "charts/podium/files/runtimes.yaml").read_text()))
    assert listed
    for runtime in listed:
        answer = server.create(runtime, fieldValidation="Strict")
        assert answer.ok, answer.causes
        assert ModelRuntimeSpec.parse(answer.body["spec"]) == ModelRuntimeSpec.parse(runtime["spec"])
