"""One control plane for all tests of the session, its fake kubelet, and a namespace with an operator for each test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.progress import run
from tests.integration.operator import Operator
from tests.integration.rollouts.api import Api
from tests.integration.rollouts.kubelet import Kubelet
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.routers import Routers
from tests.integration.rollouts.stage import SHORT, USER, Cluster, Stage
from tests.integration.rollouts.world import PATIENCE, World

ROOT = Path(__file__).resolve().parents[3]
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cluster's watches live in one event loop, so its tests share it. pytest passes the items of all folders."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """kube-apiserver, etcd and the controllers that children need; no nodes, no HPA controller."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controllers=CONTROLLERS) as plane:
        yield plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """The one that all tests share."""
    async with furnished(control_plane, tmp_path_factory.mktemp("operators")) as cluster:
        yield cluster


@asynccontextmanager
async def furnished(plane: ControlPlane, folder: Path) -> AsyncIterator[Cluster]:
    """A control plane with Podium's CRDs, runtimes and rights, a fake kubelet, and a watch of everything.

    Operators write their logs into `folder`.
    """
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(Api(plane.kubeconfig()))
        await install(api)
        world = World(api)
        kubelet = Kubelet(api, world)
        await kubelet.register()
        watching = asyncio.create_task(world.run())
        await world.ready.wait()
        routers = await stack.enter_async_context(Routers(world, kubelet))
        yield Cluster(plane, api, world, kubelet, routers, folder)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await kubelet.close()
        assert not kubelet.failures, kubelet.failures


async def install(api: Api) -> None:
    """What an admin applies for namespaced mode: CRDs, runtimes, and the chart's rights for the user "podium"."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        await api.apply(yaml.load(file.read_text(), yaml.CSafeLoader))
    for role in _roles():
        await api.apply(role)
    runtimes = yaml.safe_load_all((ROOT / "charts/podium/files/runtimes.yaml").read_text())
    for runtime in runtimes:
        await _once_served(lambda runtime=runtime: api.apply(runtime))  # type: ignore[misc]


async def _once_served(call: Callable[[], Awaitable[Any]]) -> None:
    """A CRD is served a moment after it was applied."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await call()
            except Exception as error:
                if "404" not in str(error):
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def _roles() -> list[dict[str, Any]]:
    """The chart's roles for one namespace, as ClusterRoles that a RoleBinding in any namespace may name."""
    chart: list[str | Path] = ["template", "podium", ROOT / "charts/podium", "--namespace", "podium-system"]
    rendered = run([binaries.helm(), *chart, "--set", "watchNamespaces={one}", "--show-only", "templates/rbac.yaml"])
    documents = [one for one in yaml.safe_load_all(rendered) if one]
    role = {one["metadata"]["name"]: one["rules"] for one in documents if one["kind"] == "Role"}
    runtimes = next(one["rules"] for one in documents if one["kind"] == "ClusterRole" and "podium-system" in str(one))
    made = {"podium-namespace": role["podium"], "podium-lease": role["podium-lease"], "podium-runtimes": runtimes}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "podium-runtimes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "podium-runtimes"},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    return [*({**kind, "metadata": {"name": name}, "rules": rules} for name, rules in made.items()), binding]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where operators are forked that start in no time."""
    with Nursery() as nursery:
        yield nursery


@pytest_asyncio.fixture(loop_scope="session")
async def stage(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A namespace of its own with a running operator; at the end what was seen is judged by tests/invariants."""
    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-").lower()[:40].rstrip("-")
    namespace = await cluster.namespace(name)
    operator = Operator(
        cluster.folder / namespace,
        cluster.plane.kubeconfig(USER),
        watch_namespaces=namespace,
        lease_namespace=namespace,
        **SHORT,
    )
    with operator:
        stage = Stage(cluster, namespace, operator)
        yield stage
        await cluster.world.caught_up(namespace)
    broken = cluster.world.violations(namespace, alone=not stage.cut_off_by_others)
    assert not broken, "\n".join(broken)
