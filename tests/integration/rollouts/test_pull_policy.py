"""The pull policy that Podium writes out is the one that the API server would fill in."""

import pytest

from tests.integration.rollouts.api import path_of
from tests.integration.rollouts.stage import Cluster
from tests.unit.manifests.examples import POLICIES


@pytest.mark.parametrize(("image", "policy"), POLICIES.items())
async def test_what_the_api_server_fills_in_for_an_image(cluster: Cluster, image: str, policy: str) -> None:
    labels = {"app": "pull-policy"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "pull-policy", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "model", "image": image}]}},
        },
    }

    made = await cluster.api.request("POST", path_of("Deployment", "default"), deployment, query={"dryRun": "All"})

    assert made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy
