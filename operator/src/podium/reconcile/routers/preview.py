"""The preview Service, which every router has alike: it selects the candidate's pods themselves. Pure."""

from collections.abc import Iterator

from podium.kube.resources import SERVICES
from podium.manifests.service import preview_service
from podium.reconcile.routers.base import Ask
from podium.reconcile.writes import Apply, Stage, Told, Write


def preview(ask: Ask) -> Iterator[Write]:
    """The candidate's Service, if it has one."""
    revision = ask.split.preview
    if revision is not None:
        obj = preview_service(ask.owner, revision=revision, ports=dict(ask.ports[revision]))
        yield Write(Stage.TRAFFIC, SERVICES, obj["metadata"]["name"], Apply(obj), Told.PREVIEW)
