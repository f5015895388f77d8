"""One cluster for the session, in a folder of its own; brought up here and taken down at the end."""

import os
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.api.names import GROUP
from tests.client import Client
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.choice import choose
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import borrowed
from tests.cluster.progress import ClusterError
from tests.e2e import ground
from tests.e2e.world import AT_ONCE, SCENES, Performance, World
from tests.stage import put_digits, put_torch_digits
from tests.watching import Watcher

IN_TREE = REPOSITORY / ".cluster-e2e"
# A cluster keeps sockets in its folder, whose paths are bounded: a checkout that lies deep cannot hold one.
FOLDER = IN_TREE if len(str(IN_TREE)) <= 50 else Path(tempfile.gettempdir()) / "podium-e2e"
# Clusters of their own that come and go are no company for scenes under load: that module comes first.
FIRST = ("test_local_cluster",)
# Scenes that are played alone come after all others, modules that take Podium away after them, and what judges the
# whole session at the end.
LAST = (
    "test_torchserve",
    "test_autoscaling",
    "test_failover",
    "test_router_failures",
    "test_cluster_restart",
    "test_helm",
    "test_plain_yaml",
    "test_namespaced",
    "test_zz_rbac",
    "test_whole_session",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        module = Path(str(item.path)).stem
        if module in FIRST:
            return -1
        return LAST.index(module) + 1 if module in LAST else 0

    ours = [item for item in items if Path(str(item.path)).parent == Path(__file__).parent]
    if len(ours) == len(items):
        items.sort(key=place)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A cluster that never had Podium's kinds; then Podium installed by Helm, models in the store, and the watcher.

    PODIUM_E2E_KEEP=1 leaves it running, and takes the one that runs: for work on a test.
    """
    keep = os.environ.get("PODIUM_E2E_KEEP") == "1"
    cluster = choose(FOLDER)
    archives = cluster.build_images()
    if not keep:
        cluster.down()
    try:
        cluster.up()
        cluster.load(archives)
        client = Client(cluster.kubeconfig_file)
        before = [crd["metadata"]["name"] for crd in client.list("CustomResourceDefinition")]
        if borrowed():
            require_unused(client, before)
        podium.install_podium(cluster, archives)
        models = put_digits(cluster), put_torch_digits(cluster, client)
        with Watcher(client) as watcher:
            yield World(cluster, client, *models, watcher, before)
        if borrowed() and not keep:
            leave(cluster, client)
        client.close()
    finally:
        if not keep:
            cluster.down()


def require_unused(client: Client, crds: Collection[str]) -> None:
    """These tests uninstall Podium and delete its kinds: not on a cluster where somebody has it."""
    found = [crd for crd in crds if crd.endswith(f".{GROUP}")]
    if found:
        raise ClusterError(
            f"the cluster of the current context has Podium's kinds already ({', '.join(found)}), and these tests "
            "delete them with every ModelDeployment: use another cluster, or delete them yourself"
        )
    taken = [name for name in namespaces(client) if name.startswith("e2e-") or name == podium.NAMESPACE]
    if taken:
        raise ClusterError(f"the cluster of the current context has namespaces that these tests make: {taken}")


def leave(cluster: Cluster, client: Client) -> None:
    """Takes all of it from somebody's cluster again: the namespaces, the release, the kinds."""
    ours = [name for name in namespaces(client) if name.startswith("e2e-")]
    cluster.kubectl("delete", "namespace", "--ignore-not-found", "--timeout=120s", *ours)
    ground.uninstall(cluster)
    crds = [crd["metadata"]["name"] for crd in client.list("CustomResourceDefinition")]
    cluster.kubectl("delete", "crd", "--timeout=60s", *[crd for crd in crds if crd.endswith(f".{GROUP}")])
    cluster.kubectl("delete", "namespace", "--ignore-not-found", "--timeout=120s", podium.NAMESPACE)


def namespaces(client: Client) -> list[str]:
    return [namespace["metadata"]["name"] for namespace in client.list("Namespace")]


@pytest.fixture(scope="session")
def performance(request: pytest.FixtureRequest, world: World) -> Iterator[Performance]:
    """All scenes that the collected tests ask for, under way."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scene") as pool:
        performing = Performance(pool)
        performing.begin(world, [name for name in SCENES if name in wanted])
        yield performing
        pool.shutdown(cancel_futures=True)
