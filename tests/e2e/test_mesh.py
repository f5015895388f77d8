"""A real fetcher in a real pod that a mesh has marked, and whose connections are all refused: told within a minute.

No mesh runs. What its redirection to a sidecar that has not started comes to is a refused connection, and that is what
a store's port gives at which nobody listens.
"""

from datetime import datetime
from urllib.parse import urlsplit

from tests import stage as s
from tests.client import Object
from tests.cluster import podium
from tests.e2e import ground
from tests.e2e.world import World, scene

NAME, SECRET = "meshed", "nobody-listens"


@scene
def meshed(world: World) -> tuple[Object, Object]:
    """The condition, and the ModelDeployment that it is told of."""
    stage = world.stage("e2e-meshed")
    secret = podium.credentials_secret(world.cluster, stage.namespace, SECRET)
    keys = world.cluster.store.environment()
    secret["stringData"] = keys | {"AWS_ENDPOINT_URL": f"http://{urlsplit(keys['AWS_ENDPOINT_URL']).hostname}:1"}
    stage.apply(secret)
    marked = {"annotations": {"sidecar.istio.io/status": "{}"}}
    stage.apply(s.onnx(NAME, "1", replicas=1, model={"credentialsSecret": SECRET}, podTemplate=marked))
    told = ground.until_condition(stage, NAME, "FetchBlockedByMesh", seconds=120)
    found = stage.get(NAME)
    stage.client.delete("ModelDeployment", stage.namespace, NAME)
    return told, found


def test_it_is_told_within_a_minute_with_the_ways_out(meshed: tuple[Object, Object]) -> None:
    told, found = meshed
    began, at = found["metadata"]["creationTimestamp"], told["lastTransitionTime"]
    assert (datetime.fromisoformat(at) - datetime.fromisoformat(began)).total_seconds() < 60
    assert "because of Istio: its connections are led to the sidecar istio-proxy" in told["message"]
    assert "ConnectFailed" in told["message"]
    assert "fetchSecurityContext.runAsUser to 1337" in told["message"]
