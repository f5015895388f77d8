"""The life of a release: installed where the kinds were unknown, upgraded, uninstalled, installed again."""

from collections.abc import Iterator

import pytest

from tests import stage as s
from tests.client import wait
from tests.cluster.progress import ClusterError
from tests.e2e import ground
from tests.e2e.world import Performance, World
from tests.load import Counts
from tests.stage import Stage

CRDS = {"modeldeployments.podium.dev", "modelruntimes.podium.dev"}
NAMESPACE = "e2e-helm"


@pytest.fixture(scope="module")
def stage(world: World, performance: Performance) -> Iterator[Stage]:
    """A model that serves, once nobody else needs Podium."""
    performance.finish()
    stage = world.stage(NAMESPACE)
    stage.apply(s.onnx("digits", "1", rollout={"minReadySeconds": 1}))
    stage.until_ready("digits")
    yield stage
    ground.install(world.cluster)
    stage.client.delete("ModelDeployment", NAMESPACE, "digits")


def kinds(world: World) -> set[str]:
    return {crd["metadata"]["name"] for crd in world.client.list("CustomResourceDefinition")}


def image(world: World, runtime: str) -> str:
    return str(world.client.get("ModelRuntime", None, runtime)["spec"]["image"])


def operators(stage: Stage) -> set[str]:
    return {pod["metadata"]["uid"] for pod in ground.operator_pods(stage)}


def under_load(world: World, stage: Stage, *helm: str) -> Counts:
    """Installs or upgrades (or, without words, uninstalls) while the model is asked; what came of the requests."""
    with stage.load("digits", world.digits.questions("1"), rate=50) as load:
        load.await_answers()
        if helm:
            ground.install(world.cluster, *helm)
        else:
            ground.uninstall(world.cluster)
        load.await_answers()
        return load.close()


def test_install_waits_until_podium_runs_on_a_cluster_that_never_had_its_kinds(world: World, stage: Stage) -> None:
    assert not CRDS & set(world.before_podium)
    assert kinds(world) >= CRDS
    assert len(operators(stage)) == 2
    runtimes = world.client.list("ModelRuntime", selector="podium.dev/builtin=true")
    assert {runtime["metadata"]["name"] for runtime in runtimes} == {"onnxruntime", "torchserve"}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("nonsense=1", "nonsense"),
        ("operator.image=x", "image"),
        ("replicas=many", "replicas"),
        ("settings.crash-grase=5", "crash-grase"),
    ],
)
def test_values_that_the_schema_does_not_know_are_refused_and_nothing_changes(
    world: World, stage: Stage, value: str, named: str
) -> None:
    before = operators(stage)

    with pytest.raises(ClusterError, match=named):
        ground.install(world.cluster, "--set", value)

    assert operators(stage) == before


def test_an_upgrade_renews_the_operator_and_the_built_in_runtimes_but_no_model_and_no_runtime_taken_over(
    world: World, stage: Stage
) -> None:
    pods, before, taken_over = ground.pods_of(stage, "digits"), operators(stage), image(world, "onnxruntime")
    world.client.patch("ModelRuntime", None, "onnxruntime", {"metadata": {"labels": {"podium.dev/builtin": None}}})

    counts = under_load(world, stage, "--set", "runtimes.torchserve.tag=upgraded,serving.repository=podium/other")

    wait("the built-in runtime is renewed", lambda: image(world, "torchserve").endswith(":upgraded"), 120)
    assert image(world, "onnxruntime") == taken_over
    assert not before & operators(stage)
    assert ground.pods_of(stage, "digits") == pods
    assert not counts.failed, str(counts)


def test_after_uninstalling_models_serve_on_and_the_kinds_stay(world: World, stage: Stage) -> None:
    pods = ground.pods_of(stage, "digits")

    counts = under_load(world, stage)

    assert operators(stage) == set()
    assert kinds(world) >= CRDS
    assert "deletionTimestamp" not in stage.get("digits")["metadata"]
    assert ground.pods_of(stage, "digits") == pods
    assert not counts.failed, str(counts)


def test_installing_again_adopts_what_is_there_and_works_on(world: World, stage: Stage) -> None:
    pods = ground.pods_of(stage, "digits")
    stage.apply(s.onnx("digits", "1", replicas=3, rollout={"minReadySeconds": 1}))

    ground.install(world.cluster)
    obj = stage.until("digits", "3 pods", lambda obj: s.ready(obj) and obj["status"]["champion"]["available"] == 3)

    assert pods.items() <= ground.pods_of(stage, "digits").items()
    assert len(obj["status"]["history"]) == 1
