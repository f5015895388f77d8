"""What the demo and the e2e tests stand on: a cluster with Podium, models in its store, and words for using them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.client import Client, Object, condition, session, wait
from tests.cluster import podium
from tests.cluster.choice import choose
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import localized
from tests.cluster.store import BUCKET
from tests.load import TIMEOUT, Load, Question
from tests.models import digits, grpc_server, torchserve
from tests.models.digits import Digits
from tests.models.torchserve import TorchDigits

INFER = "/v2/models/{name}/infer"
PREDICTIONS = "/predictions/{name}"
GRPC_PORT = 8081
"""Of a Service whose runtime has gRPC."""
SLOW_START = 180
"""Seconds within which a model comes up on a machine that is busy with much else."""


def start(folder: Path) -> Cluster:
    """The cluster of `folder`, running, with Podium as it is in the tree."""
    cluster = choose(folder)
    archives = cluster.build_images()
    cluster.up()
    cluster.load(archives)
    podium.install_podium(cluster, archives)
    return cluster


def put_digits(cluster: Cluster) -> Digits:
    """The ONNX models, in the store."""
    models = digits.digits()
    for version in (*digits.VERSIONS, *digits.FAULTY):
        cluster.store.put(models.file(version), uri("digits", version, "model.onnx"))
    return models


def put_torch_digits(cluster: Cluster, client: Client) -> TorchDigits:
    """The TorchServe models, in the store."""
    models = torchserve.torch_digits(client, cluster.store)
    for version in (*digits.VERSIONS, torchserve.BROKEN):
        cluster.store.put(models.file(version), uri("digits-torch", version, "digits.mar"))
    return models


def uri(model: str, version: str, file: str) -> str:
    """Where a model's file lies in the store."""
    return localized(f"s3://{BUCKET}/{model}/{version}/{file}")


def onnx(name: str, version: str, *, file: str = "", replicas: int = 2, **spec: Any) -> Object:
    """A ModelDeployment of the digits; `file` is the version whose bytes it serves, by default `version`'s own."""
    model = {
        "uri": uri("digits", file or version, "model.onnx"),
        "format": "onnx",
        "version": version,
        "credentialsSecret": podium.CREDENTIALS,
        "storage": {"sizeLimit": "100Mi"},
    }
    return _deployment(name, {"model": model | spec.pop("model", {}), "replicas": replicas, **spec})


def torch(name: str, version: str, *, replicas: int = 1, **spec: Any) -> Object:
    """A ModelDeployment of the digits for TorchServe."""
    model = {
        "uri": uri("digits-torch", version, "digits.mar"),
        "format": "mar",
        "version": version,
        "credentialsSecret": podium.CREDENTIALS,
        "storage": {"sizeLimit": "100Mi"},
    }
    runtime = {"name": "torchserve"}
    return _deployment(name, {"model": model, "runtime": runtime, "replicas": replicas, **spec})


def _deployment(name: str, spec: Object) -> Object:
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Stage:
    """A namespace of a cluster."""

    cluster: Cluster
    client: Client
    namespace: str

    def apply(self, obj: Object) -> Object:
        """Applies an object, in this namespace."""
        return self.client.apply(obj | {"metadata": {**obj["metadata"], "namespace": self.namespace}})

    def get(self, name: str) -> Object:
        """A ModelDeployment."""
        return self.client.get("ModelDeployment", self.namespace, name)

    def until(self, name: str, what: str, check: Callable[[Object], bool], seconds: float = SLOW_START) -> Object:
        """Waits until `check` holds for a ModelDeployment whose status is of its spec's generation; returns it.

        AssertionError with its status, if that takes longer than `seconds`.
        """

        def holds() -> Object | None:
            obj = self.get(name)
            if current(obj) and check(obj):
                return obj
            status = obj.get("status") or {}
            raise AssertionError(f"{status.get('phase')}: {status.get('message')}")

        return wait(f"{self.namespace}/{name}: {what}", holds, seconds)

    def until_ready(self, name: str, version: str = "", seconds: float = SLOW_START) -> Object:
        """Waits until a ModelDeployment is Ready (and `version` its champion's)."""
        return self.until(
            name, f"Ready {version}", lambda obj: ready(obj) and (not version or champion(obj) == version), seconds
        )

    def until_phase(self, name: str, phase: str, seconds: float = SLOW_START) -> Object:
        """Waits until a ModelDeployment is in a phase."""
        return self.until(name, phase, lambda obj: bool(obj["status"].get("phase") == phase), seconds)

    def address(self, name: str) -> str:
        """The URL of a Service, as reached from this host."""
        return f"http://{self.client.get('Service', self.namespace, name)['spec']['clusterIP']}"

    def ask(
        self, name: str, image: list[float], *, runtime: str = "onnxruntime", headers: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """One prediction: the digit, and the revision that gave it."""
        route, body = (
            (INFER, digits.body(image)) if runtime == "onnxruntime" else (PREDICTIONS, {"image": image})
        )  # fmt: skip
        with session() as asking:
            response = asking.post(self.address(name) + route.format(name=name), json=body, headers=headers, timeout=10)
        response.raise_for_status()
        found, revision = response.json(), response.headers.get("x-podium-revision", "")
        for key in digits.PICK if runtime == "onnxruntime" else torchserve.PICK:
            found = found[key]
        return str(found), revision

    def load(self, name: str, questions: list[Question], *, rate: float = 240, timeout: float = TIMEOUT) -> Load:
        """A client that puts load on an ONNX model: over 200 requests a second, its beginning and end included."""
        url = self.address(name) + INFER.format(name=name)
        return Load(url, questions, pick=digits.PICK, rate=rate, timeout=timeout)

    def grpc_load(self, name: str, *, rate: float = 100, lasting: int = 0) -> Load:
        """A client that puts load on a model of tests/models/grpc_server, a fifth of it over new connections.

        `lasting`: seconds that each call takes.
        """
        host = self.client.get("Service", self.namespace, name)["spec"]["clusterIP"]
        url, calls = f"grpc://{host}:{GRPC_PORT}{grpc_server.METHOD}", [Question(str(lasting) if lasting else "")]
        return Load(url, calls, rate=rate, kept=0.8, timeout=TIMEOUT + lasting)

    def torch_load(self, name: str, questions: list[Question], *, rate: float = 200) -> Load:
        """A client that puts load on a TorchServe model."""
        url = self.address(name) + PREDICTIONS.format(name=name)
        return Load(url, questions, pick=torchserve.PICK, rate=rate, timeout=2 * TIMEOUT)


def current(obj: Object) -> bool:
    """Whether status was computed from the spec as it is."""
    return bool((obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"])


def ready(obj: Object) -> bool:
    """Whether it is Ready, as `kubectl wait` judges it."""
    return current(obj) and condition(obj, "Ready").get("status") == "True"


def champion(obj: Object) -> str:
    """The version of its champion; empty if it has none."""
    return str(((obj.get("status") or {}).get("champion") or {}).get("version", ""))
