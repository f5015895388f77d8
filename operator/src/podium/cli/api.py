"""What the command line asks of the API server: a Protocol, so that a test can play it with objects in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]
"""A Kubernetes object as it is on the wire."""


@dataclass(frozen=True)
class Listed:
    """Objects, and the resourceVersion from which a watch tells what comes after."""

    items: tuple[Object, ...]
    version: str


class Api(Protocol):
    """The API server. Every method raises CliError with a sentence that names the object and the missing right."""

    def deployment(self, namespace: str, name: str) -> Object:
        """The ModelDeployment."""

    def deployments(self, namespace: str | None, name: str | None = None) -> Listed:
        """The ModelDeployments of a namespace, or of all (None); with `name` that one or none."""

    def watch(self, namespace: str | None, name: str | None, version: str, seconds: int) -> Iterator[Object]:
        """Watch events {type, object} of the same objects after `version`, for at most so many seconds."""

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> Object:
        """Merge annotations into the ModelDeployment's: metadata alone is written."""

    def config_map(self, namespace: str, name: str) -> Object:
        """A ConfigMap."""

    def controller_revision(self, namespace: str, name: str) -> Object:
        """A ControllerRevision: the record of a revision."""
