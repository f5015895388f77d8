"""Every file of examples/ is valid, makes a pod, and is listed in the README."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.manifests.owner import Owner
from podium.manifests.revision import resolve
from tests.unit.manifests.examples import FETCHER, builtin
from tests.unit.manifests.restricted import violations

FILES = sorted(Path("examples").glob("*.yaml"))


def objects(path: Path, kind: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all(path.read_text()) if item["kind"] == kind]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_makes_a_restricted_pod(path: Path) -> None:
    own = {item["metadata"]["name"]: ModelRuntimeSpec.parse(item["spec"]) for item in objects(path, "ModelRuntime")}

    deployments = objects(path, "ModelDeployment")
    assert deployments
    for item in deployments:
        spec = ModelDeploymentSpec.parse(item["spec"])
        runtime = own.get(spec.runtime.name) or builtin(spec.runtime.name)
        made = resolve(Owner(item["metadata"]["name"], "default", "u"), spec, runtime, FETCHER, number=1)
        assert violations(made.template["spec"]) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_says_nothing_that_the_api_does_not_know(path: Path) -> None:
    for item in objects(path, "ModelDeployment"):
        assert _within(item["spec"], ModelDeploymentSpec.parse(item["spec"]).model_dump(by_alias=True))
    for item in objects(path, "ModelRuntime"):
        assert _within(item["spec"], ModelRuntimeSpec.parse(item["spec"]).model_dump(by_alias=True))


def test_every_example_is_listed() -> None:
    readme = Path("examples/README.md").read_text()

    assert FILES
    assert [path.name for path in FILES if f"[{path.name}]({path.name})" not in readme] == []


def _within(written: Any, known: Any) -> bool:
    """Whether all that is written was understood, with its value."""
    if isinstance(written, dict):
        return all(key in known and _within(value, known[key]) for key, value in written.items())
    if isinstance(written, list) and isinstance(known, list):
        return len(written) == len(known) and all(map(_within, written, known))
    return bool(written == known)
