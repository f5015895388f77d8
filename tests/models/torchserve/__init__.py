"""The digits as a small convolutional network for TorchServe: two versions, and one whose handler raises at load.

PyTorch is no package of this project. A pod of the TorchServe image trains, scripts and archives the models on the
cluster and puts them into its model store; then they are kept in the cache outside the work tree.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.client import Client, Object, wait
from tests.cluster.cache import cached, digest
from tests.cluster.foreign import localized
from tests.cluster.images import IMAGES
from tests.cluster.progress import say
from tests.cluster.store import Store
from tests.load import Question
from tests.models.digits import VERSIONS, Digits, digits

HERE = Path(__file__).parent
PICK = ("digit",)
"""Where the digit stands in the handler's answer."""
BROKEN = "broken"
FILES = tuple(f"{name}.mar" for name in (*VERSIONS, BROKEN))
_ABOUT = "about.json"
_NAMESPACE = "podium-training"


@dataclass(frozen=True)
class TorchDigits:
    """The archives, and what is known of them from running the networks where they were trained."""

    folder: Path
    accuracy: dict[str, float]
    answers: dict[str, list[int]]
    """What each version reads in the images of `Digits`."""
    images: list[list[float]]

    def file(self, version: str) -> Path:
        """The archive: version "1", "2", or "broken", whose handler raises when it is loaded."""
        return self.folder / f"{version}.mar"

    def questions(self, *versions: str) -> list[Question]:
        """What to ask at /predictions/NAME, and what the versions (all by default) answer."""
        wanted = versions or VERSIONS
        return [
            Question(json.dumps({"image": image}), {version: str(self.answers[version][n]) for version in wanted})
            for n, image in enumerate(self.images)
        ]


def torch_digits(client: Client, store: Store) -> TorchDigits:
    """The models, trained on the cluster (about a minute) if the cache does not hold them."""
    known = digits()
    key = digest([HERE], IMAGES["torchserve"].key(), known.sha256("1"))
    folder = cached("models-torchserve", key, lambda made: _train(made, client, store, known))
    return TorchDigits(folder, images=known.images, **json.loads((folder / _ABOUT).read_text()))


def _train(folder: Path, client: Client, store: Store, known: Digits) -> None:
    import obstore
    from obstore.store import S3Store

    say("Training the digits for TorchServe, in a pod of its image (as a rule 40 s) ...")
    bucket = S3Store(
        store.bucket,
        endpoint=store.endpoint,
        region=store.region,
        access_key_id=store.access_key,
        secret_access_key=store.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    names = (*FILES, _ABOUT)
    uploads = {
        name: obstore.sign(bucket, "PUT", f"{_NAMESPACE}/{name}", expires_in=timedelta(minutes=15)) for name in names
    }
    pod = _pod()
    for obj in (_namespace(), _config(known, uploads)):
        client.apply(obj)
    client.delete("Pod", _NAMESPACE, "training", grace=0)
    wait("the last training pod's end", lambda: client.find("Pod", _NAMESPACE, "training") is None, 60)
    client.apply(pod)
    phase = wait("the training's end", lambda: _ended(client), 300, every=1)
    if phase != "Succeeded":
        log = client.request("GET", f"/api/v1/namespaces/{_NAMESPACE}/pods/training/log").text
        raise AssertionError(f"the training failed:\n{log}")
    for name in names:
        (folder / name).write_bytes(bytes(bucket.get(f"{_NAMESPACE}/{name}").bytes()))
    client.delete("Namespace", None, _NAMESPACE)


def _ended(client: Client) -> str | None:
    phase = client.get("Pod", _NAMESPACE, "training")["status"]["phase"]
    return phase if phase in ("Succeeded", "Failed") else None


def _namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}


def _config(known: Digits, uploads: dict[str, str]) -> Object:
    files = {file.name: file.read_text() for file in HERE.glob("*.py") if file.name != "__init__.py"}
    task = {"uploads": uploads, "images": known.images}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "training", "namespace": _NAMESPACE},
        "data": files | {"data.json": training_data(), "task.json": json.dumps(task)},
    }


def training_data() -> str:
    """scikit-learn's digits in the order in which the ONNX models saw them: the first 900 are for training."""
    import numpy as np
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(7).permutation(len(data.data))
    return json.dumps(
        {"images": data.data[order].astype(int).tolist(), "truth": data.target[order].tolist()}, separators=(",", ":")
    )


def _pod() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "training", "namespace": _NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "training",
                    "image": localized(IMAGES["torchserve"].reference),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "/task/train.py"],
                    "workingDir": "/tmp",
                    "env": [{"name": "HOME", "value": "/tmp"}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "task", "mountPath": "/task"}, {"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "task", "configMap": {"name": "training"}}, {"name": "tmp", "emptyDir": {}}],
        },
    }
