"""What the rest of Podium asks of the Kubernetes API: dicts in, dicts out, and its errors."""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field

from podium.api import names
from podium.kube.resources import Resource

Object = dict[str, Any]
"""A Kubernetes object as it is on the wire."""


class ApiError(Exception):
    """The API server refused or failed a request, or could not be reached (status 0)."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: list[dict[str, Any]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        """HTTP status; 0 when no answer came."""
        self.reason = reason
        """The Status object's reason (`Conflict`, `Invalid`), or `Unreachable`, `Timeout`, `NotKubernetes`."""
        self.message = message
        """The API server's own sentence."""
        self.causes = causes or []
        """`details.causes` of the Status object: {field, reason, message}."""
        self.retry_after = retry_after
        """Seconds that the server asked to wait, if it did."""

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later without anybody changing it."""
        return self.status in (0, 409, 429) or self.status >= 500

    @property
    def another(self) -> bool:
        """Whether it says that another object, or none, has the name of the one whose uid was sent.

        To an apply the API server answers 409 where there is none, and where there is another 422, like to a patch.
        """
        none = self.status == 409 and "uid mismatch" in self.message
        return none or any(cause.get("field") == "metadata.uid" for cause in self.causes)

    @property
    def unsure(self) -> bool:
        """Whether the request may have been carried out all the same: what failed may be its answer alone."""
        return self.status == 0 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells an object, and a version of it, from every other."""

    name: str
    uid: str
    version: Annotated[int, Field(alias="resourceVersion")]
    namespace: str = ""


class NotLeader(Exception):
    """A write was asked of a replica that does not, or no longer surely, hold the Lease."""


class KubeClient(Protocol):
    """The API server. Every method raises ApiError; every write first raises NotLeader without the Lease."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The live object; None when there is none (404)."""

    async def create(self, obj: Object) -> Object:
        """POST; ApiError 409 when the name is taken."""

    async def apply(self, obj: Object, *, manager: str = names.FIELD_MANAGER) -> Object:
        """Server-side apply with force; answers the whole live object, managedFields included.

        With a metadata.uid it lands on that object or on none: ApiError (`another`).
        """

    async def annotate(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        annotations: dict[str, str | None],
        *,
        resource_version: str | None = None,
    ) -> Object:
        """Merge `annotations` into the object's (None removes one); ApiError 409 if `resource_version` is not live."""

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        """JSON merge patch of one object (RFC 7386): lists are replaced whole, None removes a field."""

    async def write_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        """Replace `.status`; ApiError 409 unless `obj`'s resourceVersion is the live one."""

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete the object if it is there and, when `uid` is given, still the same one; else do nothing."""
