"""The operator, as a process of its own, on the oldest API server that Podium supports: an update and a rollback.

etcd, the controllers and the stand-in kubelet are those of the other tests. What the CRDs say is asked of all versions
in ../test_crd_validation.py.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.integration.rollouts.conftest import CONTROLLERS, furnished
from tests.integration.rollouts.kubelet import Crashes
from tests.integration.rollouts.stage import Cluster, Stage, spec

OLDEST = binaries.OTHER_APISERVERS[0]


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """That of conftest.py with an older API server."""
    folder = tmp_path_factory.mktemp("oldest")
    with ControlPlane(folder, controllers=CONTROLLERS, apiserver=binaries.apiserver(OLDEST)) as plane:
        yield plane


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """In the place of the one that all other tests share."""
    async with furnished(control_plane, tmp_path_factory.mktemp("operators")) as cluster:
        yield cluster


async def test_a_version_is_rolled_out_and_one_that_crashes_is_rolled_back(stage: Stage) -> None:
    assert OLDEST in stage.cluster.plane.kubectl("get", "--raw", "/version")
    await stage.apply(spec("v1"))
    await stage.until(lambda: stage.is_ready("v1"), "the first version serves")

    await stage.apply(spec("v2"))
    await stage.until(lambda: stage.is_ready("v2"), "the update is done")

    assert stage.outcome("v2") == "Promoted"
    assert stage.endpoints() == {pod["metadata"]["name"] for pod in stage.pods("v2")}

    stage.kubelet.script(stage.namespace, "v3", Crashes())
    await stage.apply(spec("v3"))
    await stage.until(lambda: stage.phase == "RolledBack" and stage.settled, "the crash is rolled back")

    assert stage.outcome("v3") == "RolledBack"
    assert stage.status["champion"]["version"] == "v2"
    await stage.until(lambda: len(stage.pods()) == 2 and not stage.pods("v3"), "only the champion has pods")
    assert "no such operator" in stage.condition("Ready")["message"]
