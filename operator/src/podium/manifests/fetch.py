"""The init container that brings the model into the pod."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from podium.api import names
from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.manifests.container import pull_policy
from podium.manifests.disk import fetcher_share
from podium.manifests.errors import INVALID_SPEC, Unresolvable
from podium.manifests.layout import MODELS, Placement, claim_of
from podium.manifests.quantities import whole

MODELS_VOLUME: Final = "podium-models"
CLAIM_VOLUME: Final = "podium-claim"
CLAIM_MOUNT: Final = "/pvc"
COMMAND: Final = ("python", "-m", "podium_serving.fetch")
SWITCHES: Final = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PODIUM_ALLOW_HTTP",
    "PODIUM_CA_FILE",
    "PODIUM_CREDENTIALS_SECRET",
    "PODIUM_FETCH_ATTEMPTS",
    "PODIUM_LOG_LEVEL",
    "PODIUM_MODEL_SHA256",
    "PODIUM_PVC_PATH",
    "PODIUM_STALL_SECONDS",
    "PODIUM_TERMINATION_LOG",
)
"""What else the fetcher reads. All are set, if only to nothing, which is its default: what the container sets is
stronger than the same name in the user's Secret, which shall bring credentials and nothing more."""


def _default_resources() -> dict[str, Any]:
    return {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


@dataclass(frozen=True)
class Fetcher:
    """The fetcher's image (the serving image), what it may use, and what an administrator lets it do."""

    image: str
    resources: dict[str, Any] = field(default_factory=_default_resources)
    allow_addresses: tuple[str, ...] = ()
    """CIDRs, addresses and host names where https may go although they are not public."""
    proxy: str = ""
    """http://[user:password@]host:port for https and s3 alike."""
    no_proxy: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """Where https may go: the fetcher checks the proxy's address, which whoever has set the proxy means."""
        host = urlsplit(self.proxy if "//" in self.proxy else f"//{self.proxy}").hostname
        return (*self.allow_addresses, *([host] if host else []))


def fetch_container(
    spec: ModelDeploymentSpec, fetcher: Fetcher, placement: Placement, model_resources: dict[str, Any]
) -> dict[str, Any]:
    """The init container `fetch`. `model_resources` are the model container's as spec and runtime give them."""
    model = spec.model
    assert model.uri is not None
    env = dict.fromkeys(SWITCHES, "") | {
        "PODIUM_MODEL_URI": model.uri,
        "PODIUM_MODEL_PATH": placement.fetched,
        "PODIUM_MODEL_LAYOUT": placement.kind,
        "PODIUM_MODEL_MAX_BYTES": str(whole(model.storage.size_limit)),
        "PODIUM_ALLOW_ADDRESSES": ",".join(fetcher.allowed),
        "HTTPS_PROXY": fetcher.proxy,
        "HTTP_PROXY": fetcher.proxy,
        "NO_PROXY": ",".join(fetcher.no_proxy),
    }
    mounts: list[dict[str, Any]] = [{"name": MODELS_VOLUME, "mountPath": MODELS}]
    container: dict[str, Any] = {
        "name": names.FETCH_CONTAINER,
        "image": fetcher.image,
        # spec.runtime.imagePullPolicy is about the user's image; this one is of who runs the operator.
        "imagePullPolicy": pull_policy(fetcher.image),
        "command": list(COMMAND),
        "resources": fetcher_share(spec, fetcher.resources, model_resources),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if model.sha256:
        env["PODIUM_MODEL_SHA256"] = model.sha256
    if model.credentials_secret:
        env["PODIUM_CREDENTIALS_SECRET"] = model.credentials_secret
        # Not optional: without the Secret the pod says so (CreateContainerConfigError) rather than trying anonymously.
        container["envFrom"] = [{"secretRef": {"name": model.credentials_secret, "optional": False}}]
    if claim_of(model.uri) is not None:
        env["PODIUM_PVC_PATH"] = CLAIM_MOUNT
        mounts.append({"name": CLAIM_VOLUME, "mountPath": CLAIM_MOUNT, "readOnly": True})
    container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    container["volumeMounts"] = mounts
    return container


def fetch_volumes(spec: ModelDeploymentSpec) -> list[dict[str, Any]]:
    """The model's volume, and the claim that a `pvc://` URI is read from."""
    assert spec.model.uri is not None
    volumes: list[dict[str, Any]] = [
        {"name": MODELS_VOLUME, "emptyDir": {"sizeLimit": spec.model.storage.size_limit}},
    ]
    claim = claim_of(spec.model.uri)
    if claim is not None:
        if not claim:
            raise Unresolvable(
                INVALID_SPEC,
                f"spec.model.uri: {spec.model.uri!r} names no claim: write pvc://<PersistentVolumeClaim>/<path in it>",
            )
        # readOnly here as well as at the mount: with fsGroup kubelet would otherwise change the owner of all its files.
        volumes.append({"name": CLAIM_VOLUME, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    return volumes
