"""What `make install-yaml` writes installs Podium, without Helm, where its kinds are unknown."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.client import wait
from tests.cluster import binaries, podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.progress import run
from tests.e2e import ground
from tests.e2e.world import Performance, World

CRDS = ("modeldeployments.podium.dev", "modelruntimes.podium.dev")


def write_manifests(world: World, folder: Path) -> Path:
    """The three files, for the images of this cluster."""
    values = folder / "values.json"
    values.write_text(json.dumps(podium.values(world.cluster.build_images(), world.cluster.registry())))
    command: list[str | Path] = [sys.executable, REPOSITORY / "charts" / "install_yaml.py", "--helm", binaries.helm()]
    run([*command, "--output", folder, "--values", values], cwd=REPOSITORY)
    return folder


def forget_kinds(world: World) -> None:
    """Removes Podium's CustomResourceDefinitions, and so all objects of these kinds."""
    world.cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def without_podium(world: World, performance: Performance) -> Iterator[None]:
    """A cluster that knows nothing of Podium; afterwards it has Podium as before."""
    performance.finish()
    ground.uninstall(world.cluster)
    forget_kinds(world)
    yield
    ground.install(world.cluster)


@pytest.mark.usefixtures("without_podium")
def test_the_plain_manifest_installs_a_podium_that_works(world: World, tmp_path: Path) -> None:
    manifest = write_manifests(world, tmp_path) / "install.yaml"
    kubectl = world.cluster.kubectl

    kubectl("apply", "--server-side", "--filename", str(manifest))
    kubectl(f"--namespace={podium.NAMESPACE}", "rollout", "status", "deployment/podium", "--timeout=120s")

    builtin = ("onnxruntime", "torchserve")
    wait("the built-in runtimes", lambda: all(world.client.find("ModelRuntime", None, n) for n in builtin), 120)
    stage = world.stage("e2e-plain-yaml")
    ground.plain_runtime(stage)
    stage.apply(ground.plain())
    stage.until_ready("plain")
    stage.client.delete("ModelDeployment", stage.namespace, "plain")
    # Helm takes no objects for its own that somebody else has made; the kinds and the namespace stay.
    kept = ("Namespace", "CustomResourceDefinition")
    made = [obj for obj in yaml.safe_load_all(manifest.read_text()) if obj["kind"] not in kept]
    rest = tmp_path / "rest.yaml"
    rest.write_text(yaml.safe_dump_all(made))
    kubectl("delete", "--filename", str(rest), "--timeout=90s")
    gone = ("wait", "pods", f"--selector={ground.OPERATOR_PODS}", "--for=delete", "--timeout=90s")
    kubectl(f"--namespace={podium.NAMESPACE}", *gone)
    forget_kinds(world)
