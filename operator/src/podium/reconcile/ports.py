"""Which listener of the namespace's routers is whose: ports of 20000 to 24999, recorded in the routers' ConfigMaps."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, Resource
from podium.manifests.routing import read_routing, told_in
from podium.reconcile.readings import controller_of
from podium.router.routing import LAST_PORT, LEAST_PORT

REST: Final = timedelta(minutes=10)
"""How long a freed port is not reused: nodes and routers may still send requests for its former owner there."""


class PortsTaken(Exception):
    """The routers of a namespace have no port left: the sentence says what a person can do."""


class View(Protocol):
    """The part of the cache that is read here."""

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All routing ConfigMaps of a namespace, when asked for the routers'."""
        ...


class Ports:
    """Gives each ModelDeployment a port of its own. All passes of the process ask the same one.

    What others have comes from the cache, what was given and is not in the cache yet from here, so that two passes at
    the same time never get the same.
    """

    def __init__(self, cache: View) -> None:
        self._cache = cache
        self._given: dict[str, dict[str, tuple[int, str]]] = {}
        """By namespace and ModelDeployment: its port, and its uid."""
        self._resting: dict[str, dict[int, datetime | None]] = {}
        """By namespace and port: until when it is given to nobody; None as long as nobody has asked since."""

    def of(self, namespace: str, name: str, uid: str, service: Object | None, now: datetime) -> int:
        """The port of a ModelDeployment, from now on. `service`: its stable Service as it is.

        Where its ConfigMap cannot be read the Service tells. Raises PortsTaken.
        """
        given = self._given.setdefault(namespace, {})
        known = given.get(name)
        if known is not None and known[1] == uid:
            return known[0]
        if known is not None:
            self.free(namespace, name)
        taken = self._taken(namespace, name)
        own = self._recorded(namespace).get(name, (None, ""))
        port = own[0] if own[1] == uid else None
        for candidate in (port, _listener_of(service)):
            if candidate is not None and candidate not in taken:
                given[name] = (candidate, uid)
                return candidate
        resting = self._still_resting(namespace, now)
        free = (port for port in range(LEAST_PORT, LAST_PORT + 1) if port not in taken and port not in resting)
        found = next(free, None)
        if found is None:
            raise PortsTaken(
                f"spec.traffic.router: 'Envoy': the routers of namespace {namespace} have {LAST_PORT - LEAST_PORT + 1} "
                "ports, and all are taken, or rest for ten minutes after use. To go on: remove traffic.router: Envoy "
                "from ModelDeployments that can do without it, or use another namespace"
            )
        given[name] = (found, uid)
        return found

    def free(self, namespace: str, name: str) -> None:
        """The ModelDeployment is gone, or needs no port any more: its port rests, and is another's then."""
        known = self._given.get(namespace, {}).pop(name, None)
        if known is not None:
            self._resting.setdefault(namespace, {})[known[0]] = None

    def forget(self) -> None:
        """Another operator may have given ports since: what is recorded counts."""
        self._given.clear()

    def _taken(self, namespace: str, but: str) -> set[int]:
        given = {port for name, (port, _) in self._given.get(namespace, {}).items() if name != but}
        return given | {port for name, (port, _) in self._recorded(namespace).items() if name != but}

    def _recorded(self, namespace: str) -> Mapping[str, tuple[int, str | None]]:
        """By ModelDeployment what its ConfigMap says, and whose that is."""
        found = {}
        for each in self._cache.owned(CONFIG_MAPS, namespace, names.ROUTER):
            told = read_routing(told_in(each))
            if told is not None:
                found[told.model] = (told.port, controller_of(each))
        return found

    def _still_resting(self, namespace: str, now: datetime) -> set[int]:
        known = self._resting.get(namespace, {})
        resting = {port: until or now + REST for port, until in known.items() if until is None or until > now}
        self._resting[namespace] = dict(resting)
        return set(resting)


def _listener_of(service: Object | None) -> int | None:
    ports = ((service or {}).get("spec") or {}).get("ports") or []
    targets = [each.get("targetPort") for each in ports]
    return next((port for port in targets if isinstance(port, int) and LEAST_PORT <= port <= LAST_PORT), None)
