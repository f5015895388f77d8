"""What the parts of Envoy's configuration have in common. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from podium.router.endpoints import Endpoint

TYPE: Final = "type.googleapis.com/envoy"

Document = dict[str, Any]
Pods = Mapping[tuple[str, str], tuple[Endpoint, ...]]
"""By revision and name of the port; a revision without the port `grpc` takes no gRPC."""


def cluster_name(revision: str, port: str) -> str:
    """Statistics are by this name."""
    return f"{revision}.{port}"


def seconds(value: float) -> str:
    """protobuf's Duration in JSON."""
    return f"{value:.3f}s"
