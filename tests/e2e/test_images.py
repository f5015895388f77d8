"""The images that the cluster runs."""

import pytest

from tests.bench.bench_images import LIMITS, unpacked
from tests.e2e.world import World


@pytest.mark.parametrize("name", LIMITS)
def test_an_image_unpacks_to_less_than_was_promised(world: World, name: str) -> None:
    archives = world.cluster.build_images([name])
    if not archives:
        pytest.skip("the images of this cluster are in a registry")

    assert unpacked(archives[0].path) < LIMITS[name]
