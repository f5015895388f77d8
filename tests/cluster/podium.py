"""Podium on the local cluster: installed by Helm from the tree's chart, with the images built from the tree."""

import json
from collections.abc import Sequence

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY, cache_folder
from tests.cluster.cluster import Cluster
from tests.cluster.images import TAG, Archive
from tests.cluster.progress import ClusterError, run, say, step

CHART = REPOSITORY / "charts" / "podium"
RELEASE, NAMESPACE = "podium", "podium-system"
DEMO_NAMESPACE = "demo"
CREDENTIALS = "model-store"
DRAIN = 45
"""Seconds that a router waits for its callers when it is told to leave; in place of 120, since a test outlasts it."""


def values(archives: Sequence[Archive] = (), registry: str = "localhost") -> dict[str, object]:
    """The chart's values for images that were built here. The images' keys make pods new when their image is."""
    built = {archive.image.name: {f"podium.dev/built-{archive.image.name}": archive.key} for archive in archives}
    return {
        "image": {"registry": registry, "tag": TAG},
        "operator": {"repository": "podium/operator"},
        "serving": {"repository": "podium/serving"},
        "router": {
            "repository": "podium/router",
            "podAnnotations": built.get("router", {}),
            # Half of what an installation asks for by default: they outlive a test by ten minutes, on one small node.
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            "drainSeconds": DRAIN,
        },
        # Built here too, in place of upstream's.
        "runtimes": {"registry": registry, "torchserve": {"repository": "podium/torchserve", "tag": TAG}},
        "podAnnotations": built.get("operator", {}),
    }  # fmt: skip


def install_podium(cluster: Cluster, archives: Sequence[Archive] = (), *, more: Sequence[str] = ()) -> None:
    """Installs the chart, or upgrades to it, and waits until the operator is ready; `more` are more words for helm."""
    file = cluster.folder / "values.json"
    file.write_text(json.dumps(values(archives, cluster.registry()), indent=1))
    helm_folder = cache_folder() / "helm"
    environment = {f"HELM_{kind}_HOME": str(helm_folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    with step("Installing Podium from charts/podium", "20 s"):
        _forget_unfinished(cluster)
        try:
            run(["env", *(f"{name}={value}" for name, value in environment.items()), binaries.helm(), "upgrade",
                 "--install", RELEASE, CHART, f"--kubeconfig={cluster.kubeconfig_file}", f"--namespace={NAMESPACE}",
                 "--create-namespace", f"--values={file}", "--wait", "--timeout=120s", *more])  # fmt: skip
        except ClusterError:
            say(_why(cluster))
            raise


def _forget_unfinished(cluster: Cluster) -> None:
    """Drops Helm's record of an operation that was killed: it would refuse every other one for its sake."""
    unfinished = f"owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    cluster.kubectl(f"--namespace={NAMESPACE}", "delete", "secrets", f"--selector={unfinished}")


def _why(cluster: Cluster) -> str:
    """What the operator's pods say of themselves."""
    said = [f"the pods of {NAMESPACE}:"]
    for words in (("get", "pods"), ("get", "events", "--sort-by=.lastTimestamp"),
                  ("logs", "--selector=app.kubernetes.io/name=podium", "--tail=20", "--prefix")):  # fmt: skip
        try:
            said.append(cluster.kubectl(f"--namespace={NAMESPACE}", *words))
        except ClusterError as error:
            said.append(str(error))
    return "\n".join(said)


def make_demo_namespace(cluster: Cluster) -> None:
    """A namespace whose pods are held to the restricted standard, with a Secret of the model store's credentials."""
    namespace = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": DEMO_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }  # fmt: skip
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(credentials_secret(cluster, DEMO_NAMESPACE)))


def credentials_secret(cluster: Cluster, namespace: str, name: str = CREDENTIALS) -> dict[str, object]:
    """The Secret that a ModelDeployment names in spec.model.credentialsSecret to fetch from the cluster's store."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": cluster.store.environment(),
    }
