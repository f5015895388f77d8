"""Revisions: what their names depend on, and that a ControllerRevision keeps all of them."""

import copy
import json
import re

import pytest

from podium.api import names
from podium.api.base import ApiModel
from podium.api.v1alpha1 import Model, ModelDeploymentSpec
from podium.manifests.canonical import canonical, digest, short_hash
from podium.manifests.errors import MalformedRevision
from podium.manifests.fetch import Fetcher
from podium.manifests.owner import Owner
from podium.manifests.revision import controller_revision, inputs_digest, resolve, revision_of
from podium.packed import to_json
from tests.unit.manifests.examples import FETCHER, MODEL, OWNER, builtin, revision, runtime, spec


def test_a_revision_is_named_after_its_model_and_ten_characters_that_cannot_be_misread() -> None:
    made = revision()

    assert re.fullmatch(r"fraud-[bcdfghjklmnpqrstvwxz2456789]{10}", made.name)
    assert made.name == f"fraud-{made.hash}"
    assert made.template["metadata"]["labels"][names.LABEL_REVISION] == made.name


def test_the_longest_model_name_gives_a_revision_name_that_is_a_label_value() -> None:
    made = resolve(Owner("m" * 50, "ml", "u"), spec(), runtime(), FETCHER, number=1)

    assert len(made.name) <= 63


def test_the_name_stands_where_the_runtime_asks_for_it_and_what_a_user_writes_stays_as_it_is() -> None:
    user = spec(runtime={"name": "onnxruntime", "args": ["--note={{revision}}"]})
    made = revision(user, runtime(args=["--as={{revision}}"]))

    container = made.template["spec"]["containers"][0]
    assert container["args"] == [f"--as={made.name}", "--note={{revision}}"]
    assert {"name": "PODIUM_REVISION", "value": made.name} in container["env"]


def test_the_same_inputs_give_the_same_revision() -> None:
    assert revision() == revision(number=1)
    assert revision().name == revision(number=2).name


@pytest.mark.parametrize(
    "change",
    [
        {"model": MODEL | {"uri": "s3://models/fraud/8"}},
        {"runtime": {"args": ["--more"]}},
        {"podTemplate": {"nodeSelector": {"disk": "ssd"}}},
    ],
)
def test_model_runtime_and_pod_template_make_another_revision(change: dict[str, object]) -> None:
    changed = revision(spec(**change))

    assert changed.name != revision().name
    assert changed.inputs != revision().inputs


@pytest.mark.parametrize(
    "change",
    [{"replicas": 5}, {"paused": True}, {"rollout": {"strategy": "BlueGreen"}}, {"disruption": {"maxUnavailable": 2}}],
)
def test_sizes_and_strategy_make_none(change: dict[str, object]) -> None:
    assert revision(spec(**change)) == revision()


def test_a_default_written_out_is_no_change() -> None:
    written_out = spec(model=MODEL | {"storage": {"sizeLimit": "2Gi"}}, runtime={"name": "onnxruntime", "args": []})

    assert revision(written_out) == revision()


def test_a_former_default_is_no_change_of_the_inputs_and_counts_in_the_pods() -> None:
    former = revision(spec(model=MODEL | {"storage": {"sizeLimit": "10Gi"}}))

    assert (former.inputs, former.source) == (revision().inputs, revision().source)
    assert {"name": "podium-models", "emptyDir": {"sizeLimit": "10Gi"}} in former.template["spec"]["volumes"]


def test_the_inputs_of_a_record_are_read_by_the_defaults_of_today() -> None:
    # given a record of a version whose default was another, so that 2Gi was a choice
    obj = json.loads(to_json(controller_revision(OWNER, revision(), {})))
    obj["data"]["inputs"]["model"]["storage"] = {"sizeLimit": "2Gi"}

    assert revision_of(obj).inputs == revision().inputs


def test_after_a_downgrade_a_record_that_says_more_is_of_another_revision_and_others_are_not() -> None:
    """As docs/install.md says: what the older version does not know there is rolled out without it."""
    newer = {"model": MODEL, "podTemplate": {"labels": {"team": "a"}, "hostUsers": False}}
    older = {"model": MODEL, "podTemplate": {"labels": {"team": "a"}}}

    assert inputs_digest(newer) != inputs_digest(ModelDeploymentSpec.parse(newer).inputs())
    assert inputs_digest(older) == inputs_digest(ModelDeploymentSpec.parse(older).inputs())


def test_an_edited_runtime_changes_the_name_and_not_the_inputs() -> None:
    edited = revision(run=runtime(args=["--new"]))

    assert edited.name != revision().name
    assert edited.inputs == revision().inputs


def test_another_fetcher_changes_the_name_and_not_the_inputs() -> None:
    upgraded = resolve(OWNER, spec(), runtime(), Fetcher(image="podium/serving:0.2.0"), number=1)

    assert upgraded.name != revision().name
    assert upgraded.inputs == revision().inputs


def test_a_restarts_token_makes_another_revision_of_the_same_inputs() -> None:
    restarted, again = revision(token="t1"), revision(token="t2")

    assert len({revision().name, restarted.name, again.name}) == 3
    assert restarted.inputs == revision().inputs
    assert restarted.template["metadata"]["annotations"][names.ANNOTATION_RESTART] == "t1"


def test_the_collision_counter_gives_another_name_to_the_same_template() -> None:
    first, second = revision(), revision(collisions=1)

    assert first.name != second.name
    assert json.dumps(second.template).replace(second.name, first.name) == json.dumps(first.template)


def test_the_name_is_hashed_before_the_revision_is_filled_in() -> None:
    # given a runtime that says its revision, and one that says the same text as a constant
    made = revision(run=runtime(args=["{{revision}}"]))

    # then the name can be computed again from what is stored, with the placeholder in the name's places
    assert made.template["spec"]["containers"][0]["args"] == [made.name]
    stored = json.loads(json.dumps(made.template).replace(made.name, "{{revision}}"))
    del stored["metadata"]["labels"][names.LABEL_REVISION]
    assert short_hash([made.source, stored, "", 0]) == made.hash


def test_a_new_field_with_a_default_changes_neither_the_inputs_nor_the_name() -> None:
    # given an API that has learned of a field since
    class NewerModel(Model):
        signature: str = "none"

    class NewerSpec(ModelDeploymentSpec):
        model: NewerModel = NewerModel()

    wire = {"model": {**MODEL, "version": "7"}, "podTemplate": {"labels": {"a": "b"}}}
    old, new = ModelDeploymentSpec.parse(wire), NewerSpec.parse(wire)

    # then an object that does not use it is the same revision
    assert isinstance(new, ApiModel)
    assert inputs_digest(new.inputs()) == inputs_digest(old.inputs())
    assert revision(new).name == revision(old).name
    # and one that does is another
    used = NewerSpec.parse({**wire, "model": {**wire["model"], "signature": "cosign"}})
    assert inputs_digest(used.inputs()) != inputs_digest(old.inputs())


@pytest.mark.parametrize("run", ["onnxruntime", "torchserve"])
def test_a_controller_revision_gives_back_the_very_revision_it_was_made_from(run: str) -> None:
    made = revision(spec(model={"uri": "s3://m/7"}), builtin(run), number=4, token="t")

    obj = json.loads(to_json(controller_revision(OWNER, made, {names.ANNOTATION_ROLLOUT: "{}"})))

    assert revision_of(obj) == made
    assert obj["revision"] == 4
    assert obj["metadata"]["annotations"] == {
        names.ANNOTATION_INPUTS: made.inputs,
        names.ANNOTATION_VERSION: "7",
        names.ANNOTATION_ROLLOUT: "{}",
    }
    (owner,) = obj["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert owner["blockOwnerDeletion"] is True


@pytest.mark.parametrize("damage", [{"data": None}, {"data": {}}, {"revision": "x"}])
def test_a_foreign_controller_revision_is_named(damage: dict[str, object]) -> None:
    obj = copy.deepcopy(controller_revision(OWNER, revision(), {})) | damage

    with pytest.raises(MalformedRevision, match="ControllerRevision ml/fraud-"):
        revision_of(obj)


def test_canonical_text_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_hashes_of_many_values_differ() -> None:
    assert len({short_hash(number) for number in range(2000)}) == 2000
