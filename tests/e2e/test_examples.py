"""Every file of examples/, applied as its reader would, and what comes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client import Object, session
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.foreign import localized
from tests.e2e import ground
from tests.e2e.world import World, scene
from tests.stage import Stage, ready

FILES = sorted((REPOSITORY / "examples").glob("*.yaml"))


@dataclass(frozen=True)
class Example:
    """An example that was Ready, and what it answered."""

    ready: Object
    answer: str
    revision: str


@scene
def examples(world: World) -> dict[str, Example]:
    """Each file in the same namespace, one after the other, each removed again."""
    stage = world.stage("e2e-examples")
    world.client.apply(dict(podium.credentials_secret(world.cluster, stage.namespace, "s3-models")))
    if world.cluster.on_this_host:
        volume(world, stage)
    files = [file for file in FILES if world.cluster.on_this_host or "pvc://" not in file.read_text()]
    return {file.name: applied(world, stage, file) for file in files}


def applied(world: World, stage: Stage, file: Path) -> Example:
    """Applies a file with kubectl, waits until its ModelDeployment is Ready, and asks it."""
    manifest = localized(file.read_text())
    objects: list[Object] = list(yaml.safe_load_all(manifest))
    namespace = f"--namespace={stage.namespace}"
    world.cluster.kubectl(namespace, "apply", "-f", "-", stdin=manifest)
    (name,) = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ModelDeployment"]
    obj = stage.until(name, f"{file.name} Ready", ready)
    answer, revision = asked(world, stage, obj)
    world.cluster.kubectl(namespace, "delete", "--wait=false", "-f", "-", stdin=manifest)
    return Example(obj, answer, revision)


def asked(world: World, stage: Stage, obj: Object) -> tuple[str, str]:
    """What it answers about the first image, or, where it serves no model of ours, the page that it shows."""
    name, runtime = obj["metadata"]["name"], obj["spec"]["runtime"]["name"]
    if runtime in ("onnxruntime", "torchserve"):
        return stage.ask(name, world.digits.images[0], runtime=runtime)
    with session() as asking:
        return asking.get(stage.address(name), timeout=10).text.strip(), ""


def volume(world: World, stage: Stage) -> None:
    """A folder of the node with the digits, for the claim `models` of the example."""
    folder = world.cluster.folder / "state" / "volume"
    (folder / "digits" / "1").mkdir(parents=True)
    (folder / "digits" / "1" / "model.onnx").write_bytes(world.digits.file("1").read_bytes())
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    spec: dict[str, Any] = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": stage.namespace, "name": "models"},
    }
    world.client.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "e2e-models"}, "spec": spec}
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_serves_what_it_says(examples: dict[str, Example], world: World, file: Path) -> None:
    if file.name not in examples:
        ground.require_host(world.cluster)
    example = examples[file.name]

    match example.ready["spec"]["runtime"]["name"]:
        case "onnxruntime":
            right = str(world.digits.answers["1"][0])
        case "torchserve":
            right = str(world.torch.answers["1"][0])
        case _:
            revision = example.ready["status"]["champion"]["revision"]
            right = f"{example.ready['metadata']['name']} of e2e-examples, revision {revision}"
    assert example.answer == right


def test_a_third_runtime_is_a_new_object_alone(examples: dict[str, Example]) -> None:
    obj = examples["custom-runtime.yaml"].ready

    assert "model" not in obj["spec"] or "uri" not in obj["spec"]["model"]
    assert obj["status"]["runtime"] == "plain-http"
