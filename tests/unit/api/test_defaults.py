"""Defaults, present and former: a version of Podium with another one makes no other revision of what exists."""

import copy
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from hypothesis import given
from pydantic import Field
from pydantic.fields import FieldInfo

from podium.api import crd, defaults
from podium.api.base import ApiModel
from podium.api.defaults import Former, part_of, said
from podium.api.v1alpha1 import ModelDeploymentSpec, inputs_of
from podium.manifests.revision import inputs_digest
from tests.stored import COMMITS, stored
from tests.strategies import model_deployment_specs

Path = tuple[str, ...]
SCHEMA = crd.model_deployments()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def written(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every default that the API server writes into a spec, with its path; not those that are sums of others."""
    for name, part in schema.get("properties", {}).items():
        if "properties" in part:
            yield from written(part, (*path, name))
        elif "default" in part:
            yield (*path, name), part["default"]


DEFAULTS = dict(written(SCHEMA))


def filled_in(spec: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """`spec` as the API server stores it, where the defaults of some paths (`model.storage.sizeLimit`) are others."""
    found = copy.deepcopy(spec)
    for path, default in DEFAULTS.items():
        if path[0] == "autoscaling" and "autoscaling" not in spec:
            continue
        place = found
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place.setdefault(path[-1], changed.get(".".join(path), default))
    return found


def change_default(monkeypatch: pytest.MonkeyPatch, field: FieldInfo, default: object, *former: Former) -> None:
    """Another default in this test; what is kept of fields for good is not."""
    monkeypatch.setattr(field, "metadata", [*field.metadata, *former])
    monkeypatch.setattr(field, "default", default)
    monkeypatch.setattr(defaults, "_fields", defaults._fields.__wrapped__)


def another(path: Path) -> Any:
    """A value of the same kind as the default of a path, and not that one."""
    match DEFAULTS[path]:
        case bool(value):
            return not value
        case int(value):
            return value + 1
        case "10m" | "5m":
            return "7m"
        case value if str(value).endswith("%"):
            return "30%"
        case value:
            return f"{value}7"


def field_of(path: Path) -> FieldInfo:
    """The field of the models that a path leads to."""
    model: type[ApiModel] | None = ModelDeploymentSpec
    for name in path:
        assert model is not None
        field = next(each for each in model.model_fields.values() if each.alias == name)
        model = part_of(field)
    return field


def test_there_are_defaults_to_speak_of() -> None:
    assert DEFAULTS.keys() > {("model", "storage", "sizeLimit"), ("runtime", "name"), ("rollout", "strategy")}


@pytest.mark.parametrize("path", DEFAULTS, ids=".".join)
def test_another_default_changes_the_inputs_of_no_object_and_of_no_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"model": {"uri": "s3://models/fraud/7", "format": "onnx"}, "replicas": 2}
    # given an object that was stored under the old default, and the record that was made of it
    old = filled_in(user)
    record = ModelDeploymentSpec.parse(old).inputs()
    # and a person who had chosen, before that, what is the default now
    chosen = filled_in(user, **{".".join(path): another(path)})
    chosen_record = inputs_of(chosen)

    # when the field gets that other default
    field = field_of(path)
    change_default(monkeypatch, field, another(path), Former(field.default))

    # then that object, one that is stored from now on, and both records have the same inputs
    new = filled_in(user, **{".".join(path): another(path)})
    assert inputs_of(old) == inputs_of(new) == inputs_of(record) == inputs_of(chosen_record) == {"model": user["model"]}
    assert len({inputs_digest(each) for each in (old, new, record, chosen, chosen_record)}) == 1


def test_without_the_former_one_in_its_table_another_default_would_be_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    old = filled_in({})
    change_default(monkeypatch, field_of(("runtime", "name")), "another")
    assert inputs_of(old) == {"runtime": {"name": "onnxruntime"}}


@pytest.mark.parametrize("commit", COMMITS)
def test_what_an_earlier_version_wrote_by_itself_says_nothing(commit: str) -> None:
    """Whoever changes a default and forgets its table sees this fail."""
    found = stored(commit)
    assert inputs_of(found.model_deployment["spec"]) == {"model": {"uri": "s3://models/fraud/1", "format": "onnx"}}
    assert inputs_digest(found.record["data"]["inputs"]) == inputs_digest(found.model_deployment["spec"])


def test_a_part_in_which_nothing_is_left_is_left_out_unless_its_being_there_says_something() -> None:
    class Inner(ApiModel):
        size: Annotated[str, Former("1", "2")] = "3"

    class Outer(ApiModel):
        always: Inner = Inner()
        some_times: Inner | None = None
        number: Annotated[int, Former(1)] = Field()

    assert said(Outer, {"always": {"size": "2"}, "someTimes": {"size": "1"}, "number": 1}) == {"someTimes": {}}
    assert said(Outer, {"always": {"size": "4"}, "someTimes": None, "number": True}) == {
        "always": {"size": "4"},
        "number": True,  # not the number 1
    }


def test_what_is_not_known_here_says_something() -> None:
    assert said(ModelDeploymentSpec, {"model": {"signature": {}}}) == {"model": {"signature": {}}}


@given(spec=model_deployment_specs())
def test_defaults_apart_inputs_are_the_spec_as_it_is_written(spec: dict[str, Any]) -> None:
    """The rule of all records so far: what is on the wire, without what equals its default."""
    wire = ModelDeploymentSpec.parse(spec).wire()
    if (wire.get("model", {}).get("storage") or {}).get("sizeLimit") != "10Gi":
        expected = {key: wire[key] for key in ("model", "runtime", "podTemplate") if key in wire}
        assert ModelDeploymentSpec.parse(spec).inputs() == expected


def test_every_default_of_a_part_is_the_sum_of_the_defaults_inside_it() -> None:
    """A part that is absent and one with all of its defaults written out are then the same."""
    waiting: list[type[ApiModel]] = [ModelDeploymentSpec]
    while waiting:
        for field in waiting.pop().model_fields.values():
            part = part_of(field)
            if part is not None:
                waiting.append(part)
                assert field.default is None or field.default == part()
