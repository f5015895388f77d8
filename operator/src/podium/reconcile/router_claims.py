"""Which installation of Podium keeps the routers of a namespace, as their Deployment says. Pure.

Installations that divide ModelDeployments by label may meet in one namespace, which has one set of routers.
"""

from podium.api import names
from podium.kube.client import Object
from podium.rollout.words import sentences


def installation_of(deployment: Object | None) -> str:
    """Namespace and name of the Lease of the installation that took the routers last; empty if none has."""
    if deployment is None:
        return ""
    return str((deployment["metadata"].get("annotations") or {}).get(names.ANNOTATION_INSTALLATION, ""))


def left_to(whose: str, namespace: str) -> str:
    """What a person should know where another installation took the routers after this one."""
    return sentences(
        f"Deployment {names.ROUTER}: installation {whose} of Podium (namespace/Lease) keeps the routers of namespace "
        f"{namespace}, too, so this installation no longer updates them",
        f"to go on: let one installation have all ModelDeployments with router Envoy in namespace {namespace}",
        f"if that is this one: kubectl annotate deployment {names.ROUTER} -n {namespace} "
        f"{names.ANNOTATION_INSTALLATION}-",
    )
