"""One API server with Podium's CRDs for all integration tests; each test takes a namespace of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import ROOT

_numbers = itertools.count()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver, without controllers: what controllers would write the tests write."""
    with ControlPlane(tmp_path_factory.mktemp("plane")) as plane:
        plane.install_crds(ROOT / "crds")
        yield plane


@pytest.fixture
def namespace(plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A new namespace, which stays: there is no controller that could empty it."""
    name = f"t{next(_numbers)}-{Path(str(request.path)).stem.removeprefix('test_').replace('_', '-')}"
    plane.kubectl("create", "namespace", name)
    return name
