"""One API server with Podium's CRDs and nothing else for all tests of the shell; each takes a namespace of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import ROOT
from tests.integration.proxy import Proxy
from tests.integration.shell.rig import ADMINS, Rig, apply

_numbers = itertools.count()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, without controllers: what controllers would write the tests write."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds(ROOT / "crds")
        yield plane


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A new namespace, which stays: there is no controller that could empty it."""
    name = f"shell-{next(_numbers)}"
    plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def proxy(plane: ControlPlane, namespace: str) -> Iterator[Proxy]:
    with Proxy(plane.kubeconfig(f"op-{namespace}", ADMINS)) as proxy:
        yield proxy


@pytest.fixture
def rig(plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy) -> Iterator[Rig]:
    """A running operator that has written about the ModelDeployment `m`."""
    # The term is that of production: a slow machine must not lose the Lease in tests that are about something else.
    rig = Rig(plane, namespace, tmp_path, proxy, lease_duration=12, lease_write_deadline=8, lease_renew_interval=0.5)
    yield from _running(rig)


@pytest.fixture
def hasty_rig(plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy) -> Iterator[Rig]:
    """As `rig`, but it knows after 2 s that it no longer holds the Lease."""
    rig = Rig(plane, namespace, tmp_path, proxy, lease_duration=3, lease_write_deadline=2, lease_renew_interval=0.5)
    yield from _running(rig)


def _running(rig: Rig) -> Iterator[Rig]:
    apply(rig.plane, rig.namespace, "m")
    with rig.operator:
        rig.await_message("m", "replicas 1, pods 0")
        yield rig
