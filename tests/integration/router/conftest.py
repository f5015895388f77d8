"""Routers that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.router.routing_rig import Router, grant


@pytest.fixture
def make_router(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Router]]:
    """Makes routers of the test's namespace, not started."""
    grant(plane, namespace)
    made: list[Router] = []

    def make(address: str = "", *, package: Path | None = None) -> Router:
        made.append(Router(plane, namespace, tmp_path / f"router-{len(made)}", address, package=package))
        return made[-1]

    yield make
    for router in made:
        router.close()
