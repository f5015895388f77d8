"""A model server that speaks gRPC alone, as a runtime of one's own: grpcio's server in an image that is built for it.

The built-in runtimes have no gRPC: in front of TorchServe, which would have it, stands a proxy that speaks HTTP/1.1
alone. Nobody listens at the port that it has to name for HTTP. The server predicts nothing. What tests ask is which
revision answered a call, and it answers with that name.
"""

from typing import Any

from tests.client import Client, Object
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import localized
from tests.cluster.images import ON_DEMAND

IMAGE = ON_DEMAND["grpc"]
RUNTIME = "grpc-server"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
"""Any does."""
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
"""Of streams: any with this word."""


def put_grpc_server(cluster: Cluster, client: Client) -> None:
    """The image, onto the cluster's node, and the ModelRuntime, which is cluster-scoped."""
    cluster.load(cluster.build_images([IMAGE.name]))
    client.apply(runtime())


def runtime() -> Object:
    """The ModelRuntime."""
    spec = {
        "image": localized(IMAGE.reference),
        "args": ["{{grpcPort}}"],
        "ports": {"http": 8080, "grpc": 9000},
        "probes": {"readiness": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 1}},
        "drain": {"preStopSeconds": 2, "seconds": 10},
        "resources": {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}},
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "ModelRuntime", "metadata": {"name": RUNTIME}, "spec": spec}


def grpc_model(name: str, version: str, **spec: Any) -> Object:
    """A ModelDeployment of it: another version is another revision, and no model is fetched."""
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"runtime": {"name": RUNTIME}, "model": {"version": version}, **spec},
    }
