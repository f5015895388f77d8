"""PODIUM_USE_CURRENT_CONTEXT=1: a cluster that somebody else started is used, and left as it was.

The session's cluster is taken as somebody's own: there is its kubeconfig, its store with a bucket of another name, and
the images on its node. The whole of `make demo` and `make test` in this mode takes too long to be done here each time.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import stage as s
from tests.client import Object, wait
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.progress import ClusterError
from tests.e2e import ground
from tests.e2e.conftest import require_unused
from tests.e2e.world import World

BUCKET = "somebodys-models"


@pytest.fixture
def environment(world: World) -> dict[str, str]:
    """What a person with such a cluster exports."""
    ground.require_host(world.cluster)
    (world.cluster.folder / "store" / BUCKET).mkdir(exist_ok=True)
    return {
        "PODIUM_USE_CURRENT_CONTEXT": "1",
        "KUBECONFIG": str(world.cluster.kubeconfig_file),
        "PODIUM_IMAGE_REGISTRY": world.cluster.registry(),
        "PODIUM_BUCKET": BUCKET,
        **world.cluster.store.environment(),
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="podium-") as path:
        yield Path(path)


def command(folder: Path, variables: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.cluster words` with these variables, and none of its own that this process may have."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PODIUM_", "AWS_", "KUBE"))}
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster", *words, f"--folder={folder}"],
        cwd=REPOSITORY,
        env=inherited | dict(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def works(folder: Path, variables: Mapping[str, str], *words: str) -> str:
    ended = command(folder, variables, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_cluster_of_somebody_is_taken_serves_a_model_of_its_own_bucket_and_stays(
    world: World, environment: dict[str, str], folder: Path
) -> None:
    nodes = [node["metadata"]["uid"] for node in world.client.list("Node")]

    works(folder, environment, "up", "--bare")
    assert "Kubernetes control plane" in works(folder, environment, "status")
    stored = works(folder, environment, "put", str(world.digits.file("1")), f"s3://{BUCKET}/digits/").strip()
    stage = world.stage("e2e-own-cluster")
    obj: Object = s.onnx("digits", "1", replicas=1, model={"uri": stored}, rollout={"minReadySeconds": 1})
    stage.apply(obj)
    stage.until_ready("digits")

    answer = wait("an answer", lambda: stage.ask("digits", world.digits.images[0])[0], 60)
    assert answer == str(world.digits.answers["1"][0])
    world.client.delete("ModelDeployment", stage.namespace, "digits")

    works(folder, environment, "down")

    assert [file.name for file in folder.iterdir() if file.name in ("kubeconfig", "store.json")] == []
    assert [node["metadata"]["uid"] for node in world.client.list("Node")] == nodes
    assert world.cluster.running()


@pytest.mark.parametrize(
    "variable", ["PODIUM_IMAGE_REGISTRY", "PODIUM_BUCKET", "AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY"]
)
def test_a_variable_that_is_missing_is_named(environment: dict[str, str], folder: Path, variable: str) -> None:
    del environment[variable]

    ended = command(folder, environment, "up", "--bare")

    assert ended.returncode == 1
    assert f"set {variable} (docs/local-cluster.md)" in ended.stdout + ended.stderr


def test_the_folder_of_a_cluster_of_our_own_is_not_overwritten(world: World, environment: dict[str, str]) -> None:
    files = [world.cluster.kubeconfig_file, world.cluster.folder / "store.json"]
    before = [file.read_text() for file in files]

    ended = command(world.cluster.folder, environment, "up", "--bare")
    works(world.cluster.folder, environment, "down")

    assert ended.returncode == 1
    assert "a cluster of our own runs in" in ended.stdout + ended.stderr
    assert [file.read_text() for file in files] == before
    assert world.cluster.running()


def test_somebody_who_has_Podium_already_keeps_it(world: World) -> None:
    """These tests would delete its kinds: in this mode the session begins by refusing."""
    crds = [crd["metadata"]["name"] for crd in world.client.list("CustomResourceDefinition")]

    with pytest.raises(ClusterError, match="has Podium's kinds already"):
        require_unused(world.client, crds)


def test_namespaces_that_the_tests_would_delete_are_not_taken_over(world: World) -> None:
    with pytest.raises(ClusterError, match=f"has namespaces that these tests make: .*{podium.NAMESPACE}"):
        require_unused(world.client, [])
