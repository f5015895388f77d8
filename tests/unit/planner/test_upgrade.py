"""A new Podium takes over what an earlier one made: it rolls nothing out and restarts no pod."""

from typing import Any

import pytest

from podium.api.defaults import Former
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, PODS
from tests.stored import COMMITS, stored
from tests.unit.api.test_defaults import DEFAULTS, Path, another, change_default, field_of
from tests.unit.planner.apiserver import UPDATES, clone
from tests.unit.planner.given import empty
from tests.unit.planner.world import NAME, NAMESPACE, World


def upgraded(commit: str, file: str = "") -> World:
    """The objects of an earlier commit and their pods; the operator of today has not looked yet.

    With `file` the URI names that file, which was the version then.
    """
    world = empty()
    found = stored(commit)
    if file:
        found.model_deployment["spec"]["model"]["uri"] += f"/{file}"
        found.record["data"]["inputs"]["model"]["uri"] += f"/{file}"
        found.record["data"]["version"] = file
    spec = clone(found.model_deployment)
    spec["metadata"]["namespace"] = NAMESPACE
    uid = world.api.create(spec, "kubectl")["metadata"]["uid"]
    record, deployment = found.children(NAMESPACE, uid)
    world.api.create(record, UPDATES)
    world.api.apply(deployment, "podium")
    for _ in range(10):
        world.cluster.act()
    world.restart_operator()
    world.heard.said.clear()
    return world


def assert_untouched(world: World) -> None:
    pods = {pod["metadata"]["uid"] for pod in world.api.all(PODS)}
    (record,) = world.api.all(CONTROLLER_REVISIONS)
    (deployment,) = world.api.all(DEPLOYMENTS)
    before = clone(record), clone(deployment["spec"]["template"])
    assert len(pods) == 2

    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.advance(3600)

    (record,) = world.api.all(CONTROLLER_REVISIONS)
    (deployment,) = world.api.all(DEPLOYMENTS)
    assert (record, deployment["spec"]["template"]) == before
    assert {pod["metadata"]["uid"] for pod in world.api.all(PODS)} == pods
    assert not world.events("RolloutStarted")
    assert world.status["champion"]["revision"] == record["metadata"]["name"]


@pytest.mark.parametrize("commit", COMMITS)
def test_nothing_rolls_out_and_no_pod_restarts(commit: str) -> None:
    world = upgraded(commit)

    assert_untouched(world)
    # and the person learns that a restart would bring Podium's present pod template
    assert world.condition("RuntimeOutdated") == ("True", "RuntimeChanged")


def test_nor_where_the_version_shown_would_be_another_one_today() -> None:
    world = upgraded("3735f03", file="model.onnx")

    assert_untouched(world)
    assert world.status["champion"]["version"] == "model.onnx"

    # and the next revision is called by the present rule
    world.edit(model={"uri": "s3://models/fraud/2/model.onnx", "format": "onnx"})
    world.until(lambda: world.status["champion"]["version"] == "2")


@pytest.mark.parametrize("path", DEFAULTS, ids=".".join)
def test_nor_with_another_default_of_any_field(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = field_of(path)
    change_default(monkeypatch, field, another(path), Former(field.default))

    assert_untouched(upgraded("3735f03"))


@pytest.mark.parametrize("size", ["10Gi", "1Gi"])
def test_what_a_person_then_changes_rolls_out_as_ever(size: str) -> None:
    world = upgraded("3735f03")
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))

    def change(obj: dict[str, Any]) -> None:
        obj["spec"]["model"] |= {"uri": "s3://models/fraud/2", "storage": {"sizeLimit": size}}

    world.api.update(MODEL_DEPLOYMENTS, NAMESPACE, NAME, change, "kubectl")
    world.until(lambda: world.status["champion"]["version"] == "2")

    # and the value counts, whether or not it was a default once
    (volume,) = [
        volume
        for volume in world.need(DEPLOYMENTS, world.revision("2"))["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "podium-models"
    ]
    assert volume["emptyDir"] == {"sizeLimit": size}
