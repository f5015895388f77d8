"""What the tests of the builders start from: an owner, a fetcher, specs, and the built-in runtimes."""

from pathlib import Path
from typing import Any, Final

import yaml

from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.manifests.fetch import Fetcher
from podium.manifests.owner import Owner
from podium.manifests.revision import Revision, resolve

RUNTIMES: Final = Path("charts/podium/files/runtimes.yaml")
OWNER: Final = Owner(name="fraud", namespace="ml", uid="6b1c3f0e-0000-4000-8000-000000000001")
FETCHER: Final = Fetcher(image="podium/serving:0.1.0")
MODEL: Final[dict[str, Any]] = {"uri": "s3://models/fraud/7", "format": "onnx"}
READY: Final[dict[str, Any]] = {"readiness": {"httpGet": {"path": "/ready", "port": "http"}}}
PLAIN: Final[dict[str, Any]] = {"image": "example/plain:1", "ports": {"http": 9000}, "probes": READY}

DIGEST: Final = f"sha256:{'0' * 64}"
POLICIES: Final = {
    "server": "Always",
    "server:latest": "Always",
    "server:1.2": "IfNotPresent",
    "server:latest-cpu": "IfNotPresent",
    f"server@{DIGEST}": "IfNotPresent",
    f"server:1.2@{DIGEST}": "IfNotPresent",
    f"server:latest@{DIGEST}": "Always",
    "registry.example.com:5000/team/server": "Always",
    "registry.example.com:5000/team/server:latest": "Always",
    "registry.example.com:5000/team/server:1": "IfNotPresent",
    f"localhost:5000/server@{DIGEST}": "IfNotPresent",
}
"""Images, and imagePullPolicy as the API server fills it in; an integration test asks it."""


def builtin(name: str) -> ModelRuntimeSpec:
    """The built-in ModelRuntime `name`."""
    documents = yaml.safe_load_all(RUNTIMES.read_text())
    return ModelRuntimeSpec.parse(next(item["spec"] for item in documents if item["metadata"]["name"] == name))


def runtime(**fields: Any) -> ModelRuntimeSpec:
    """A small runtime of no particular kind, with `fields` as on the wire."""
    return ModelRuntimeSpec.parse(PLAIN | fields)


def spec(**fields: Any) -> ModelDeploymentSpec:
    """A ModelDeployment of an ONNX model in S3, with `fields` as on the wire."""
    return ModelDeploymentSpec.parse({"model": MODEL} | fields)


def revision(user: ModelDeploymentSpec | None = None, run: ModelRuntimeSpec | None = None, **options: Any) -> Revision:
    """The two, resolved; the ones of this module by default."""
    return resolve(OWNER, user or spec(), run or runtime(), FETCHER, **{"number": 1, **options})


def pod(user: ModelDeploymentSpec | None = None, run: ModelRuntimeSpec | None = None) -> dict[str, Any]:
    """The pod's spec of such a revision."""
    result: dict[str, Any] = revision(user, run).template["spec"]
    return result


def model_container(user: ModelDeploymentSpec | None = None, run: ModelRuntimeSpec | None = None) -> dict[str, Any]:
    """The model container of such a revision."""
    (container,) = pod(user, run)["containers"]
    assert isinstance(container, dict)
    return container
